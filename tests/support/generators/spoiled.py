"""Invalid values of event fields, by kind of field and by field."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

from tests.support.generators.events import MAKERS, Event

ABSENT = object()
"""A marker instead of a value: the field is left out."""

NO_STRING: Sequence[object] = (None, 5, 1.5, True, [], {})
NO_ID = (*NO_STRING, "", "x" * 129, "a\x00b", "a\nb", "\t", "a\x7f", "\x9f", "\ud800", "a\udfffb")
NO_TIME: Sequence[object] = (*(None, "1767225600000", True, False, 1.0, 1.5, 1e300, [], {}, 2**53, -(2**53)),)
NO_SEQUENCE = (*NO_TIME, 0, -1)
NO_AMOUNT = (
    *(*NO_STRING, "", " ", " 5", "5 ", "5\n", "\n5", "1_000", "1,000", "1.000,00", "1 000", "+5", "-", "--5", "-+5"),
    *("05", "00", "-05", ".5", "5.", "-.5", ".", "5.5.5", "1e5", "1E5", "1e-2", "0x10", "NaN", "sNaN", "Infinity"),
    *("-Infinity", "\u0661\u0662\u0663", "\uff15", "1\u0660", "\u22125", "5\u0000", "\ud800"),
    *("9" * 39, "1" + "0" * 38, "1." + "0" * 38, "0." + "1" * 19, "1.0000000000000000000", "9" * 21 + "." + "9" * 18),
    *("9" * 5_000, "0." + "0" * 5_000 + "1"),
)
NEGATIVE = ("-1", "-0.01", "-" + "9" * 38)
NO_VALUE = (*NO_AMOUNT, *NEGATIVE)
NO_CURRENCY = (*NO_STRING, "", "SE", "SEKK", "sek", "Sek", "S3K", "S K", "SEK\n", "\u015eEK", "\uff33\uff25\uff2b")
NO_STATUS = (*NO_STRING, "", "active", "Active", "CANCELLED", " ACTIVE", "ACTIVE\n", "DEPOSIT", "\ud800")
NO_PERIOD = (*NO_STRING, "", "day", "YEAR", "CALENDAR-DAY", "DAY ", "DEPOSIT")
NO_TYPE = (*NO_STRING, "", "deposit", "DEPOSITS", "WITHDRAWAL", "BET ", "DAY")
NO_OBJECT: Sequence[object] = (None, 5, "{}", True, [])
NO_CONTEXT: Sequence[object] = (*NO_OBJECT, {"correlationId": None}, {"correlationId": 5})

Fields = Mapping[str, Sequence[object]]

ENVELOPE: Fields = {
    "aggregateId": NO_ID,
    "context": NO_CONTEXT,
    "createdAt": NO_TIME,
    "eventId": NO_ID,
    "sequenceNumber": NO_SEQUENCE,
    "source": NO_STRING,
    "payload": NO_OBJECT,
}
COMMON: dict[str, Sequence[object]] = {
    "brandId": NO_ID,
    "currencyCode": NO_CURRENCY,
    "userId": NO_ID,
    "userLimitId": NO_ID,
}
REQUIRED: Mapping[str, Fields] = {
    "USER_LIMIT_CREATED": COMMON
    | {"activeFrom": NO_TIME, "period": NO_PERIOD, "type": NO_TYPE, "status": NO_STATUS, "value": NO_VALUE},
    "USER_LIMIT_PROGRESS_CHANGED": COMMON | {"amount": NO_AMOUNT, "previousProgress": NO_AMOUNT},
    "USER_LIMIT_RESET": COMMON
    | {"period": NO_PERIOD, "type": NO_TYPE}
    | {"resetAmount": NO_AMOUNT, "resetPercentage": NO_AMOUNT, "unusedAmount": NO_AMOUNT},
}
OPTIONAL: Mapping[str, Fields] = {
    "USER_LIMIT_CREATED": {
        "nextResetTime": NO_TIME,
        "activeUntil": NO_TIME,
        "createdAt": NO_TIME,
        "progress": NO_AMOUNT,
        "previousLimitValue": NO_AMOUNT,
    },
    "USER_LIMIT_PROGRESS_CHANGED": {"nextResetTime": NO_TIME, "remainingAmount": NO_AMOUNT},
    "USER_LIMIT_RESET": {"nextResetTime": NO_TIME},
}
SOUND: Sequence[Event] = [make(5) for make in MAKERS.values()]


def with_field(sound: Event, path: Sequence[str], value: object) -> Event:
    """The event with `value` at the path, or without the field."""
    event = deepcopy(sound)
    place = event if len(path) == 1 else event[path[0]]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return event
