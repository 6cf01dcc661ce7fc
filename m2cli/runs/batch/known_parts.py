"""The parts that the ledger knows, as who follows logs and event files asks for them: one by one, when they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

from m2cli.logs.follow import KnownPart, Mark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from m2cli.ledger import Ledger, RowOfPart


class _Marks(Sequence[Mark]):
    """The marks of a part, read when they are looked at: of most parts they never are."""

    def __init__(self, ledger: Ledger, part_id: str) -> None:
        self._ledger, self._part_id = ledger, part_id

    @cached_property
    def _marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(*mark) for part in self._ledger.find_parts(part_ids=[self._part_id]) for mark in part.marks)

    @overload
    def __getitem__(self, index: int) -> Mark: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mark]: ...
    def __getitem__(self, index: int | slice) -> Mark | Sequence[Mark]:
        return self._marks[index]

    def __len__(self) -> int:
        return len(self._marks)


class Parts:
    """The parts that the ledger knows, asked for one by one: after years there are hundreds of thousands."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, part_id: str) -> KnownPart | None:
        """The part of that id."""
        found = self._ledger.find_parts(part_ids=[part_id])
        return self._to_part(found[0]) if found else None

    def find_named(self, name: str) -> list[KnownPart]:
        """All parts of that name, whatever their suffix."""
        return [self._to_part(row) for row in self._ledger.find_parts(names=[name])]

    def _to_part(self, row: RowOfPart) -> KnownPart:
        return KnownPart(
            part_id=row.part_id,
            name=row.name,
            source=row.source,
            position=row.position,
            line_count=row.line_count,
            marks=_Marks(self._ledger, row.part_id),
            is_excluded=row.is_excluded,
        )


class Sizes(Mapping[str, int]):
    """The sizes of the event files that were ever taken, by part, and of those that this plan takes."""

    def __init__(self, ledger: Ledger, planned: Collection[str]) -> None:
        self._ledger, self._planned = ledger, planned

    def __getitem__(self, part_id: str) -> int:
        found = self._ledger.find_parts(part_ids=[part_id])
        if found:
            return found[0].position
        if part_id in self._planned:
            return 0
        raise KeyError(part_id)

    def __iter__(self) -> Iterator[str]:
        return (part.part_id for part in self._ledger.list_parts())

    def __len__(self) -> int:
        return len(self._ledger.list_parts())
