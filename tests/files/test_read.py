"""Files to events: the columns, the map, the defaults, the rejects, and that every row is counted once."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from m2cli.errors import ExitCode, UnknownNameError, UnreadableSourceError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA, REJECT_SCHEMA, TEXTS, TIME
from m2cli.files.read import FileRule, find_files, read_event_files
from tests.files.conftest import PLANNED, adds_up, read_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from m2cli.events import Intake
    from tests.files.conftest import ReadBytes

OCTOBER = datetime(2019, 10, 1, tzinfo=UTC)
MAP = FileRule(mapping={"event_time": "ts", "visitor_id": "user", "event_type": "action"})
FULL = pl.DataFrame(
    {
        name: pl.Series(name, values, dtype=dtype)
        for (name, dtype), values in zip(
            LAKE_EVENT_SCHEMA.items(),
            [
                ["e1", "", None],
                [OCTOBER, OCTOBER + timedelta(microseconds=1), datetime(1969, 1, 1, tzinfo=UTC)],
                ["page", "click", 'odd "type", with comma'],
                ["s", None, "line\nend"],
                ["é☃", "c", None],
                ["192.0.2.1", "2001:db8::1", None],
                ["Mozilla/5.0 (X11)", '"', None],
                ["GET", None, "\t"],
                ["/a?b=c", "/", None],
                [200, None, -1],
                [2**53 + 1, 0, None],
                [None, "https://example.org/", " blanks "],
                ["product", None, None],
                ["p1", None, None],
                [None, "e1", None],
                ["add_to_cart", None, None],
                ["search", None, None],
                [1, 2147483647, None],
                [3, None, None],
                [Decimal("19.9900"), Decimal("-0.0001"), Decimal("99999999999999.9999")],
                ["EUR", "USD", None],
                [{"a": "b", 'k"': "q\\"}, {}, None],
                ["shop/0", "shop/0", "shop/1"],
                ["p", "p", "q"],
                [0, 1, 2],
                [OCTOBER, OCTOBER, OCTOBER],
                ["v1", None, "v2"],
                ["old", "old", None],
                ["NL", None, None],
                [True, False, None],
                ["Firefox", None, None],
                ["desktop", None, None],
            ],
            strict=True,
        )
    }
)


def write_ndjson(frame: pl.DataFrame, path: Path) -> None:
    frame.write_ndjson(path)


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    maps = [None if each is None else json.dumps(each) for each in frame["attributes"]]
    frame.with_columns(pl.Series("attributes", maps, dtype=pl.String)).write_csv(path)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)


@pytest.mark.parametrize("write", [write_parquet, write_ndjson, write_csv])
@pytest.mark.parametrize("block_bytes", [64 << 20, 400], ids=["one block", "many"])
def test_a_full_event_written_and_read_is_the_same(
    tmp_path: Path, write: Callable[[pl.DataFrame, Path], None], block_bytes: int
) -> None:
    write(FULL, tmp_path / "events.any")
    intake = read_all(tmp_path / "events.any", FileRule(block_bytes=block_bytes, parquet_block_bytes=5 * block_bytes))
    assert not intake.rejects.height
    expected = FULL.drop("visit_id")
    assert_frame_equal(intake.events.select(expected.columns), expected)


def test_a_block_cannot_change_what_a_row_becomes(tmp_path: Path) -> None:
    head = b'event_time,note,amount\n1,"a\nb",1\n2,x"y,2.5\n\n3,"un"x,3\n'
    rows = head + b'4,"""",\n5,"last"\n6,ok,9\n7,"open,1\n8,z,2\n'
    (tmp_path / "a.csv").write_bytes(rows)
    whole = read_all(tmp_path / "a.csv")
    assert (whole.events.height, whole.rejects.height, whole.ignored_count) == (5, 3, 1)
    for size in (1, 7, 30, 31, 32, 60):
        pieces = read_all(tmp_path / "a.csv", FileRule(block_bytes=size))
        if size >= 30:  # a quoted field may not be longer than a block
            assert_frame_equal(pieces.events, whole.events, check_column_order=False)
            assert_frame_equal(pieces.rejects, whole.rejects)
        assert adds_up(pieces)


def test_huge_parquet_is_read_in_slices_with_the_same_positions(tmp_path: Path) -> None:
    frame = pl.DataFrame({"event_time": pl.int_range(1000, eager=True), "note": ["x"] * 1000})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=100)
    files = find_files([tmp_path / "a.parquet"])
    rule = FileRule(parquet_block_bytes=files[0].size // 3)
    pieces = list(read_event_files(files, rule, arrival_time=PLANNED))
    assert len(pieces) > 2
    whole = pl.concat([piece.events for piece in pieces])
    assert whole["position_in_source"].to_list() == list(range(1000))
    assert_frame_equal(whole, read_all(tmp_path / "a.parquet").events)


def test_mapped_columns_are_event_columns_and_the_rest_attributes(read_bytes: ReadBytes) -> None:
    events = read_bytes("clicks.csv", b"ts,user,action,colour,size\n2019-10-01 00:00:00 UTC,u1,buy,red,\n", MAP).events
    row = events.row(0, named=True)
    assert row["event_time"] == OCTOBER
    assert (row["visitor_id"], row["event_type"], row["attributes"]) == ("u1", "buy", {"colour": "red"})
    assert {name: events.schema[name] for name in events.columns} == {
        name: LAKE_EVENT_SCHEMA[name] for name in LAKE_EVENT_SCHEMA if name in events.columns
    }
    assert events.columns == [name for name in LAKE_EVENT_SCHEMA if name in events.columns]


def test_one_input_column_may_serve_twice_and_keeps_its_own_meaning(read_bytes: ReadBytes) -> None:
    rule = FileRule(mapping={"visitor_id": "session_id", "entity_id": "session_id"})
    row = read_bytes("a.csv", b"event_time,session_id\n1,s\n", rule).events.row(0, named=True)
    assert (row["visitor_id"], row["entity_id"], row["session_id"]) == ("s", "s", "s")
    assert "attributes" not in row


def test_a_column_that_another_is_mapped_over_is_an_attribute(read_bytes: ReadBytes) -> None:
    rule = FileRule(mapping={"event_time": "ts"})
    row = read_bytes("a.csv", b"event_time,ts\nyesterday,1\n", rule).events.row(0, named=True)
    assert row["event_time"] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert row["attributes"] == {"event_time": "yesterday"}


def test_a_visit_id_of_the_input_goes_nowhere(read_frame: Callable[..., Intake]) -> None:
    events = read_frame(pl.DataFrame({"event_time": [1], "visit_id": ["v"]})).events
    assert "visit_id" not in events.columns
    assert "attributes" not in events.columns


def test_what_is_not_said_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"event_time\n1\n2\n")
    os.utime(path, (OCTOBER.timestamp(), OCTOBER.timestamp()))
    events = read_all(path).events
    assert events.rows(named=True)[1] == {
        "event_time": datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
        "event_type": "event",
        "source": str(path),
        "position_in_source": 1,
        "arrival_time": OCTOBER,
    }


def test_arrival_is_the_plan_s_time_where_the_file_is_newer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"event_time\n1\n")
    assert read_all(tmp_path / "a.csv", arrival_time=OCTOBER).events["arrival_time"].item() == OCTOBER


def test_what_only_some_rows_say_is_filled_in_for_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"event_time,event_type,source,part_id,position_in_source,arrival_time\n1,page,s,p,7,5\n2,,,,,\n")
    os.utime(path, (OCTOBER.timestamp(), OCTOBER.timestamp()))
    events = read_all(path).events
    assert events["event_type"].to_list() == ["page", "event"]
    assert events["source"].to_list() == ["s", str(path)]
    assert events["part_id"].to_list() == ["p", None]
    assert events["position_in_source"].to_list() == [7, 1]
    assert events["arrival_time"].to_list() == [datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), OCTOBER]


def test_files_that_share_a_source_have_each_their_part(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(b"event_time,source\n1,web\n")
    pieces = read_event_files(find_files([tmp_path]), FileRule(), arrival_time=PLANNED)
    places = pl.concat([piece.events for piece in pieces]).select("source", "part_id", "position_in_source")
    assert not places.is_duplicated().any()


def test_a_lake_s_folder_of_events_is_read_without_its_date(tmp_path: Path) -> None:
    day = tmp_path / "events" / "date=2019-10-01"
    day.mkdir(parents=True)
    FULL.write_parquet(day / "part.parquet")
    assert_frame_equal(read_all(tmp_path).events.select(FULL.drop("visit_id").columns), FULL.drop("visit_id"))


REASONS = {
    "no time": ('{"event_time":"soon"}', "event_time is not a time"),
    "a null time": ('{"event_time":null}', "event_time is missing"),
    "a blank time": ('{"event_time":" "}', "event_time is missing"),
    "a time of arrival that is none": ('{"event_time":1,"arrival_time":"x"}', "arrival_time is not a time"),
    "a status in words": ('{"event_time":1,"status":"ok"}', "status is not a whole number"),
    "a status too large": ('{"event_time":1,"status":9999999999}', "status is out of range"),
    "an amount in words": ('{"event_time":1,"amount":"much"}', "amount is not a number"),
    "an amount too large": ('{"event_time":1,"amount":1e15}', "amount is out of range"),
    "a flag that is none": ('{"event_time":1,"is_robot":"maybe"}', "is_robot is not true or false"),
    "attributes that are no map": ('{"event_time":1,"attributes":[1]}', "attributes is not a map of texts"),
    "a list": ("[1]", "it is not a JSON object"),
    "a text": ("oops", "it is not a JSON object"),
    "an object cut short": ('{"event_time":1', "it is not a JSON object"),
    "two objects": ('{"event_time":1}{"event_time":2}', "it is not a JSON object"),
}


@pytest.mark.parametrize(("line", "reason"), REASONS.values(), ids=REASONS)
def test_a_line_that_does_not_fit_is_a_reject_with_its_reason_and_place(
    read_bytes: ReadBytes, tmp_path: Path, line: str, reason: str
) -> None:
    intake = read_bytes("a.ndjson", f'{{"event_time":1}}\n\n{line}\n{{"event_time":2}}\n'.encode())
    (reject,) = intake.rejects.rows(named=True)
    path = str(tmp_path / "a.ndjson")
    assert reject["reason"] == reason
    assert (reject["line_number"], reject["position_in_source"], reject["raw"]) == (3, 18, line)
    assert (reject["source"], reject["file"], reject["part_id"]) == (path, path, None)
    assert intake.rejects.schema == REJECT_SCHEMA
    assert intake.events["position_in_source"].to_list() == [0, 3]
    assert intake.ignored_count == 1


CSV_REASONS = {
    "too many fields": (b"1,a,b", "it has more fields than the header"),
    "an empty one too many": (b"1,a,", "it has more fields than the header"),
    "too few": (b"1", "it has fewer fields than the header"),
    "text behind a quoted field": (b'1,"a"b', "there is text behind a quoted field"),
    "a quoted field without an end": (b'1,"a', "a quoted field is not closed"),
    "quoted separators too many": (b'1,"a,b",c', "it has more fields than the header"),
}


@pytest.mark.parametrize(("line", "reason"), CSV_REASONS.values(), ids=CSV_REASONS)
def test_a_record_that_is_none_is_a_reject_and_spoils_no_other(read_bytes: ReadBytes, line: bytes, reason: str) -> None:
    intake = read_bytes("a.csv", b'event_time,url\n1,"x\ny"\n' + line + b'\n2,/b\n3,"/c"\n')
    (reject,) = intake.rejects.rows(named=True)
    assert (reject["reason"], reject["raw"]) == (reason, line.decode())
    assert (reject["line_number"], reject["position_in_source"]) == (4, 23)
    assert intake.events["url"].to_list() == ["x\ny", "/b", "/c"]


SECRET_HEADER = b"event_time,visitor_id,url,password,note\n"
SECRET_RECORDS = {
    "a bad value": (b"bad,a,/,SECRET,x", "bad,a,/,[redacted],x"),
    "a quoted secret": (b'bad,"a,b",/,"SEC,RET",x', 'bad,"a,b",/,[redacted],x'),
    "no secret": (b"bad,a,/,,x", "bad,a,/,,x"),
    "too many fields": (b"2019-10-01,a,/,SECRET,SECRET,x", "2019-10-01,a,/,[redacted]"),
    "too many before the secret": (b"2019-10-01,a,b,/,SECRET,x", "2019-10-01,a,b,[redacted]"),
    "the end lacks": (b"2019-10-01,a,/,SECRET", "2019-10-01,a,[redacted]"),
    "the beginning lacks": (b"/,SECRET,x", "/,[redacted]"),
    "all but the secret lacks": (b"SECRET", "[redacted]"),
    "separators in quotes, the beginning lacks": (b'SECRET,"x,y"', "[redacted]"),
    "text behind a quote": (b'2019-10-01,a,/,"x"y,SECRET', "2019-10-01,a,[redacted]"),
    "an open quote": (b'2019-10-01,"a,/,SECRET', "[redacted]"),
    "a secret in JSON": (
        b'bad,a,/,,"{""token"": ""SECRET"", ""n"": 1}"',
        'bad,a,/,,"{""token"": ""[redacted]"", ""n"": 1}"',
    ),
}


@pytest.mark.parametrize(("line", "raw"), SECRET_RECORDS.values(), ids=SECRET_RECORDS)
def test_what_the_header_calls_a_secret_is_not_in_the_raw_of_a_reject(
    read_bytes: ReadBytes, line: bytes, raw: str
) -> None:
    rejects = read_bytes("a.csv", SECRET_HEADER + line + b"\n").rejects
    assert rejects["raw"].to_list() == [raw]


def test_secrets_in_json_are_found_under_any_header(read_bytes: ReadBytes) -> None:
    rejects = read_bytes("a.csv", b'event_time,note\nbad,"{""token"": ""SECRET""}"\n').rejects
    assert rejects["raw"].to_list() == ['bad,"{""token"": ""[redacted]""}"']


def test_secrets_are_blanked_between_tabs(read_bytes: ReadBytes) -> None:
    rejects = read_bytes("a.tsv", b"event_time\tpin\turl\nbad\tSECRET\t/\n").rejects
    assert rejects["raw"].to_list() == ["bad\\x09[redacted]\\x09/"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["a", "SECRET", '"SECRET"', '"', ",", '"x,y"', "\n"]), max_size=12).map("".join))
def test_a_secret_in_front_is_never_left(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_text("password,event_time\n" + body)
    assert read_all(path).rejects["raw"].str.contains(r"^(?:\[redacted\](?:,|$)|,)").all()


CSV_FIELDS = {
    "plain": (b"a", "a"),
    "nothing is null": (b"", None),
    "quoted nothing is a text": (b'""', ""),
    "blanks are kept": (b" a ", " a "),
    "a doubled quote": (b'"a""b"', 'a"b'),
    "a quote inside": (b'5" nail', '5" nail'),
    "two quotes inside": (b'a"b"c', 'a"b"c'),
    "a separator": (b'"a,b"', "a,b"),
    "line ends": (b'"a\r\nb\n"', "a\nb\n"),
    "a carriage return alone": (b"a\rb", "a\rb"),
    "bytes that are no UTF-8": (b"caf\xe9", "caf\\xe9"),
    "NUL": (b"a\x00b", "a\x00b"),
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["line feed", "both", "no end"])
@pytest.mark.parametrize(("field", "value"), CSV_FIELDS.values(), ids=CSV_FIELDS)
def test_a_field_is(read_bytes: ReadBytes, field: bytes, value: str | None, end: bytes) -> None:
    intake = read_bytes("a.csv", b"url,event_time,ip\r\n" + field + b",1," + field + end)
    assert intake.events.select("url", "ip").rows() == [(value, value)]


@pytest.mark.parametrize("separator", ["\t", ";", ","], ids=["tab", "semicolon", "comma"])
def test_the_header_tells_the_separator(read_bytes: ReadBytes, separator: str) -> None:
    data = "event_time,url,ip\n1,a,\n".replace(",", separator).encode()
    assert read_bytes("a.csv", b"\xef\xbb\xbf\n" + data).events.select("url", "ip").rows() == [("a", None)]


def test_names_that_a_header_leaves_empty_are_numbered(read_bytes: ReadBytes) -> None:
    events = read_bytes("a.csv", b",event_time\n7,1\n").events
    assert events["attributes"].to_list() == [{"column_1": "7"}]


def test_a_blank_line_of_a_single_column_is_ignored_and_quoted_nothing_a_row(read_bytes: ReadBytes) -> None:
    intake = read_bytes("a.csv", b'event_time\n"1"\n\n""\n2\n')
    assert (intake.events.height, intake.ignored_count) == (2, 1)
    assert intake.rejects["reason"].to_list() == ["event_time is missing"]


def test_hundreds_of_quoted_columns_are_read(read_bytes: ReadBytes) -> None:
    names = ["event_time", *(f"c{number}" for number in range(400))]
    lines = [",".join(names), ",".join(['"1"'] * 401), ",".join(['"1"'] * 400)]
    intake = read_bytes("a.csv", "\n".join(lines).encode())
    assert len(intake.events["attributes"].to_list()[0]) == 400
    assert intake.rejects["reason"].to_list() == ["it has fewer fields than the header"]


def test_values_inside_objects_keep_their_escapes(read_bytes: ReadBytes) -> None:
    inner = {"quote": '"', "back\\slash": "\\", "escape": "\x1b", "list": [1, {"a": None}]}
    line = json.dumps({"event_time": 1, "x": inner, "y": "{plain", "attributes": {"k": 1.5}}).encode()
    (attributes,) = read_bytes("a.ndjson", line).events["attributes"].to_list()
    assert json.loads(attributes["x"]) == inner
    assert (attributes["y"], attributes["k"]) == ("{plain", "1.5")


def test_attributes_of_several_shapes_may_stand_in_one_file(read_bytes: ReadBytes) -> None:
    shapes = ({"a": 'q"\\'}, [{"key": "k", "value": "v"}], '{"b":"c"}', None)
    lines = "\n".join(json.dumps({"event_time": 1, "attributes": shape}) for shape in shapes)
    events = read_bytes("a.ndjson", lines.encode()).events
    assert events["attributes"].to_list() == [{"a": 'q"\\'}, {"k": "v"}, {"b": "c"}, None]


def test_amounts_in_json_are_floats_and_rounded(read_bytes: ReadBytes) -> None:
    intake = read_bytes("a.ndjson", b'{"event_time":1,"amount":0.30000000000000004}\n{"event_time":1,"amount":"1.5"}\n')
    assert intake.events["amount"].to_list() == [Decimal("0.3"), Decimal("1.5")]


def test_a_row_of_parquet_that_does_not_fit_is_a_reject_with_its_json(
    read_frame: Callable[..., Intake],
) -> None:
    frame = pl.DataFrame({"event_time": [1, None, 3], "status": ["200", "x", "y\x1b"], "b": [b"", b"", b"\xff"]})
    rejects = read_frame(frame).rejects
    assert rejects.select("line_number", "position_in_source", "reason", "raw").rows() == [
        (2, 1, "event_time is missing", '{"event_time":null,"status":"x","b":""}'),
        (3, 2, "status is not a whole number", '{"event_time":"3","status":"y\\u001b","b":"\\\\xff"}'),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lambda data: pa.compress(data, codec="zstd", asbytes=True)]
)
def test_packed_files_of_two_members_are_one_file(
    read_bytes: ReadBytes, name: str, pack: Callable[[bytes], bytes]
) -> None:
    parts = (b"event_time\n1\n", b"2\n") if name == "a.csv" else (b'{"event_time":1}\n', b'{"event_time":2}\n')
    assert read_bytes(name, b"".join(pack(part) for part in parts)).events.height == 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda d: pa.compress(d, codec="zstd", asbytes=True)])
@pytest.mark.parametrize("block_bytes", [50_000, 1 << 20])
def test_a_packed_file_cut_short_is_unreadable(
    tmp_path: Path, pack: Callable[[bytes], bytes], block_bytes: int
) -> None:
    packed = pack(b"event_time\n" + b"".join(b"%d\n" % (i * 7919 % 100003) for i in range(60000)))
    (tmp_path / "a.csv").write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(UnreadableSourceError, match=r"is cut short or corrupt$"):
        read_all(tmp_path / "a.csv", FileRule(block_bytes=block_bytes))


def test_a_parquet_file_without_a_footer_inside_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\x00" * 40 + b"PAR1")
    with pytest.raises(UnreadableSourceError, match=r"it is cut short, corrupt or not Parquet$"):
        read_all(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.ndjson", "a"])
@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\n", b"\xef\xbb\xbf"], ids=repr)
def test_an_empty_file_has_no_rows(read_bytes: ReadBytes, name: str, data: bytes) -> None:
    intake = read_bytes(name, data)
    assert not intake.events.height
    assert not intake.rejects.height


def test_a_header_alone_has_no_rows(read_bytes: ReadBytes) -> None:
    assert read_bytes("a.csv", b"event_time,url").read_count == 0


def test_a_parquet_file_of_no_rows_has_typed_events_of_no_rows(read_frame: Callable[..., Intake]) -> None:
    events = read_frame(pl.DataFrame(schema={"event_time": pl.Int64, "x": pl.String})).events
    assert events.height == 0
    assert events.schema["event_time"] == TIME


USAGE = {
    "no time at all": (
        {},
        "`{}` has no column `event_time`; its columns are `ts`, `who` (pass `--map event_time=COLUMN`)",
    ),
    "a near one": ({"event_time": "tss"}, "`{}` has no column `tss`; did you mean `ts`?"),
    "another one": ({"event_time": "ts", "url": "whom"}, "no input has a column `whom`; did you mean `who`?"),
    "a far one": (
        {"event_time": "ts", "url": "zzz"},
        "no input has a column `zzz`; its columns are `ts`, `who`",
    ),
}


@pytest.mark.parametrize("data", [b"ts,who\n1,a\n", b'{"ts":1,"who":"a"}\n'], ids=["csv", "ndjson"])
@pytest.mark.parametrize(("mapping", "message"), USAGE.values(), ids=USAGE)
def test_a_column_that_is_not_there_is_said_before_anything_is_read(
    tmp_path: Path, mapping: dict[str, str], message: str, data: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_event_files(find_files([path]), FileRule(mapping=mapping), arrival_time=PLANNED)
    assert str(caught.value) == message.format(path)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_time_under_a_like_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"eventTime\n1\n")
    with pytest.raises(UsageError, match=r"did you mean `eventTime`\? \(pass `--map event_time=eventTime`\)$"):
        read_all(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["event_id", "events", "event_type"])
def test_a_column_that_is_no_time_is_not_offered_as_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"{name}\n1\n")
    with pytest.raises(UsageError, match=rf"; its columns are `{name}` \(pass `--map event_time=COLUMN`\)$"):
        read_all(tmp_path / "a.csv")


def test_a_column_of_times_is_offered_whatever_its_name(tmp_path: Path) -> None:
    frame = pl.DataFrame({"event_id": ["a"], "event_tm": [PLANNED]})
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"did you mean `event_tm`\?"):
        read_all(tmp_path / "a.parquet")


LINES_FOR_HEADERS = {
    "a secret": (b'"GET /?password=hunter2,5 HTTP/1.1",200\n', "`GET /?password=[redacted]"),
    "a secret the separator cuts": (b"GET /?password=hunter2,hunter3,200\n", "`GET /?password=[redacted]`, ..."),
    "a long line": (b"x" * 300 + b",y\n", f"`{'x' * 60}...`, `y`"),
}


@pytest.mark.parametrize(("line", "listed"), LINES_FOR_HEADERS.values(), ids=LINES_FOR_HEADERS)
def test_a_line_that_stands_for_a_header_is_not_printed_whole(tmp_path: Path, line: bytes, listed: str) -> None:
    (tmp_path / "a.csv").write_bytes(line)
    with pytest.raises(UsageError) as caught:
        read_all(tmp_path / "a.csv")
    assert f"its columns are {listed}" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_name_that_stands_twice_is_not_printed_with_its_secret(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"/?pin=hunter2,/?pin=hunter2\n")
    with pytest.raises(UnreadableSourceError, match=r"its header names `/\?pin=\[redacted\]` twice$"):
        read_all(tmp_path / "a.csv")


def test_a_mapped_column_need_not_be_in_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"event_time,price\n1,2\n")
    (tmp_path / "b.csv").write_bytes(b"event_time\n1\n")
    rule = FileRule(mapping={"amount": "price"})
    pieces = list(read_event_files(find_files([tmp_path]), rule, arrival_time=PLANNED))
    assert [piece.events.columns.count("amount") for piece in pieces] == [1, 0]


def test_a_map_to_a_name_that_no_event_has_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown event column `evnt_time`; did you mean `event_time`\?$"):
        FileRule(mapping={"evnt_time": "ts"})
    with pytest.raises(UnknownNameError, match="unknown event column `visit_id`"):
        FileRule(mapping={"visit_id": "v"})


def test_a_time_zone_that_is_none_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"^unknown time zone `Europe/Amsterdm`; did you mean `Europe/Amsterdam`\?$"):
        FileRule(time_zone="Europe/Amsterdm")
    with pytest.raises(UsageError, match=r"^unknown time zone `Mars`; write it as `Europe/Amsterdam`$"):
        FileRule(time_zone="Mars")


def test_a_block_of_nothing_is_no_block() -> None:
    with pytest.raises(UsageError, match="at least 1 byte"):
        FileRule(block_bytes=0)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"event_time,url,url\n", "its header names `url` twice"),
        (b'event_time,"a"b\n', "its header is no CSV: there is text behind a quoted field"),
        (b'event_time,"a\n', "its header is no CSV: a quoted field is not closed"),
    ],
    ids=["a name twice", "text behind a quote", "an open quote"],
)
def test_a_header_that_is_none_is_unreadable(tmp_path: Path, header: bytes, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(header + b"1,2,3\n")
    with pytest.raises(UnreadableSourceError, match=f"{reason}$"):
        read_all(tmp_path / "a.csv")


PIECES = [
    b"1",
    b"2019-10-01",
    b"x",
    b",",
    b",",
    b'"',
    b'""',
    b"\n",
    b"\n",
    b"\r\n",
    b" ",
    b"\xff",
    b"\x00",
    b"\xc3\xa9",
    b"{",
]
OBJECTS = [
    b'{"event_time":1}',
    b'{"event_time":"x"}',
    b'{"status":1.5,"event_time":2}',
    b'{"a":{"b":"\\ud800"}}',
    b"{}",
    b"[",
    b"null",
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(1, 40))
def test_records_are_events_rejects_or_blank_for_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, size: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_bytes(b"event_time,status,url\n" + body)
    for block_bytes in (size, 1 << 20):
        assert adds_up(read_all(path, FileRule(block_bytes=block_bytes)))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(OBJECTS + PIECES) | st.binary(max_size=5), max_size=12).map(b"\n".join))
def test_lines_are_events_rejects_or_blank_for_any_bytes(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a.ndjson"
    path.write_bytes(b'{"event_time":1}\n' + body)
    whole = read_all(path)
    assert adds_up(whole)
    assert whole.read_count == 1 + body.count(b"\n") + (not body.endswith(b"\n") and bool(body))
    pieces = read_all(path, FileRule(block_bytes=9))
    assert_frame_equal(pieces.events, whole.events, check_column_order=False)
    assert_frame_equal(pieces.rejects, whole.rejects)


TABLES = st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=4), min_size=2, max_size=2), max_size=5)


@settings(max_examples=60)
@given(TABLES)
def test_what_python_writes_as_csv_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("event_time,url,ip\n")
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows([1, *row] for row in table)
    intake = read_all(path)
    assert not intake.rejects.height
    assert intake.events.height == len(table)
    if table:
        written = [tuple(field.replace("\r\n", "\n") for field in row) for row in table]
        assert intake.events.select("url", "ip").rows() == written


@settings(max_examples=60)
@given(TABLES)
def test_what_python_writes_as_json_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.ndjson"
    path.write_text("".join(json.dumps({"event_time": 1, "url": url, "ip": ip}) + "\n" for url, ip in table))
    events = read_all(path).events
    assert [(row["url"], row["ip"]) for row in events.rows(named=True)] == [tuple(row) for row in table]


@settings(max_examples=50)
@given(
    st.sampled_from([pl.Int64, pl.String, pl.Float64, pl.Boolean, pl.Binary, pl.Datetime("ms"), pl.List(pl.Int64)]),
    st.lists(st.tuples(st.none() | st.integers(-5, 2**40), st.none() | st.integers(0, 300)), max_size=6),
)
def test_rows_are_events_or_rejects_for_any_table(
    tmp_path_factory: pytest.TempPathFactory, dtype: pl.DataType, rows: list[tuple[int | None, int | None]]
) -> None:
    times = pl.Series("event_time", [row[0] for row in rows], dtype=pl.Int64)
    values = pl.Series("status", [row[1] for row in rows], dtype=pl.Int64)
    if isinstance(dtype, pl.List):
        values = values.implode().new_from_index(0, len(rows)).alias("status") if rows else values.cast(dtype)
    elif dtype == pl.Binary:
        values = values.cast(pl.String).cast(pl.Binary)
    else:
        values = values.cast(dtype)
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    pl.DataFrame([times, values, values.alias("other")]).write_parquet(path)
    intake = read_all(path)
    assert adds_up(intake)
    assert intake.read_count == len(rows)


def test_attributes_have_their_type(read_bytes: ReadBytes) -> None:
    assert read_bytes("a.csv", b"event_time,x\n1,2\n").events.schema["attributes"] == TEXTS
