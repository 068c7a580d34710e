"""Documents of a failure destination, in every wrapping that occurs."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from consumer.admin.captured import Captured, Content, FailedBatch, contents
from consumer.aws_lambda.handler import MalformedInvocation
from consumer.stores.kinesis import Stretch
from tests.support.driven.invocations import event
from tests.support.driven.pipes import piped
from tests.support.generators import table_stream
from tests.support.generators.events import created, encode, records
from tests.support.generators.failures import ARN, notice, object_of

EVENT = event(records(created(1), b"poison"))
CHANGE = table_stream.stream_event(table_stream.changes([created(1)]))
NOTICE = notice(records(created(1), b"poison"))
FAILED = FailedBatch(Stretch(ARN, "shardId-000000000000", f"{1:056}", f"{2:056}"), 2)


def message(body: object) -> dict[str, Any]:
    """As `aws sqs receive-message` prints it."""
    return {"MessageId": "m", "ReceiptHandle": "r", "MD5OfBody": "0", "Body": json.dumps(body)}


def notification(body: object) -> dict[str, Any]:
    """As SNS delivers it to a queue."""
    return {"Type": "Notification", "MessageId": "m", "TopicArn": "arn", "Message": json.dumps(body)}


WRAPPINGS: dict[str, Callable[[Any], object]] = {
    "as it is": lambda body: body,
    "a message": message,
    "messages": lambda body: {"Messages": [message(body)]},
    "a notification": notification,
    "a notification in a message": lambda body: {"Messages": [message(notification(body))]},
    "a function's event from SQS": lambda body: {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(body)}]},
    "a function's event from SNS": lambda body: {
        "Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(body)}}]
    },
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize(
    ("body", "found"),
    [(NOTICE, FAILED), (object_of(EVENT), Captured(EVENT)), (table_stream.object_of(CHANGE), Captured(CHANGE))],
    ids=["SQS", "S3", "S3, of a table's stream"],
)
def test_a_failed_batch_is_found_in_its_wrapping(wrap: Callable[[Any], object], body: object, found: Content) -> None:
    for indent in (None, 2):
        assert contents([json.dumps(wrap(body), indent=indent).encode()]) == [found]


def test_several_at_once_are_found_in_their_order() -> None:
    messages = {"Messages": [message(NOTICE), message(object_of(EVENT)), message(NOTICE)]}
    documents = [encode(messages), encode(created(1)), encode(EVENT), encode(object_of(EVENT))]

    assert contents(documents) == [
        *(FAILED, Captured(EVENT), FAILED),
        encode(created(1)),
        *(Captured(EVENT), Captured(EVENT)),
    ]


def test_the_notice_of_a_fan_out_consumer_names_its_stream() -> None:
    document = json.loads(json.dumps(NOTICE).replace(ARN, f"{ARN}/consumer/app:17"))
    assert contents([encode(document)]) == [FAILED]


def test_the_notice_of_a_pipe() -> None:
    context = {"partnerResourceArn": "arn:aws:pipes:eu-west-1:1:pipe/p", "condition": "RetryAttemptsExhausted"}
    document = {"context": context, "version": "1.0", "KinesisBatchInfo": NOTICE["KinesisBatchInfo"]}
    assert contents([encode(document)]) == [FAILED]


def test_the_request_of_an_asynchronous_invocation_is_an_event() -> None:
    document = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": EVENT}
    assert contents([encode(document)]) == [Captured(EVENT)]


def test_single_records_of_an_event_or_a_batch_are_one_event() -> None:
    assert contents(encode(each) for each in EVENT["Records"]) == [Captured(EVENT)]
    batch = piped(records(created(1), b"poison"))
    assert contents(encode(each) for each in batch) == [Captured(batch)]


@pytest.mark.parametrize(
    "record",
    [
        *(b"", b"poison", b"{}", b"[]", b'"Records"', b'{"Message": "hello"}', b'{"Body": 5}', b'{"Message": "{}"}'),
        encode(created(1)),
        encode(created(1) | {"KinesisBatchInfo": {}, "Records": [], "payload": {}}),
        b'{"Records": ' + b"[" * 100_000,
    ],
)
def test_a_document_that_wraps_nothing_is_a_record(record: bytes) -> None:
    assert contents([record]) == [record]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (NOTICE | {"payload": "{"}, "payload is not JSON"),
        (NOTICE | {"KinesisBatchInfo": {}}, "KinesisBatchInfo lacks one of streamArn, shardId,"),
        (NOTICE | {"KinesisBatchInfo": None}, "KinesisBatchInfo lacks"),
        *(
            (NOTICE | {"KinesisBatchInfo": NOTICE["KinesisBatchInfo"] | {name: None}}, "KinesisBatchInfo lacks")
            for name in ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber", "batchSize")
        ),
        (
            NOTICE | {"KinesisBatchInfo": NOTICE["KinesisBatchInfo"] | {"streamArn": "a:stream/b"}},
            "lacks one of streamArn",
        ),
    ],
)
def test_a_notice_that_lacks_something_is_refused(document: object, why: str) -> None:
    with pytest.raises(MalformedInvocation, match=why):
        contents([encode(document)])
