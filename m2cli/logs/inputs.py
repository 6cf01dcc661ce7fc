"""What was named as input, a file or a pipe: whether it can be read, what is known before it is, its text."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from m2cli.errors import UnreadableSourceError
from m2cli.logs.parts import Likeness, compare_texts, find_first_line, name_source
from m2cli.logs.streams import CountingReader, CutError, read_pieces
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STDIN = "-"
"""What standard input is called, as a file and as a source."""
_PIECE_SIZE = 1 << 16
# The longer ones first: one begins like one of UTF-16.
_MARKS = {BOM_UTF32_LE: "UTF-32", BOM_UTF32_BE: "UTF-32", BOM_UTF16_LE: "UTF-16", BOM_UTF16_BE: "UTF-16"}
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)


class Text(NamedTuple):
    """A text that is being read: its pieces, and the reader that counts what that took from the disk."""

    pieces: Iterator[bytes]
    reader: CountingReader


class FileInput:
    """A file, which can be read as often as needed.

    `name` is how it was named, `source` the log it belongs to, `size` its bytes on disk, `changed_time` when
    it was last written to. Raises `UnreadableSourceError` if there is no such file or it may not be
    read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.source = path, printable_path(path), name_source(path)
        with reading(self.name), path.open("rb"):
            status = path.stat()
        self.size: int = status.st_size
        self.changed_time: datetime | None = datetime.fromtimestamp(status.st_mtime, UTC)

    @contextmanager
    def open_text(self, piece_size: int = _PIECE_SIZE) -> Iterator[Text]:
        """The text of the file, from its beginning."""
        with reading(self.name), closing(CountingReader(self.path.open("rb", buffering=0))) as reader:
            yield Text(read_pieces(reader, piece_size), reader)

    def find_first_line(self) -> bytes | None:
        """The first line that is neither blank nor a directive."""
        with self.open_text() as text:
            return check_encoding(find_first_line(text.pieces), self.name)

    def read_head(self, size: int) -> bytes:
        """The first `size` bytes of the text; less if there is less."""
        head = b""
        with self.open_text() as text:
            try:
                for piece in text.pieces:
                    head += piece
                    if len(head) >= size:
                        break
            except CutError:
                pass  # reported when the file is read
        return head

    def compare(self, other: FileInput) -> Likeness:
        """How this file's text is to that of `other`."""
        if self.path.samefile(other.path):
            return Likeness.EQUAL
        with self.open_text() as one, other.open_text() as another:
            return compare_texts(one.pieces, another.pieces)


class PipeInput:
    """A pipe, which is read once, and closed then: what was read to find its first line is held back."""

    size = 0
    changed_time: datetime | None = None

    def __init__(self, stream: BinaryIO, name: str = STDIN) -> None:
        self.name = self.source = name
        self._reader = CountingReader(stream)
        self._held: list[bytes] = []
        self._rest: Iterator[bytes] = iter(())
        self._cut: CutError | None = None

    @contextmanager
    def open_text(self, piece_size: int = _PIECE_SIZE) -> Iterator[Text]:  # noqa: ARG002 - read once, one size
        """The text of the pipe, once."""
        with reading(self.name), closing(self._reader):
            yield Text(self._read_again(), self._reader)

    def find_first_line(self) -> bytes | None:
        """The first line that is neither blank nor a directive."""
        with reading(self.name):
            self._rest = read_pieces(self._reader, _PIECE_SIZE)
            return check_encoding(find_first_line(self._hold()), self.name)

    def read_head(self, size: int) -> bytes:
        """The first `size` bytes of the text; less if there is less, or if that was enough to find the first line."""
        if not self._held and not self._cut:
            self.find_first_line()
        return b"".join(self._held)[:size]

    def _hold(self) -> Iterator[bytes]:
        try:
            for piece in self._rest:
                self._held.append(piece)
                yield piece
        except CutError as error:
            self._cut = error

    def _read_again(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        yield from held
        yield from self._rest
        if self._cut:  # it was met in the search for the first line
            raise self._cut


def check_encoding(first_line: bytes | None, name: str) -> bytes | None:
    """`first_line`. Raises `UnreadableSourceError` if it is in an encoding that is not read."""
    for mark, encoding in _MARKS.items():
        if first_line and first_line.startswith(mark):
            hint = f"convert it to UTF-8, as with `iconv -f {encoding} -t UTF-8`"
            raise UnreadableSourceError(name, f"it is {encoding}", hint)
    return first_line


def open_input(path: Path) -> FileInput | PipeInput:
    """What is at `path`; `/dev/fd/63` and the like are pipes. Raises `UnreadableSourceError`."""
    name = printable_path(path)
    with reading(name):
        mode = path.stat().st_mode
        if S_ISDIR(mode):
            raise UnreadableSourceError(name, "it is a folder", "name the log files in it")
        return FileInput(path) if S_ISREG(mode) else PipeInput(path.open("rb"), name)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raises what goes wrong with the file or pipe called `name` as `UnreadableSourceError`."""
    try:
        yield
    except FileNotFoundError:
        if found := _URL.fullmatch(name):  # as a path, it has one slash left of two
            url = "{}://{}".format(*found.groups())
            raise UnreadableSourceError(url, "URLs are not read", "download it, or pipe it in") from None
        raise UnreadableSourceError(name, "no such file") from None
    except PermissionError:
        raise UnreadableSourceError(name, "no right to read it") from None
    except OSError as error:
        raise UnreadableSourceError(name, error.strerror or str(error)) from error
