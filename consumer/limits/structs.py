"""Structs made from the models of events.py, and the quick path: msgspec decodes plain events to them.

An event is a struct whichever path it took, so that the rest of the code gets one kind; annotations name the model,
whose fields, properties and methods the struct has. Only an event of a model with a rule that structs do not know
stays a model. The quick path takes nothing that the models refuse, and leaves the rest, and the wording of refusals,
to pydantic (docs/decisions/0074-msgspec-decodes-plain-events.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache, reduce
from operator import or_
from re import compile as compiled
from types import FunctionType, NoneType
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from msgspec import Meta, MsgspecError, Struct, defstruct
from msgspec.json import Decoder
from msgspec.structs import force_setattr
from pydantic import AfterValidator, PlainValidator, WithJsonSchema
from pydantic.fields import FieldInfo

from consumer.engine.projection import Ignored
from consumer.engine.wire import DEPTH, DIGITS
from consumer.limits.events import OUT_OF_SCOPE, PRINTABLE, LimitEvent, NotNull, StrictModel

LONGEST = DIGITS
"""Bytes. No integer in such a record has too many digits."""

QuickPath: TypeAlias = Callable[[bytes], LimitEvent | Ignored | None]

Check: TypeAlias = Callable[[Any], object]
"""Returns the value, converted or not. Raises ValueError."""

_BOUNDS = ("ge", "le", "min_length", "max_length")


class _Unsupported(Exception):
    """A rule of a model that structs do not know."""


@cache
def ignored(name: str) -> Ignored:
    """One object per type. `name` is one of a few."""
    return Ignored(name)


def quick_path(models: Mapping[str, type[LimitEvent]]) -> QuickPath:
    """Decodes an event of one of `models`, by their types, or of a type out of scope. None leaves it to pydantic."""
    structs = [struct_of(model) for name, model in models.items() if _type_of(model) == name]
    foreign = {_foreign(name): ignored(name) for name in sorted(OUT_OF_SCOPE - models.keys())}
    known: Any = reduce(or_, [*filter(None, structs), *foreign])
    # An exponent out of range fails here as in wire.py.
    decode = Decoder(known, float_hook=Decimal).decode

    def quick(data: bytes) -> LimitEvent | Ignored | None:
        # Without escapes, a text is what it looks like: ASCII without control characters, which JSON forbids.
        if len(data) > LONGEST or not data.isascii() or b"\\" in data or b"\x7f" in data:
            return None
        try:
            found: Any = decode(data)
        except (MsgspecError, ArithmeticError, RecursionError):
            return None
        out_of_scope = foreign.get(type(found))
        if out_of_scope is None:
            return cast("LimitEvent", found)
        # Only these can be nested too deeply: the fields of all others are known.
        return None if data.count(b"[") + data.count(b"{") > DEPTH else out_of_scope

    return quick


def _foreign(name: str) -> type[Struct]:
    """An event out of scope: parsed in full, with nothing required of its fields."""
    fields = [(field, Any, None) for field in LimitEvent.model_fields if field != "type"]
    return _struct(name, LimitEvent, fields, {"type": name}, name)


def as_struct(event: LimitEvent) -> LimitEvent:
    """The struct of a validated event."""
    return cast("LimitEvent", _converted(event))


def _converted(value: object) -> object:
    struct = struct_of(type(value)) if isinstance(value, StrictModel) else None
    if struct is None:
        return value
    return struct(**{name: _converted(getattr(value, name)) for name in struct.__struct_fields__})


@cache
def struct_of(model: type[StrictModel]) -> type[Struct] | None:
    """The struct with the fields, bounds, validators, properties and methods of the model, if it can have all."""
    hints = get_type_hints(model, include_extras=True)
    tag = _type_of(model)
    fields: list[Any] = []
    checks: list[tuple[str, Check]] = []
    try:
        validators = [*_validators(model)]
        for name, field in model.model_fields.items():
            if tag is None or name != "type":
                kind, own = _field(hints[name])
                fields.append((name, kind) if field.is_required() else (name, kind, field.default))
                checks += [(name, _in_turn(own))] if own else []
    except _Unsupported:
        return None
    members = _members(model)
    if checks or validators:
        members["__post_init__"] = _post_init(checks, validators)
    return _struct(model.__name__, model, fields, members if tag is None else {**members, "type": tag}, tag)


def _struct(
    name: str, model: type[StrictModel], fields: list[Any], members: dict[str, Any], tag: str | None
) -> type[Struct]:
    return defstruct(
        name,
        fields,
        namespace=members,
        module=__name__,
        rename={name: field.alias or name for name, field in model.model_fields.items()},
        tag_field=None if tag is None else "type",
        tag=tag,
        forbid_unknown_fields=True,  # msgspec skips the content of an unknown field without a full check
        frozen=True,
        kw_only=True,
        gc=False,
    )


def _type_of(model: type[StrictModel]) -> str | None:
    """The type of events that the model describes, None if it describes something else."""
    return get_args(model.model_fields["type"].annotation)[0] if issubclass(model, LimitEvent) else None


def _validators(model: type[StrictModel]) -> Iterator[Check]:
    """The functions that check a whole validated model."""
    found = model.__pydantic_decorators__
    if found.field_validators or found.root_validators or found.validators:
        raise _Unsupported
    for each in found.model_validators.values():
        if each.info.mode != "after":
            raise _Unsupported
        yield each.func


def _members(model: type[StrictModel]) -> dict[str, Any]:
    """The properties and methods of the model and of the models that it is derived from."""
    own = [each for each in reversed(model.__mro__) if issubclass(each, StrictModel) and each is not StrictModel]
    members = {name: member for each in own for name, member in vars(each).items() if not name.startswith("_")}
    return {name: member for name, member in members.items() if isinstance(member, property | FunctionType)}


def _post_init(checks: Sequence[tuple[str, Check]], validators: Sequence[Check]) -> Callable[[Struct], None]:
    """What msgspec calls for a new struct: it converts texts, then validates the whole."""

    def post_init(self: Struct) -> None:
        for name, check in checks:
            value = getattr(self, name)
            if type(value) is str:  # otherwise it is absent, or comes from a model
                force_setattr(self, name, check(value))
        for validate in validators:
            validate(self)

    return post_init


def _field(hint: Any) -> tuple[Any, list[Check]]:
    """The type of a field, and the functions that its text then passes through."""
    if get_origin(hint) is Annotated:
        return _annotated(hint.__origin__, hint.__metadata__)
    if isinstance(hint, type) and issubclass(hint, StrictModel):
        struct = struct_of(hint)
        if struct is None:
            raise _Unsupported
        return struct, []
    if hint in (str, int) or get_origin(hint) is Literal:
        return hint, []
    raise _Unsupported


def _annotated(hint: Any, metadata: Sequence[Any]) -> tuple[Any, list[Check]]:
    if isinstance(metadata[0], NotNull):
        # The default, None, is no value of the type: null is refused.
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        return _field(hint)
    rules = [rule for each in metadata for rule in (each.metadata if isinstance(each, FieldInfo) else [each])]
    rules = [rule for rule in rules if not isinstance(rule, WithJsonSchema)]
    is_text = hint is str or isinstance(rules[0], PlainValidator)
    kind, checks = (str, []) if is_text else _field(hint)
    bounds: dict[str, Any] = {}
    for rule in rules:
        if isinstance(rule, PlainValidator | AfterValidator) and is_text:
            checks.append(cast("Check", rule.func))
        elif pattern := getattr(rule, "pattern", None):
            checks += [] if pattern == PRINTABLE else [_matching(pattern)]
        elif names := [name for name in _BOUNDS if hasattr(rule, name)]:
            bounds |= {name: getattr(rule, name) for name in names}
        else:
            raise _Unsupported
    return (Annotated[kind, Meta(**bounds)] if bounds else kind), checks


def _in_turn(checks: Sequence[Check]) -> Check:
    return checks[0] if len(checks) == 1 else lambda value: reduce(lambda found, check: check(found), checks, value)


def _matching(pattern: str) -> Check:
    matches = compiled(pattern).search

    @lru_cache(1_000)
    def check(text: str) -> str:
        if not matches(text):
            raise ValueError("does not match")
        return text

    return check
