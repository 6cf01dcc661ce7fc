"""Text that is cut at its spaces: which word of a stretch holds which columns, and how they lie in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.formats.patterns import escape_pattern
from m2cli.logs.parsers.grammar import keep_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.logs.formats.kinds import Kind
    from m2cli.logs.formats.model import Field


class Numbered(NamedTuple):
    """A field, and its number in the format."""

    field: Field
    number: int


class Word(NamedTuple):
    """What a word holds, by its number: between `start` and `end` characters of it columns at places, or by groups."""

    number: int
    start: int = 0
    end: int = 0
    slices: tuple[tuple[str, int, int | None], ...] = ()
    pattern: str = ""


class _Piece(NamedTuple):
    """What stands in a word: a text of that `size`, or a field, whose columns are at `slices` if they have places."""

    pattern: str
    size: int = 0
    columns: tuple[str, ...] = ()
    slices: tuple[tuple[str, int, int | None], ...] | None = None


# Where groups lie in the kinds that have one shape in all lines that the fast parser takes.
_SHAPES: dict[tuple[str, ...], tuple[tuple[str, int, int | None], ...]] = {
    ("",): (("", 0, None),),
    ("day", "clock", "rest"): (("day", 0, 10), ("clock", 11, 8), ("rest", 19, None)),
    ("clock", "rest"): (("clock", 0, 8), ("rest", 8, None)),
    ("date", "clock", "rest"): (("date", 0, 11), ("clock", 12, 8), ("rest", 20, None)),
}
_WITH_SPACE = ("date", "clock", "zone")


def cut_by_words(
    chunk: Sequence[str | Numbered], patterns: Sequence[str], used: frozenset[str]
) -> tuple[Word, ...] | None:
    """The words of `chunk` that hold any of the columns `used`; None if some field may hold spaces.

    `patterns` are what the fast parser takes of each token. One that may hold spaces may stand last, unused.
    """
    words: list[list[_Piece]] = [[]]
    for number, (token, pattern) in enumerate(zip(chunk, patterns, strict=True)):
        if isinstance(token, str):
            first, *others = token.split(" ")
            words[-1].append(_Piece(escape_pattern(first), len(first)))
            words += [[_Piece(escape_pattern(text), len(text))] for text in others]
        elif token.field.kind.groups == _WITH_SPACE and token.field.kind.width and not token.field.is_optional:
            head, tail = _halve(token.field)
            words[-1].append(head)
            words.append([tail])
        elif not _may_hold_spaces(pattern):
            words[-1].append(_Piece(pattern, 0, token.field.columns, _find_slices(token.field)))
        elif number + 1 == len(chunk) and not used & set(token.field.columns):
            break
        else:
            return None
    asked = [
        (number, word) for number, word in enumerate(words) if used & {name for each in word for name in each.columns}
    ]
    found = [_read_word(number, word, used) for number, word in asked]
    return None if None in found else tuple(word for word in found if word is not None)


def _find_slices(field: Field) -> tuple[tuple[str, int, int | None], ...] | None:
    if field.is_optional or field.kind.groups not in _SHAPES:
        return None
    return tuple((_name(field, group), at, size) for group, at, size in _SHAPES[field.kind.groups])


def _name(field: Field, group: str) -> str:
    return f"{field.name}_{group}" if group else field.name


def _halve(field: Field) -> tuple[_Piece, _Piece]:
    """A time as Apache writes it, before its space and behind it."""
    *before, (_, _, size) = field.kind.slices
    slices = tuple((_name(field, group), at, width) for group, at, width in before)
    zone = _name(field, "zone")
    return _Piece("", 0, tuple(name for name, *_ in slices), slices), _Piece("", 0, (zone,), ((zone, 0, size),))


def _read_word(number: int, word: Sequence[_Piece], used: frozenset[str]) -> Word | None:
    fields = [at for at, each in enumerate(word) if each.columns]
    slices = word[fields[0]].slices
    if len(fields) == 1 and slices is not None:
        start, end = (sum(each.size for each in some) for some in (word[: fields[0]], word[fields[0] + 1 :]))
        return Word(number, start, end, tuple(each for each in slices if each[0] in used))
    if not all(word[at].pattern for at in fields):
        return None
    return Word(number, pattern=f"^{keep_groups(''.join(each.pattern for each in word), used)}$")


def has_no_space(kind: Kind) -> bool:
    """Whether what the fast parser takes of `kind` is one column without spaces."""
    return kind.groups == ("",) and not _may_hold_spaces(kind.taken)


def _may_hold_spaces(pattern: str) -> bool:
    rest = pattern.replace("[^ ", "")
    return any(sign in rest for sign in (" ", r"\s", "[^", ".*", ".+"))


def measure(token: str | Numbered) -> int:
    """How many characters `token` always has; 0 if that varies."""
    if isinstance(token, str):
        return len(token)
    return 0 if token.field.is_optional else token.field.kind.width or 0


def places(token: str | Numbered, start: int) -> list[tuple[str, int, int]]:
    """The columns of `token`, which begins at `start`: name, place and size."""
    if isinstance(token, str):
        return []
    return [(_name(token.field, group), start + at, size) for group, at, size in token.field.kind.slices]
