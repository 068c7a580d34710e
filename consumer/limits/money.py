"""Amounts: exact decimals of at most 38 significant digits, at most 18 of them after the decimal point. Never floats.

DynamoDB stores 38 digits of a number. The format is checked before Decimal() parses the text, because Decimal() also
accepts blanks, underscores, non-ASCII digits, `NaN` and exponents that take minutes to expand.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

DIGITS = 38
DECIMALS = 18
LENGTH = DIGITS + DECIMALS + len("-.")
FORM = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"

_matches = re.compile(FORM, re.ASCII).fullmatch
_EXACT = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
_WIDE = Context(prec=2 * DIGITS, traps=[Inexact, InvalidOperation, Overflow])
ZERO = Decimal(0)


def parse(text: object) -> Decimal:
    """The number in `text`, without trailing zeros. Raises ValueError if the format is not the contract's."""
    if not isinstance(text, str):
        raise ValueError("must be a decimal string")  # noqa: TRY004 - pydantic only converts ValueErrors
    if len(text) > DECIMALS:  # a shorter text has neither too many digits nor too many decimals
        _check_size(text)
    if not _matches(text):
        raise _malformed()
    return Decimal(text).normalize(_EXACT) or ZERO


def _check_size(text: str) -> None:
    if len(text) > LENGTH or not _matches(text):
        raise _malformed()
    parts = Decimal(text).as_tuple()
    if len(parts.digits) > DIGITS:
        raise ValueError(f"more than {DIGITS} significant digits")
    if -int(parts.exponent) > DECIMALS:
        raise ValueError(f"more than {DECIMALS} decimals")


def _malformed() -> ValueError:
    return ValueError(f"must be a decimal number of the form -12.5 and a length of at most {LENGTH} characters")


def canonical(number: Decimal) -> Decimal:
    """The number in canonical form, which is the same for equal numbers: no trailing zeros, no negative zero."""
    return number.normalize(_EXACT) or ZERO


def checked(number: Decimal) -> Decimal:
    """A stored number in the form that `parse` returns. Raises ValueError if no event can lead to it."""
    if not number.is_finite() or not -DECIMALS <= number.adjusted() < DIGITS:
        raise ValueError(f"not a number of at most {DIGITS} digits and {DECIMALS} decimals")
    try:
        kept = canonical(number)
    except Inexact:
        raise ValueError(f"more than {DIGITS} significant digits") from None
    if -int(kept.as_tuple().exponent) > DECIMALS:
        raise ValueError(f"more than {DECIMALS} decimals")
    return kept


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum. Raises ValueError if it has more than 38 digits without an exponent."""
    try:
        total = _EXACT.add(left, right).normalize(_EXACT)
    except Inexact:
        total = None
    if total is None or total.adjusted() >= DIGITS:
        raise ValueError(f"the sum does not fit in {DIGITS} digits")
    return total or ZERO


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The exact difference, for display: it may have more digits than can be stored."""
    return _WIDE.subtract(left, right)


def plain(number: Decimal) -> str:
    """`200`, `9800.5`: no exponent, no trailing zeros."""
    return format(number.normalize(_WIDE) or ZERO, "f")
