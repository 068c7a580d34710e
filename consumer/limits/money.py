"""Amounts: exact decimals of at most 38 significant digits, 18 of them after the point; never a float.

38 digits is what DynamoDB keeps of a number. The form is checked before Decimal() sees the text, because Decimal()
also takes blanks, underscores, foreign digits, `NaN` and exponents that take minutes to expand.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

DIGITS = 38
DECIMALS = 18
FORM = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"

_FORM = re.compile(FORM, re.ASCII)
_EXACT = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
_WIDE = Context(prec=2 * DIGITS, traps=[Inexact, InvalidOperation, Overflow])
ZERO = Decimal(0)


def parse(text: object) -> Decimal:
    """The number `text` spells, without trailing zeros; ValueError when it is not in the contract's form."""
    if not isinstance(text, str):
        raise ValueError("a decimal string is needed")  # noqa: TRY004 - pydantic turns ValueErrors into its own
    if len(text) > DIGITS + DECIMALS + 2 or not _FORM.fullmatch(text):
        raise ValueError("not a plain decimal of the contract's form and length")
    number = Decimal(text)
    if len(number.as_tuple().digits) > DIGITS:
        raise ValueError(f"more than {DIGITS} significant digits")
    if -int(number.as_tuple().exponent) > DECIMALS:
        raise ValueError(f"more than {DECIMALS} decimals")
    return canonical(number)


def canonical(number: Decimal) -> Decimal:
    """The same number in the one form that equal numbers share: no trailing zeros, no negative zero."""
    return number.normalize(_EXACT) or ZERO


def checked(number: Decimal) -> Decimal:
    """A number that was stored, in the form that `parse` gives; ValueError for one that no event can lead to."""
    if not number.is_finite() or not -DECIMALS <= number.adjusted() < DIGITS:
        raise ValueError("not a number of the contract's length")
    try:
        kept = canonical(number)
    except Inexact:
        raise ValueError(f"more than {DIGITS} significant digits") from None
    if -int(kept.as_tuple().exponent) > DECIMALS:
        raise ValueError(f"more than {DECIMALS} decimals")
    return kept


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum; ValueError when it needs more than 38 digits, written out."""
    try:
        total = canonical(_WIDE.add(left, right))
    except Inexact:
        total = None
    if total is None or total.adjusted() >= DIGITS:
        raise ValueError(f"the sum does not fit in {DIGITS} digits")
    return total


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The exact difference, for showing: it may need more digits than can be stored."""
    return _WIDE.subtract(left, right)


def plain(number: Decimal) -> str:
    """`200`, `9800.5`: no exponent, no trailing zeros."""
    return format(number.normalize(_WIDE) or ZERO, "f")
