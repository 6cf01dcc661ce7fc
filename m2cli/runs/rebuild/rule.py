"""What a rebuild is asked for, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UsageError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RebuildRule:
    """Which dates to make anew, and what of. Raises `UsageError` if it asks for nothing, or for no dates."""

    first_date: date
    last_date: date
    with_late: bool = False
    """Merge the late events of these dates."""
    with_files: tuple[Path, ...] = ()
    """Take in these files, which the pipeline has not taken."""
    without_files: tuple[Path, ...] = ()
    """Take out what came from these files."""
    with_rejects: bool = False
    """Try the rejects again."""

    def __post_init__(self) -> None:
        if self.first_date > self.last_date:
            raise UsageError(f"`--from {self.first_date}` is after `--to {self.last_date}`")
        if not (self.with_late or self.with_files or self.without_files or self.with_rejects):
            hint = "`--with-late`, `--with FILE`, `--without FILE` or `--rejects`"
            raise UsageError(f"there is nothing to make the dates of that they are not made of; give {hint}")


class RebuildFacts(NamedTuple):
    """What a rebuild came to, or would."""

    batch_id: str | None
    """None if nothing was done: a dry run, or nothing to do."""
    has_changes: bool
    """Whether there is anything to do."""
    merged_count: int
    """Events that are now in visits: late ones, from files, from rejects."""
    waiting_count: int
    """Events of these dates that stay late, because their visitors' visits are not over yet."""
    other_count: int
    """Events of files and rejects that went to the late ones, because they are of other dates."""
    excluded_count: int
    duplicate_count: int
    visits_before: int
    """Visits that were cut anew."""
    visits_after: int
    file_count: int
    """Files of the lake that were replaced."""
    warnings: tuple[str, ...]
