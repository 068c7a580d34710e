"""The quick fingerprint is the fingerprint."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from consumer.engine.projection import Plain
from consumer.engine.repository import fingerprint
from consumer.stores.versions import version_of

TEXTS = st.text(max_size=20) | st.text(st.characters(codec="ascii"), max_size=20)
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.booleans()
VALUES = st.recursive(TEXTS | NUMBERS, lambda inner: st.dictionaries(TEXTS, inner, max_size=4), max_leaves=10)


@example({"a": "\x7f"})
@example({"a": "\ud800"})
@example({"ü": "a"})
@example({"a": Decimal("-0.0"), "n": 2**70, "m": -(2**70)})
@example({"a": {"c": Decimal("1E+10"), "b": True}})
@example({"a": '\x00\x1f"\\/\b\f\n\r\t'})
@given(st.dictionaries(TEXTS, VALUES, max_size=6))
def test_the_quick_fingerprint_is_the_fingerprint(attributes: dict[str, Plain]) -> None:
    assert version_of(attributes) == fingerprint(attributes)
