"""The partition of a key is the one that Java's producer chooses, whatever the key."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from m2cli.kafka.partitioning import assign_partition, hash_keys


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_java_gives_it(key: bytes, expected: int) -> None:
    keys = pl.DataFrame({"key": [key], "size": [len(key)]})
    for few in (0, 1_000):  # by column, and one by one
        assert hash_keys(keys, few)["hash"].to_list() == [expected % (1 << 32)]


@given(st.integers(0, 40).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1)))
def test_keys_by_column_have_the_hash_of_the_plain_loop(keys: list[bytes]) -> None:
    frame = pl.DataFrame({"key": keys}, schema={"key": pl.Binary}).with_columns(size=pl.col("key").bin.size())
    assert hash_keys(frame, few=0)["hash"].to_list() == [murmur2(key) for key in keys]


@given(st.lists(st.none() | st.binary(max_size=12)), st.integers(1, 60))
def test_every_key_has_its_partition_and_no_key_has_none(keys: list[bytes | None], partition_count: int) -> None:
    expected = [None if key is None else (murmur2(key) & 0x7FFFFFFF) % partition_count for key in keys]
    assert assign_partition(pl.Series(keys, dtype=pl.Binary), partition_count).to_list() == expected
