"""The partition of a key, as Java's client chooses it, computed by column over distinct keys."""

from __future__ import annotations

import polars as pl

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
_FEW = 64  # keys: a step by column takes as long as a loop over about as many


def assign_partition(keys: pl.Series, partition_count: int) -> pl.Series:
    """The partition of each of `keys` (Binary), an Int32: murmur2 of its bytes; null for no key.

    The rule is that of `org.apache.kafka.common.utils.Utils.murmur2` and the default partitioner of Java's producer.
    """
    frame = pl.DataFrame({"key": keys})
    distinct = frame.unique().drop_nulls().with_columns(size=pl.col("key").bin.size())
    # By length, because then every key has the same words, each a column.
    groups = distinct.partition_by("size")
    hashed = pl.concat(map(hash_keys, groups)) if groups else distinct.select("key", hash=pl.lit(0, pl.UInt64))
    partition = ((pl.col("hash") & _POSITIVE) % partition_count).cast(pl.Int32).alias("partition")
    return frame.join(hashed.select("key", partition), on="key", how="left", maintain_order="left")["partition"]


def hash_keys(keys: pl.DataFrame, few: int = _FEW) -> pl.DataFrame:
    """`key` and `hash`, its murmur2 (UInt64, below 2**32); all keys have the same `size`."""
    if keys.height < few:
        from kafka.partitioner.default import murmur2

        return keys.select("key", hash=pl.Series(map(murmur2, keys["key"]), dtype=pl.UInt64))
    size = int(keys["size"][0])
    padded = keys.select(pl.col("key") + pl.lit(b"\0" * (-size % 4)))["key"]
    # A column at a time: in one chain of expressions every step would compute all that comes before it twice.
    found = pl.repeat(_SEED ^ size, keys.height, dtype=pl.UInt64, eager=True)
    for place in range(0, size - size % 4, 4):
        word = _times(_read_word(padded, place))
        found = _times(found) ^ _times(word ^ word // (1 << 24))
    if size % 4:
        found = _times(found ^ _read_word(padded, size - size % 4))
    found = _times(found ^ found // (1 << 13))
    return keys.select("key", hash=found ^ found // (1 << 15))


def _read_word(keys: pl.Series, place: int) -> pl.Series:
    return keys.bin.slice(place, 4).bin.reinterpret(dtype=pl.UInt32, endianness="little").cast(pl.UInt64)


def _times(number: pl.Series) -> pl.Series:
    return (number * _FACTOR) & _MASK
