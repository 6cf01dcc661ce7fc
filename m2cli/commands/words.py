"""What several verbs say in their summaries, in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from m2cli.console import Console
    from m2cli.runs.intake import Tally


def describe_rejects(tally: Tally) -> str:
    """How much of the input became no event, and mostly why."""
    read = f"{tally.reject_count:,} of {tally.read_count:,} read"
    if tally.ignored_count:
        read += f"; {tally.ignored_count:,} blank or directives"
    if not tally.reasons:
        return read
    reason, count = tally.commonest[0]
    return f"{read}; commonest: {reason} ({count:,})"


def describe_formats(tally: Tally) -> list[tuple[str, str]]:
    """Which formats logs were found to be of, and of several the share of each; nothing where one was named."""
    shares = tally.shares
    lines = [("format", text) for text in tally.detected]
    if len(shares) > 1:
        parts = ", ".join(f"{name} {share(count, tally.event_count)}" for name, count in shares)
        lines.append(("formats", parts))
    return lines


def describe_redacted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """How many secrets were replaced, by what they are; never what they were.

    >>> describe_redacted({"token": 3, "payment card": 1})
    [('redacted', '4: token 3, payment card 1')]
    """
    if not counts:
        return []
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return [("redacted", f"{sum(counts.values()):,}: {parts}")]


def warn_of_faults(tally: Tally, console: Console) -> None:
    """Say what a summary's numbers may hide: nothing to read, nothing that fits, a compressed file without its end."""
    from m2cli.logs.streams import ENDS_EARLY

    if not tally.read_count:
        console.warn("the input is empty")
    elif tally.reject_count == tally.read_count - tally.ignored_count:
        console.warn("nothing that was read is an event; is it the format that `--log-format` or `--map` says?")
    if tally.reasons[ENDS_EARLY]:
        console.warn(f"{ENDS_EARLY}: the lines before the cut are kept, `rejects` says in which file and where")


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent.

    >>> share(1, 3)
    '33.3 %'
    """
    return f"{100 * part / whole:.1f} %" if whole else "none"


def count_of(count: int, one: str) -> str:
    """`count` of what one is called `one`.

    >>> count_of(1, "visit"), count_of(1200, "visit")
    ('1 visit', '1,200 visits')
    """
    return f"{count:,} {one if count == 1 else one + 's'}"
