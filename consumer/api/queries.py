"""The parameters of a query, parsed strictly.

FastAPI would take the last one of repeated parameters, other characters for bytes that are not UTF-8, and a third of
the CPU time of a request.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from consumer.api import problems
from consumer.limits.events import Currency, Id, LimitType, Maybe, Period, Status

Cursor = Maybe[Annotated[str, Field(pattern="^[A-Za-z0-9_-]{2,683}$")]]
_OF_CURSOR = "`nextCursor` of the previous page, for the next one."


class Query(BaseModel):
    """An unknown parameter is refused: a misspelt filter would otherwise show everything."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)
    repeatable: ClassVar[frozenset[str]] = frozenset()


class LimitQuery(Query):
    """What every route that reads the table accepts."""

    consistency: Literal["strong", "eventual"] = Field(
        "strong", description="`eventual` costs half, and may miss what was written within the last second."
    )

    @property
    def is_consistent(self) -> bool:
        return self.consistency == "strong"


class ListQuery(LimitQuery):
    """Filters, and a place to continue from."""

    repeatable: ClassVar[frozenset[str]] = frozenset({"status", "type", "period", "brandId"})

    status: tuple[Status, ...] = Field((), description="Only limits with one of these. Repeatable, as are the others.")
    type: tuple[LimitType, ...] = Field((), description="Only limits of one of these types.")
    period: tuple[Period, ...] = Field((), description="Only limits with one of these periods.")
    brand_id: tuple[Id, ...] = Field((), description="Only limits of one of these brands.")
    cursor: Cursor = Field(None, description=_OF_CURSOR)


class HistoryQuery(Query):
    cursor: Cursor = Field(None, description=_OF_CURSOR)


class HeadroomQuery(LimitQuery):
    type: LimitType = Field(description="The type of what is about to be done.")
    currency_code: Maybe[Currency] = Field(None, description="Only limits in this currency.")


Q = TypeVar("Q", bound=Query)


def parsed(query: bytes, model: type[Q]) -> Q:
    """The parameters of a query as it was sent, without `?`. Raises Problem."""
    try:
        return model.model_validate(_values(query, model))
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False)
        raise problems.invalid_parameters({**each, "loc": ("query", *each["loc"])} for each in errors) from None


def _values(query: bytes, model: type[Query]) -> Mapping[str, str | list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    try:
        for name, value in parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict"):
            found[name].append(value)
    except ValueError:
        raise problems.invalid("query", "*", "must be percent-encoded UTF-8") from None
    repeated = {name for name, values in found.items() if len(values) > 1} - model.repeatable
    for name in repeated and repeated.intersection(map(to_camel, model.model_fields)):
        raise problems.invalid("query", name, "must not be repeated")
    return {name: values if name in model.repeatable else values[0] for name, values in found.items()}
