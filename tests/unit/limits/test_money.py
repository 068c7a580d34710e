"""Amounts are exact, have a canonical form, and are only accepted in the format of the contract."""

from decimal import Decimal, localcontext

import pytest

from consumer.limits import money

LARGEST = "9" * 38
SAME = {
    "200": ("200", "200.0", "200.00", "200.000000000000000000"),
    "9800.5": ("9800.5", "9800.50"),
    "0": ("0", "0.0", "0.00", "-0", "-0.00"),
    "-12.34": ("-12.34", "-12.340"),
    LARGEST: (LARGEST,),
    "-" + LARGEST: ("-" + LARGEST,),
    "9" * 20 + "." + "9" * 18: ("9" * 20 + "." + "9" * 18,),
    "0.000000000000000001": ("0.000000000000000001",),
}


@pytest.mark.parametrize(("plain", "spellings"), SAME.items())
def test_equal_numbers_have_one_form(plain: str, spellings: tuple[str, ...]) -> None:
    numbers = [money.parse(spelling) for spelling in spellings]
    assert {money.plain(number) for number in numbers} == {plain}
    assert len({str(number) for number in numbers}) == 1


@pytest.mark.parametrize(
    "text", ["1e5", "NaN", "Infinity", "1_0", " 1", "1 ", "1\n", "\u0661", "+1", "01", ".1", "1.", ""]
)
def test_what_decimal_takes_and_the_contract_does_not(text: str) -> None:
    with pytest.raises(ValueError, match="form"):
        money.parse(text)


@pytest.mark.parametrize("value", [None, 5, 5.0, True, b"5", Decimal(5), ["5"]])
def test_an_amount_is_a_string(value: object) -> None:
    with pytest.raises(ValueError, match="string"):
        money.parse(value)


@pytest.mark.parametrize("text", ["1" * 39, "1" * 21 + "." + "1" * 18, "100" + "0" * 36])
def test_39_digits_are_too_many(text: str) -> None:
    with pytest.raises(ValueError, match="significant"):
        money.parse(text)


@pytest.mark.parametrize("text", ["0." + "0" * 18 + "1", "1." + "0" * 19])
def test_19_decimals_are_too_many(text: str) -> None:
    with pytest.raises(ValueError, match="more than 18 decimals"):
        money.parse(text)


@pytest.mark.parametrize("text", ["1" * 60, "0." + "0" * 100_000])
def test_a_long_text_is_refused_unread(text: str) -> None:
    with pytest.raises(ValueError, match="length"):
        money.parse(text)


def test_sums_are_exact_where_floats_and_the_default_context_are_not() -> None:
    assert money.add(money.parse("0.1"), money.parse("0.2")) == Decimal("0.3")
    large, small = money.parse("1" * 20), money.parse("0.000000000000000001")
    assert money.plain(money.add(large, small)) == "1" * 20 + ".000000000000000001"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (LARGEST, "1"),
        (LARGEST, "0.1"),
        ("-" + LARGEST, "-1"),
        ("1" * 21, "0.000000000000000001"),
        ("5" + "0" * 37,) * 2,
    ],
)
def test_a_sum_of_39_digits_does_not_fit(left: str, right: str) -> None:
    with pytest.raises(ValueError, match="38 digits"):
        money.add(money.parse(left), money.parse(right))


@pytest.mark.parametrize(
    ("left", "right", "total"), [(LARGEST, "-1", "9" * 37 + "8"), ("0.5", "0.5", "1"), ("1", "-1", "0")]
)
def test_a_sum_that_fits_is_in_the_one_form(left: str, right: str, total: str) -> None:
    found = money.add(money.parse(left), money.parse(right))
    assert str(found) == str(money.parse(total))


def test_a_difference_may_need_more_digits_than_can_be_stored() -> None:
    found = money.subtract(money.parse(LARGEST), money.parse("-0.000000000000000001"))
    assert money.plain(found) == LARGEST + ".000000000000000001"


def test_the_callers_context_does_not_matter() -> None:
    with localcontext() as narrow:
        narrow.prec = 3
        assert money.plain(money.parse("123456.789")) == "123456.789"
        assert money.plain(money.add(money.parse("123456"), money.parse("0.789"))) == "123456.789"
        assert money.plain(money.subtract(money.parse("123456.789"), money.parse("0.789"))) == "123456"


@pytest.mark.parametrize(
    ("number", "text"), [("2E+3", "2000"), ("1E-18", "0.000000000000000001"), ("-0", "0"), ("1.50", "1.5")]
)
def test_shown_plainly_without_exponent_or_trailing_zeros(number: str, text: str) -> None:
    assert money.plain(Decimal(number)) == text
