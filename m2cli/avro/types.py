"""What a schema says of bytes: a tree of types with all names resolved, which every reader and writer walks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
MOST_TYPES = 10_000  # in one schema, names written out: doubling names make 2^n of n lines


@dataclass(frozen=True, kw_only=True, eq=False)
class Type:
    """One type. `kind` is Avro's name of it; `recursive` stands for one of the types around it, found by `name`.

    `logical` is null where the logical type is none that changes a value, or does not fit what it annotates (which
    the specification wants to be ignored).
    """

    kind: str
    name: str = ""
    logical: str | None = None
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    has_default: bool = False
    """Of an enum: whether a symbol stands for those that are unknown."""
    aliases: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    items: Type | None = None
    branches: tuple[Type, ...] = ()
    named: dict[str, Type] = field(default_factory=dict, repr=False)
    """All named types of the schema, for `recursive` ones."""

    @property
    def item(self) -> Type:
        """What an array's items or a map's values are."""
        if self.items is None:
            raise TypeError(f"{self.kind} has no items")
        return self.items

    @property
    def values(self) -> tuple[Type, ...]:
        """The branches of a union that are not null."""
        return tuple(branch for branch in self.branches if branch.kind != "null")


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """A field of a record."""

    name: str
    type: Type
    aliases: tuple[str, ...] = ()
    has_default: bool = False


_LOGICAL = {
    "date": ("int",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("fixed",),
}


def compile_type(definition: Any) -> Type:
    """The type of a schema, as JSON has it, that fastavro has found to be well.

    Raises `ValueError` for one of more than `MOST_TYPES` types.
    """
    named: dict[str, Type] = {}
    compiled = _compile(definition, "", named, ())
    if count_types(compiled) > MOST_TYPES:
        raise ValueError(f"it has more than {MOST_TYPES:,} types, names written out")
    return compiled


def count_types(whole: Type) -> int:
    """How many types there are in `whole`, as often as they occur."""
    known: dict[int, int] = {}

    def count(each: Type) -> int:
        if id(each) not in known:
            known[id(each)] = 1 + sum(map(count, children(each)))
        return known[id(each)]

    return count(whole)


def is_recursive(whole: Type) -> bool:
    """Whether some type in it holds itself."""
    return whole.kind == "recursive" or any(map(is_recursive, children(whole)))


def children(whole: Type) -> tuple[Type, ...]:
    """The types that `whole` is made of."""
    inner = (whole.items,) if whole.items else ()
    return (*(each.type for each in whole.fields), *inner, *whole.branches)


def least_size(whole: Type) -> int:
    """The least number of bytes that a value takes; of what holds itself, 1, since the smallest there has an end."""
    if whole.kind == "record":
        return sum(least_size(each.type) for each in whole.fields)
    if whole.kind == "union":
        return 1
    return {"null": 0, "float": 4, "double": 8, "fixed": whole.size}.get(whole.kind, 1)


def _compile(definition: Any, namespace: str, named: dict[str, Type], around: tuple[str, ...]) -> Type:  # noqa: PLR0911  # one return for each kind
    if isinstance(definition, list):
        if any(isinstance(each, list) for each in definition):
            raise ValueError("a union holds a union")
        return Type(kind="union", branches=tuple(_compile(each, namespace, named, around) for each in definition))
    if isinstance(definition, str):
        if definition in PRIMITIVES:
            return Type(kind=definition)
        name = _full(definition, namespace)
        if name in around:
            return Type(kind="recursive", name=name, named=named)
        return named[name] if name in named else named[definition]
    kind = definition["type"]
    if not isinstance(kind, str) or kind not in {*PRIMITIVES, "record", "error", "enum", "fixed", "array", "map"}:
        return _compile(kind, namespace, named, around)
    if kind in PRIMITIVES:
        return Type(kind=kind, **_logical(kind, definition, 0))
    if kind == "array":
        return Type(kind=kind, items=_compile(definition["items"], namespace, named, around))
    if kind == "map":
        return Type(kind=kind, items=_compile(definition["values"], namespace, named, around))
    name = _full(definition["name"], definition.get("namespace", namespace))
    named[name] = _compile_named(kind, definition, name, named, around)
    return named[name]


def _compile_named(kind: str, definition: Any, name: str, named: dict[str, Type], around: tuple[str, ...]) -> Type:
    aliases = tuple(definition.get("aliases", ()))
    if kind == "enum":
        return Type(
            kind=kind,
            name=name,
            symbols=tuple(definition["symbols"]),
            has_default="default" in definition,
            aliases=aliases,
        )
    if kind == "fixed":
        size = definition["size"]
        return Type(kind=kind, name=name, size=size, aliases=aliases, **_logical(kind, definition, size))
    inner = name.rpartition(".")[0]
    names = [each["name"] for each in definition["fields"]]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise ValueError(f"`{name}` has two fields `{twice[0]}`")
    fields = tuple(
        Field(
            name=each["name"],
            type=_compile(each["type"], inner, named, (*around, name)),
            aliases=tuple(each.get("aliases", ())),
            has_default="default" in each,
        )
        for each in definition["fields"]
    )
    return Type(kind="record", name=name, fields=fields, aliases=aliases, named=named)


def _logical(kind: str, definition: Any, size: int) -> dict[str, Any]:
    logical = definition.get("logicalType")
    if kind not in _LOGICAL.get(logical, ()) or (logical == "uuid" and size != 16):
        return {}
    if logical != "decimal":
        return {"logical": logical}
    precision, scale = definition.get("precision"), definition.get("scale", 0)
    if not (isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0):
        return {}
    return {"logical": logical, "precision": precision, "scale": scale}


def _full(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
