"""The bytes of many messages, each read at a place of its own, all one value further at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]
    Words = NDArray[np.uint64]

_BEYOND = 16  # bytes behind the last message, at which lanes stand that have failed
_PADDING = 64  # all zero: whoever reads there reads nulls, zeros and empty texts
_STOPS = np.uint64(0x8080808080808080)
_DIGITS = np.uint64(0x7F7F7F7F7F7F7F7F)
# From 7 bits a byte to 14 in two, 28 in four, 56 in eight.
_FOLDS = tuple(
    (np.uint64(low), np.uint64(low << shift), np.uint64(shift // 8))
    for low, shift in ((0x007F007F007F007F, 8), (0x00003FFF00003FFF, 16), (0x000000000FFFFFFF, 32))
)
_ONE = np.uint64(1)
_INLINE = 12  # the longest text that lies in its view itself
# Of texts of 0 to 12 bytes and of longer ones: which bits of the first four bytes, and of the eight behind, are theirs.
_HEADS = np.array([(1 << (8 * min(length, 4))) - 1 for length in range(_INLINE + 2)], dtype=np.uint64)
_RESTS = np.array([(1 << (8 * max(min(length - 4, 8), 0))) - 1 for length in range(_INLINE + 2)], dtype=np.uint64)


class Longs(NamedTuple):
    """Numbers, and the places behind them."""

    values: Places
    places: Places


class Views(NamedTuple):
    """Texts as views into the bytes (two words each, as Arrow has them), and the places behind them."""

    views: Words
    places: Places


class NullableViews(NamedTuple):
    """Texts as views, which of them are given at all, and the places behind them."""

    views: Words
    is_given: NDArray[np.bool_]
    places: Places


class Lanes:
    """The joined bytes of messages, read at many places at once.

    A lane that has failed stands at `failed` and stays there: places never go back and never beyond it. So a lane is
    well if and only if it stands at its message's end when all has been read, whatever it has looked at before.
    """

    def __init__(self, messages: pl.Series) -> None:
        joined = pl.concat([messages, pl.Series([bytes(_PADDING)])]).rechunk()
        arrow = joined.to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, self.buffer = arrow.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[arrow.offset : arrow.offset + len(joined) + 1]
        self.starts, self.ends = ends[:-2], ends[1:-1]
        self.size = int(ends[-2])
        self.failed = self.size + _BEYOND
        self.bytes = np.frombuffer(self.buffer, dtype=np.uint8)
        # Eight bytes from any place on: a word that is read where it lies, aligned or not.
        self.words = np.ndarray((self.failed + _BEYOND,), dtype="<u8", buffer=self.buffer, strides=(1,))

    def longs(self, places: Places) -> Longs:
        """A number of variable length at each place, zigzag undone."""
        first = self.bytes[places]
        if not (first & 0x80).any():
            return Longs(_unzigzag(first.astype(np.uint64)), self.clamp(places + 1))
        words = self.words[places]
        stops = ~words & _STOPS
        lowest = stops & (~stops + _ONE)
        kept = lowest ^ (lowest - _ONE)
        numbers = words & kept & _DIGITS
        for low, high, shift in _FOLDS:
            numbers = (numbers & low) | ((numbers & high) >> shift)
        after = places + (np.bitwise_count(kept) >> 3)
        if not lowest.all():
            self._read_long(np.flatnonzero(lowest == 0), places, numbers, after)
        return Longs(_unzigzag(numbers), self.clamp(after))

    def _read_long(self, lanes: Places, places: Places, numbers: Words, after: Places) -> None:
        """The ninth and tenth byte of the numbers that have them."""
        ninth, tenth = self.bytes[places[lanes] + 8], self.bytes[places[lanes] + 9]
        has_tenth = ninth >= 0x80
        numbers[lanes] |= (ninth & np.uint8(0x7F)).astype(np.uint64) << np.uint64(56)
        numbers[lanes] |= np.where(has_tenth, tenth & 1, 0).astype(np.uint64) << np.uint64(63)
        after[lanes] += np.where(has_tenth, 2, 1)
        after[lanes[has_tenth & (tenth > 1)]] = self.failed

    def views(self, places: Places) -> Views:
        """A text or bytes of any length at each place."""
        lengths, starts = self.longs(places)
        wrong = lengths.view(np.uint64) > self.size
        if wrong.any():
            lengths, starts = np.where(wrong, 0, lengths), np.where(wrong, self.failed, starts)
        return self._view(lengths, starts)

    def nullable_views(self, places: Places, given: int, null: int) -> NullableViews:
        """A text or nothing at each place: the byte `null`, or the byte `given` and then the text.

        At once, since the fields of events are mostly such: it halves the time of taking those apart that are given.
        Lengths of more than seven bytes, which nobody writes, fail.
        """
        words = self.words[places]
        marks = words & np.uint64(0xFF)
        is_given = marks == given
        if not is_given.any():
            after = self._after_nulls(places, marks, null)
            return NullableViews(np.zeros((len(places), 2), np.uint64), is_given, after)
        words >>= np.uint64(8)
        is_all = bool(is_given.all())
        if not ((words & np.uint64(0x80)).view(np.int64) * is_given).any():
            lengths = ((words & np.uint64(0x7F)) >> _ONE).view(np.int64)
            sizes = np.full(len(places), 2, np.int64)
            is_odd = (words & _ONE) == 1  # a negative length
        else:
            stops = ~words & _STOPS
            kept = stops & (~stops + _ONE)
            kept ^= kept - _ONE
            sizes = (np.bitwise_count(kept) >> 3).astype(np.int64) + 1
            numbers = words & kept & _DIGITS
            for low, high, shift in _FOLDS:
                numbers = (numbers & low) | ((numbers & high) >> shift)
            is_odd = (numbers & _ONE == 1) | (sizes > 8) | (numbers >> _ONE > self.size)
            lengths = (numbers >> _ONE).view(np.int64)
        if is_all:
            starts, is_wrong = places + sizes, is_odd
        else:
            starts = places + np.where(is_given, sizes, 1)
            lengths = lengths * is_given
            is_wrong = np.where(is_given, is_odd, marks != null)
        if is_wrong.any():
            lengths, starts = np.where(is_wrong, 0, lengths), np.where(is_wrong, self.failed, starts)
        views, after = self._view(lengths, self.clamp(starts))
        return NullableViews(views, is_given, after)

    def _after_nulls(self, places: Places, marks: Words, null: int) -> Places:
        is_wrong = marks != null
        after = self.clamp(places + 1)
        return np.where(is_wrong, self.failed, after) if is_wrong.any() else after

    def fixed(self, places: Places, size: int) -> Views:
        """Bytes of one length at each place."""
        return self._view(np.full(len(places), size, np.int64), places)

    def _view(self, lengths: Places, starts: Places) -> Views:
        after = self.clamp(starts + lengths)
        kinds = np.minimum(lengths, _INLINE + 1)
        head = self.words[starts]
        head &= _HEADS[kinds]
        head <<= np.uint64(32)
        views = np.empty((len(starts), 2), np.uint64)
        np.bitwise_or(head, lengths.view(np.uint64), out=views[:, 0])
        is_short = kinds <= _INLINE
        if is_short.all():
            np.bitwise_and(self.words[starts + 4], _RESTS[kinds], out=views[:, 1])
        else:
            np.left_shift(starts.view(np.uint64), np.uint64(32), out=views[:, 1])
            if is_short.any():
                np.copyto(views[:, 1], self.words[starts + 4] & _RESTS[kinds], where=is_short)
        failed = after >= self.failed
        if failed.any():  # nothing may look behind the bytes
            views[failed] = 0
        return Views(views, after)

    def to_binary(self, views: Words, is_given: NDArray[np.bool_] | None) -> pl.Series:
        """The column of `views`; the bytes are not copied."""
        column = pa.Array.from_buffers(
            pa.binary_view(), len(views), [_pack_bits(is_given), pa.py_buffer(views), self.buffer]
        )
        return pl.Series(pl.from_arrow(column))

    def clamp(self, places: Places) -> Places:
        """`places`, none beyond where failed lanes stand."""
        return np.minimum(places, self.failed) if len(places) and places.max() > self.failed else places


def _pack_bits(is_given: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's mask of what is given, a bit each; None where all is."""
    return None if is_given is None else pa.py_buffer(np.packbits(is_given, bitorder="little"))


def _unzigzag(numbers: Words) -> Places:
    return ((numbers >> _ONE) ^ (~(numbers & _ONE) + _ONE)).view(np.int64)
