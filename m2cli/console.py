"""Everything m2 writes to stderr: summaries, warnings, errors, progress."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from m2cli.runs.progress import Step, Tell

_LABEL_WIDTH = 11  # the longest label of a summary is "passed over"


class Console:
    """Narration for people: on stderr, none when quiet, more when verbose, drawn only on a terminal."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            click.echo(escape(text), err=True)

    def detail(self, text: str) -> None:
        """A line for those who asked for more."""
        if self.verbose and not self.quiet:
            click.echo(escape(text), err=True)

    def warn(self, text: str) -> None:
        """A line that even `--quiet` does not silence."""
        click.echo(f"warning: {escape(text)}", err=True)

    def summarize(self, facts: Sequence[tuple[str, str]]) -> None:
        """What a run came to: a word and a sentence on each line."""
        for label, sentence in facts:
            self.say(f"{label:<{_LABEL_WIDTH}} {sentence}")

    @contextmanager
    def progress(self) -> Iterator[Tell]:
        """A callback that draws a run's steps with rate and time left, where stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _step: None
            return
        with _draw_progress() as tell:
            yield tell


@contextmanager
def _draw_progress() -> Iterator[Tell]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Terminal(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def tell(step: Step) -> None:
            if step.what not in tasks:
                tasks[step.what] = progress.add_task(step.what, total=step.total, rate="")
            task = tasks[step.what]
            speed = progress.tasks[task].speed
            rate = format_rate(speed, step.unit) if speed else ""  # none before there is something to go by
            described = f"{step.what} {step.at}".rstrip()
            progress.update(task, completed=step.done, total=step.total, rate=rate, description=described)  # type: ignore[arg-type]  # the same

        yield tell


def format_rate(speed: float, unit: str) -> str:
    """`speed` a second, in words.

    >>> format_rate(1_234_567, "events")
    '1,234,567 events/s'
    """
    return f"{speed / 1e6:,.1f} MB/s" if unit == "bytes" else f"{speed:,.0f} {unit}/s"


def escape(text: str) -> str:
    """`text` with all that could steer a terminal made visible; line ends stay."""
    return "\n".join(map(escape_text, text.split("\n")))


def say_error(message: str, hint: str = "") -> None:
    """One line that says what went wrong, and one that says what to do."""
    click.echo(f"error: {escape(message)}", err=True)
    if hint:
        click.echo(f"hint: {escape(hint)}", err=True)
