"""Looking for identifiers where they should not be: among the values of a lake, and in the bytes of its files."""

from __future__ import annotations

import mmap
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pyarrow as pa

from m2cli.privacy.forms import LEAST_BYTES, LEAST_TOKEN, Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# Parts of a URL or a list; and what is left when all signs go.
_SEPARATORS = (r"[/?&=;#,|\s\"'<>()\[\]{}]+", r"[^\p{L}\p{N}]+")
# Bytes of a file that are looked at together.
_BLOCK = 16 << 20


class Found(NamedTuple):
    """An identifier where it should not be; its value is not told, only what it is and where."""

    column: str
    """Of the input."""
    form: str
    where: str
    """A column of the output, or a file of it."""
    found_count: int


class Tokens:
    """All texts of a lake, whole and in their parts, by column."""

    def __init__(self, columns: dict[str, pl.Series]) -> None:
        """Take apart the distinct values (String) of each of `columns`."""
        self._columns = {name: _split(values) for name, values in columns.items()}
        hashes = [values.hash() for values in self._columns.values() if len(values)]
        self._hashes = pl.concat(hashes).unique().sort() if hashes else pl.Series(dtype=pl.UInt64)

    def find(self, column: str, form: Form) -> Iterator[Found]:
        """Where texts of `form`, made of the input's `column`, are values or parts of them."""
        texts = form.texts.filter(form.texts.str.len_bytes() >= LEAST_TOKEN)
        hashes = texts.hash()
        known = self._find_known(hashes)
        hits = texts.filter(hashes.is_in(known.implode())) if len(known) else texts.clear()
        for where, values in self._columns.items() if len(hits) else ():
            count = int(values.is_in(hits.implode()).sum())
            if count:
                yield Found(column, form.name, f"`{where}`", count)

    def _find_known(self, hashes: pl.Series) -> pl.Series:
        """Those of `hashes` that a token has.

        Tokens are sorted once, where `is_in` would make a table of them each time: of 20 million 4.7 s, not 0.4.
        """
        if self._hashes.is_empty():
            return hashes.clear()
        wanted = hashes.sort()  # so that neighbours are looked for near each other
        places = self._hashes.search_sorted(wanted).clip(upper_bound=len(self._hashes) - 1)
        return wanted.filter(self._hashes.gather(places) == wanted)


def _split(values: pl.Series) -> pl.Series:
    parts = [values, *(values.str.replace_all(signs, " ").str.split(" ").explode() for signs in _SEPARATORS)]
    return pl.concat(parts).drop_nulls().unique()


class Bytes:
    """The bytes of files, and of values that a file may hold compressed, at every offset."""

    def __init__(self, paths: Iterable[Path], columns: Mapping[str, pl.Series] | None = None) -> None:
        """Look into `paths` and the values (String) of `columns`; names of files count as well."""
        self._paths = [path for path in paths if path.is_file()]
        self._contents = {"the name of a file": "\n".join(map(str, self._paths)).encode()}
        for name, values in (columns or {}).items():
            self._contents[f"a value of `{name}`"] = "\n".join(values.drop_nulls()).encode()

    def find(self, column: str, forms: list[Form]) -> Iterator[Found]:
        """Where texts of `forms`, made of the input's `column`, stand in a file, if they have 8 bytes or more."""
        long = [Form(form.name, form.texts.filter(_are_long(form.texts))) for form in forms]
        texts = pl.concat([pl.DataFrame({"text": form.texts}).with_columns(form=pl.lit(form.name)) for form in long])
        if texts.is_empty():
            return
        prefixed = texts.with_columns(prefix=_prefixes(texts["text"]))
        wanted = prefixed["prefix"].unique().implode()
        for where, content in self._contents.items():
            yield from self._count(column, where, _look(content, wanted, prefixed))
        for path in self._paths:
            if path.stat().st_size < LEAST_BYTES:
                continue
            with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield from self._count(column, f"the bytes of `{path.name}`", _look(mapped, wanted, prefixed))

    @staticmethod
    def _count(column: str, where: str, found: Counter[str]) -> Iterator[Found]:
        for form, count in found.items():
            yield Found(column, form, where, count)


def _are_long(texts: pl.Series) -> pl.Series:
    return texts.str.len_bytes() >= LEAST_BYTES


def _prefixes(texts: pl.Series) -> pl.Series:
    """The first 8 bytes of each text as a number."""
    return texts.cast(pl.Binary).bin.slice(0, LEAST_BYTES).bin.reinterpret(dtype=pl.UInt64, endianness="little")


def _look(content: bytes | mmap.mmap, wanted: pl.Series, prefixed: pl.DataFrame) -> Counter[str]:
    """How many texts of each form begin somewhere in `content`."""
    found: Counter[str] = Counter()
    for start in range(0, len(content), _BLOCK):
        block = content[start : start + _BLOCK + LEAST_BYTES - 1]
        for offset in range(LEAST_BYTES):
            count = (len(block) - offset) // LEAST_BYTES
            if count < 1:
                continue
            buffer = pa.py_buffer(memoryview(block)[offset : offset + count * LEAST_BYTES])
            windows = pl.Series(pa.Array.from_buffers(pa.uint64(), count, [None, buffer]))
            hits = windows.is_in(wanted).arg_true()
            if len(hits):
                places = (hits.cast(pl.Int64) * LEAST_BYTES + offset + start).to_list()
                found.update(_verify(content, places, windows.gather(hits), prefixed))
    return found


def _verify(
    content: bytes | mmap.mmap, places: list[int], prefixes: pl.Series, prefixed: pl.DataFrame
) -> Iterator[str]:
    """The forms of those texts that really stand at `places`, of which the first 8 bytes are known to fit."""
    near = prefixed.filter(pl.col("prefix").is_in(prefixes.unique().implode()))
    by_prefix: dict[int, dict[int, dict[bytes, str]]] = {}
    for prefix, text, form in near.select("prefix", "text", "form").iter_rows():
        raw = text.encode()
        by_prefix.setdefault(prefix, {}).setdefault(len(raw), {})[raw] = form
    for place, prefix in zip(places, prefixes, strict=True):
        for length, forms in by_prefix[prefix].items():
            form = forms.get(content[place : place + length])
            if form:
                yield form
