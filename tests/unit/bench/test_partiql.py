"""The statements that the benchmark's store understands, and that it refuses all others."""

import pytest

from bench.partiql import Insert, UnknownStatement, Update, assignments, condition, statement


def test_an_insert() -> None:
    assert statement("INSERT INTO \"limits\" VALUE {'userId': ?, 'value': ?}") == Insert("limits", ("userId", "value"))


def test_an_update_sets_removes_and_compares() -> None:
    text = 'UPDATE "limits" SET "progress" = ? SET "version" = ? REMOVE "kind" WHERE "userId" = ? AND "version" = ?'

    assert statement(text) == Update("limits", (("progress",), ("version",)), (("kind",),), ("userId", "version"))


def test_an_update_may_set_several_with_commas_and_members_of_a_map() -> None:
    text = 'UPDATE "limits" SET "progress"."value" = ?, "version" = ? WHERE "userId" = ?'

    assert statement(text) == Update("limits", (("progress", "value"), ("version",)), (), ("userId",))


@pytest.mark.parametrize(
    "text",
    [
        'SELECT * FROM "limits"',
        'DELETE FROM "limits" WHERE "userId" = ?',
        'UPDATE "limits" SET "a" = ? WHERE "userId" = ? OR "b" = ?',
        'UPDATE "limits" SET "a" = ? WHERE "userId" <> ?',
        "INSERT INTO \"limits\" VALUE {'a': 1}",
        "INSERT INTO \"limits\" VALUE {'a': ?} extra",
    ],
)
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(UnknownStatement):
        statement(text)


@pytest.mark.parametrize(
    ("item", "holds"),
    [({}, True), ({"last": {"N": "6"}}, True), ({"last": {"N": "7"}}, False), ({"last": {"N": "10"}}, False)],
)
def test_a_condition_compares_numbers_as_numbers(item: dict[str, dict[str, str]], holds: bool) -> None:
    check = condition("attribute_not_exists(#last) OR #last < :last")

    assert check(item, {"#last": "last"}, {":last": {"N": "7"}}) is holds


def test_assignments() -> None:
    assert assignments("SET #a = :a, #b = :b") == (("#a", ":a"), ("#b", ":b"))
