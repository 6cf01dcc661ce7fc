"""The process around a verb: its streams, its signals, and the code it ends with."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import click

from m2cli.clock import elapsed_since, stopwatch
from m2cli.console import say_error
from m2cli.errors import ExitCode, M2Error, UnwritableSinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# What systemd, cron and a closing terminal send ends like Ctrl-C, so that nothing half-done is left.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_SAME_SIGNAL = 1.0  # seconds
_MOMENT = 0.02  # seconds by which an interrupt is put off, so often at most
_PUT_OFF_MOST = 50


def run_and_exit(body: Callable[[], object]) -> NoReturn:
    """Run `body` and end the process with its exit code; what m2 raises on purpose becomes one line."""
    _prepare_streams()
    for number in _ENDING_SIGNALS:
        signal.signal(number, _Interrupt.handle)
    sys.exit(_run_interruptibly(body))


def hold_pages() -> None:
    """Let Polars hold for some seconds what memory it is done with, unless the environment says how long.

    For who takes and leaves much of it again and again: to get pages anew from the system was a fifth of a replay's
    time. Polars reads it when it is loaded, so this comes before.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")


@contextmanager
def ending_gently() -> Iterator[Callable[[float], bool]]:
    """Within the block the first signal that would end the process asks it to end; the next ends it as ever.

    What comes within a second is the same once more: `timeout` and terminals tell a process and then its group.
    Gives a function that waits so many seconds, or until such a signal, and says whether one has come.
    """
    event, asked = Event(), list[float]()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(stopwatch())
        if elapsed_since(asked[0]) > _SAME_SIGNAL:
            _Interrupt.handle(number, frame)
        event.set()

    before = {number: signal.signal(number, ask) for number in _ENDING_SIGNALS}
    try:
        yield event.wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def open_stdout() -> BinaryIO:
    """Stdout, for bytes. Raises `UnwritableSinkError` where the process was started without one."""
    if sys.stdout is None:
        raise UnwritableSinkError("stdout", "it is closed")
    return sys.stdout.buffer


def _run_interruptibly(body: Callable[[], object]) -> ExitCode:
    """What `body` ends with; once a signal has come, that is why it fails, whatever it says.

    Polars makes a panic of an interrupt that comes while it calls back, and who reads files takes that for damage.
    """
    try:
        code = _run(body)
    except BaseException:
        if not _Interrupt.has_come:
            raise
        code = ExitCode.INTERRUPTED
    if _Interrupt.has_come:
        signal.setitimer(signal.ITIMER_REAL, 0)  # nothing is going on any more
    if _Interrupt.has_come and code != ExitCode.OK:
        say_error("interrupted; nothing half-done is left")
        return ExitCode.INTERRUPTED
    return code


def _run(body: Callable[[], object]) -> ExitCode:  # noqa: PLR0911  # one return for each way to end
    try:
        body()
        if sys.stdout is not None:
            sys.stdout.flush()  # a reader that has gone away is found out here, not after the end
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return ExitCode.USAGE
    except click.exceptions.Exit as done:
        return ExitCode(done.exit_code)
    except click.ClickException as error:
        say_error(" ".join(error.format_message().split()), _hint_at_help(error))
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        if not _Interrupt.has_come:
            say_error("interrupted; nothing half-done is left")
        return ExitCode.INTERRUPTED
    except M2Error as error:
        if not _Interrupt.has_come:
            say_error(str(error))
        return error.exit_code
    except OSError as error:
        return _end_by_system(error)
    return ExitCode.OK


def _prepare_streams() -> None:
    for descriptor, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:  # or else a file of the lake would get its number, and what is printed
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for as long as the process lives
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # stdout is a text file here


class _Interrupt:
    """Whether a signal has come that ends the process."""

    has_come = False
    _put_off = 0

    @classmethod
    def handle(cls, _number: int, frame: FrameType | None) -> None:
        """Remember it, and end what is going on: a moment later where Polars may be what has called.

        It would write a panic to stderr of what is raised while it calls back.
        """
        cls.has_come = True
        if _may_be_called_back(frame) and cls._put_off < _PUT_OFF_MOST:
            cls._put_off += 1
            signal.signal(signal.SIGALRM, cls.handle)
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
            return
        cls._put_off = 0
        raise KeyboardInterrupt


def _may_be_called_back(frame: FrameType | None) -> bool:
    """Whether Polars may have called `frame`: somewhere before it stands one of Polars, which does not wait itself."""
    if frame is not None and _module(frame).startswith("polars.lazyframe"):
        return False  # it waits for the end of a query, and looks for signals meanwhile
    while frame is not None:
        if _module(frame).startswith("polars."):
            return True
        frame = frame.f_back
    return False


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _end_by_system(error: OSError) -> ExitCode:
    if isinstance(error, BrokenPipeError) or "broken pipe" in str(error).lower():  # polars' own has no number
        # Whoever read our output has read enough; the interpreter must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    where = f" `{error.filename}`" if error.filename else ""
    say_error(f"cannot read or write{where}: {(error.strerror or str(error)).lower()}")
    return ExitCode.UNREACHABLE


def _hint_at_help(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context else ""
