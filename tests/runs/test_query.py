"""SQL over a lake: the views and their columns, nothing but reading, errors in DuckDB's words, formats."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import UnknownNameError, UnreadableSourceError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA, MONEY, REJECT_SCHEMA, VISIT_SCHEMA
from m2cli.lake import stage_lake
from m2cli.output.formats import FORMATS, write_frames
from m2cli.runs.query import query_lake
from tests.twins.lake_twin import make_whole

if TYPE_CHECKING:
    from pathlib import Path

MADE = make_whole([(0, 3), (1, 2), (30, 2)])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("it's a query") / "lake"
    kinds = pl.Series(["page", "show", "purchase", "page", "page", "page", "request"])
    events = MADE.events.with_columns(event_type=kinds, amount=pl.lit(Decimal("0.1000"), MONEY))
    with stage_lake(target) as staged:
        staged.write_events(events, MADE.visits)
        staged.write_visits(MADE.visits.with_columns(is_robot=pl.Series([True, False, None])))
        staged.write_late(events.head(1).with_columns(late_reason=pl.lit("late"), late_by=pl.duration(minutes=90)))
        staged.commit()
    return target


def ask(sql: str, lake: Path) -> pl.DataFrame:
    with query_lake(sql, lake) as frames:
        return pl.concat(frames)


def write(sql: str, lake: Path, format_name: str) -> bytes:
    stream = io.BytesIO()
    with query_lake(sql, lake) as frames:
        write_frames(frames, format_name, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("view", "count"),
    [
        ("events", 7),
        ("visits", 3),
        ("human_visits", 2),
        ("pages", 4),
        ("purchases", 1),
        ("late", 1),
        ("duplicates", 0),
        ("rejects", 0),
    ],
)
def test_there_is_the_view(lake: Path, view: str, count: int) -> None:
    assert ask(f"FROM {view}", lake).height == count


@pytest.mark.parametrize("is_empty", [False, True], ids=["a lake", "a lake without files"])
def test_every_view_has_its_whole_schema(lake: Path, tmp_path: Path, is_empty: bool) -> None:
    if is_empty:
        with stage_lake(tmp_path / "lake") as staged:
            staged.commit()
        lake = tmp_path / "lake"
    for view in ("events", "pages", "purchases", "duplicates"):
        assert ask(f"FROM {view}", lake).schema == LAKE_EVENT_SCHEMA
    for view in ("visits", "human_visits"):
        assert ask(f"FROM {view}", lake).schema == VISIT_SCHEMA
    assert ask("FROM rejects", lake).schema == REJECT_SCHEMA
    assert ask("FROM late", lake).columns == [*LAKE_EVENT_SCHEMA, "late_reason", "late_by"]


def test_how_late_an_event_was_is_an_interval(lake: Path) -> None:
    assert ask("SELECT late_by > INTERVAL 1 HOUR AND late_by < INTERVAL 2 HOUR FROM late", lake).item() is True


def test_times_are_in_utc_whatever_the_zone_of_the_machine(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert ask("SELECT hour(min(start_time)) FROM visits", lake).item() == 22
    assert b"2026-03-01T22:00:00Z" in write("SELECT min(start_time) FROM visits", lake, "csv")


def test_money_stays_exact(lake: Path) -> None:
    assert ask("SELECT sum(amount) FROM events", lake).item() == Decimal("0.7000")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        pytest.param("SELEC 1", r'syntax error at or near "SELEC"\nLINE 1: SELEC 1\n +\^+', id="no SQL"),
        pytest.param("SELECT countr FROM visits", '"country"', id="a column that is not there, with the nearest"),
        pytest.param("FROM nothing", "Table with name nothing does not exist", id="a table that is not there"),
        pytest.param("SELECT CAST('a' AS INT)", "Could not convert string 'a'", id="a value that does not fit"),
        pytest.param("SELECT 1; SELECT 2", "one statement is asked for, here are 2", id="two statements"),
        pytest.param("", "one statement is asked for, here are 0", id="nothing"),
        pytest.param("SELECT '\udcff'", "not UTF-8 at character 9", id="text that is not UTF-8"),
        pytest.param("FROM purchase", 'Did you mean "purchases"', id="nearly a view"),
        pytest.param("FROM nope", "views are events, visits", id="a table that is far from any view"),
    ],
)
def test_sql_that_cannot_be_done_is_said_in_duckdbs_words(lake: Path, sql: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask(sql, lake)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("COPY (SELECT 1 AS a) TO '{file}' (USE_TMP_FILE false)", id="a copy onto a file of the lake"),
        pytest.param("EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)", id="a copy explained"),
        pytest.param("EXPLAIN analyse COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)", id="the other spelling"),
        pytest.param("EXPLAIN /* ( */ ANALYZE COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)", id="with a comment"),
        pytest.param("EXPLAIN (/*)*/ FORMAT json, \"analyze\") COPY (SELECT 1) TO '{file}'", id="as an option"),
        pytest.param("COPY (PIVOT visits ON country USING count(*)) TO '{file}' (USE_TMP_FILE false)", id="a pivot"),
        pytest.param("CREATE TABLE t AS PIVOT visits ON country USING count(*)", id="a table of a pivot"),
        pytest.param(
            "WITH p AS (PIVOT visits ON country USING count(*)) COPY p TO '{file}' (USE_TMP_FILE false)",
            id="a pivot, then a copy",
        ),
        pytest.param("PIVOT visits ON country USING count(*); COPY visits TO '{file}'", id="a copy after a pivot"),
        pytest.param("COPY visits TO '{folder}/x.csv'", id="a copy beside the lake"),
        pytest.param("FROM read_text('/etc/hostname')", id="another file"),
        pytest.param("FROM glob('/etc/*')", id="a folder"),
        pytest.param("ATTACH '{folder}/x.db'", id="a database"),
        pytest.param("INSTALL httpfs", id="an extension"),
        pytest.param("SET enable_external_access = true", id="the door itself"),
        pytest.param("CREATE TABLE t AS SELECT 1", id="a table"),
        pytest.param("FROM MADE", id="a variable of this process"),
    ],
)
def test_out_of_reach_is(lake: Path, sql: str) -> None:
    path = next(lake.glob("events/*/*.parquet"))
    before = (path.read_bytes(), sorted(lake.parent.rglob("*")))
    with pytest.raises(UsageError):
        ask(sql.format(file=str(path).replace("'", "''"), folder=str(lake.parent).replace("'", "''")), lake)
    assert (path.read_bytes(), sorted(lake.parent.rglob("*"))) == before


def test_a_query_can_be_explained(lake: Path) -> None:
    assert "READ_PARQUET" in ask("EXPLAIN SELECT country FROM visits", lake)["explain_value"][0]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT 'analyze'",
        "EXPLAIN (FORMAT json) SELECT 'analyze' AS \"analyze\"",
        "EXPLAIN SELECT 1 -- analyze",
    ],
)
def test_a_query_that_speaks_of_analyze_can_be_explained(lake: Path, sql: str) -> None:
    assert ask(sql, lake).height == 1


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT (SELECT is_robot FROM visits) ON is_robot USING count(*)",
        "-- robots\nFROM (PIVOT (SELECT is_robot FROM visits) ON is_robot USING count(*))",
        "WITH p AS (PIVOT (SELECT is_robot FROM visits) ON is_robot USING count(*)) SELECT * FROM p",
    ],
)
def test_what_is_pivoted_is_read(lake: Path, sql: str) -> None:
    assert ask(sql, lake).to_dicts() == [{"false": 1, "true": 1}]


def test_what_else_is_done_with_a_pivot_is_named(lake: Path) -> None:
    with pytest.raises(UsageError, match="`CREATE with a PIVOT` is not allowed"):
        ask("CREATE TABLE t AS PIVOT visits ON is_robot USING count(*)", lake)


def test_a_folder_for_what_does_not_fit_may_have_a_quote_in_its_name(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it's").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "it's"))
    assert ask("SELECT 1", lake).item() == 1


def test_a_lake_of_which_a_file_is_gone_says_so(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as staged:
        staged.write_visits(MADE.visits)
        staged.commit()
    next((tmp_path / "lake").glob("visits/*/*.parquet")).unlink()
    with pytest.raises(UnreadableSourceError, match="gone or damaged"):
        ask("FROM visits", tmp_path / "lake")


EVERY_TYPE = """
    SELECT 1 AS a, 2 AS a, 1.50::DECIMAL(8, 2) AS money, INTERVAL 1 DAY AS i,
    TIMESTAMPTZ '2020-01-01 12:00+02' AS t, [TIMESTAMPTZ '2020-01-01 12:00:00.5+02'] AS times,
    {'x': 1.5::DECIMAL(4, 1)} AS s, MAP {'k': 1} AS m,
    'a\\xFF'::BLOB AS b, [INTERVAL 1 DAY] AS l, sum(1) AS h, TIME '10:00' AS clock, DATE '2020-01-01' AS d,
    true AS bo, NULL AS n, 'x'::ENUM('x') AS e, '1'::BIT AS bits, 'q"u,o' AS q
"""
AS_JSON = {"a": 1, "a_2": 2, "money": "1.50", "i": "1 day", "t": "2020-01-01T10:00:00Z"}
AS_JSON |= {
    "times": ["2020-01-01T10:00:00.500Z"],
    "s": {"x": "1.5"},
    "m": {"k": 1},
    "b": "61ff",
    "l": "[1 day]",
}
AS_JSON |= {
    "h": 1,
    "clock": "10:00:00",
    "d": "2020-01-01",
    "bo": True,
    "n": None,
    "e": "x",
    "bits": "1",
    "q": 'q"u,o',
}


def test_json_has_every_type(lake: Path) -> None:
    assert json.loads(write(EVERY_TYPE, lake, "json")) == [AS_JSON]
    assert json.loads(write(EVERY_TYPE, lake, "ndjson")) == AS_JSON


def test_csv_has_every_type(lake: Path) -> None:
    assert write(EVERY_TYPE, lake, "csv").decode().splitlines() == [
        "a,a_2,money,i,t,times,s,m,b,l,h,clock,d,bo,n,e,bits,q",
        (
            '1,2,1.50,1 day,2020-01-01T10:00:00Z,"[""2020-01-01T10:00:00.500Z""]","{""x"":""1.5""}",'
            '"{""k"":1}",61ff,[1 day],1,10:00:00,2020-01-01,true,,x,1,"q""u,o"'
        ),
    ]


FAR_TIMES = [
    "'infinity'::TIMESTAMP",
    "'-infinity'::DATE",
    "'infinity'::TIMESTAMPTZ",
    "'infinity'::TIMESTAMP_NS",
    "TIMESTAMP_MS '290000-01-01'",
    "TIMESTAMP '290000-01-01'",
    "[DATE 'infinity', NULL]",
    "{'x': [DATE 'infinity']}",
    "MAP {'k': TIMESTAMPTZ 'infinity'}",
    "[DATE 'infinity']::DATE[1]",
]


@pytest.mark.parametrize("format_name", sorted(set(FORMATS) - {"parquet"}))
@pytest.mark.parametrize("time", FAR_TIMES)
def test_a_time_that_no_calendar_has_is_refused_with_a_remedy(lake: Path, time: str, format_name: str) -> None:
    with pytest.raises(UsageError, match=r"`a` has a time .* CAST\(a AS VARCHAR\)"):
        write(f"SELECT {time} AS a", lake, format_name)
    assert b"infinity" in write(f"SELECT CAST('infinity'::DATE AS VARCHAR) AS a, {len(time)}", lake, format_name)


@pytest.mark.parametrize("time", FAR_TIMES)
def test_parquet_has_a_time_that_no_calendar_has(lake: Path, time: str) -> None:
    assert write(f"SELECT {time} AS a", lake, "parquet").startswith(b"PAR1")


def test_seconds_are_duckdbs_text_for_polars_would_make_1969_of_infinity(lake: Path) -> None:
    sql = "SELECT 'infinity'::TIMESTAMP_S AS a, TIMESTAMP_S '2020-01-01' AS b"
    assert json.loads(write(sql, lake, "ndjson")) == {"a": "infinity", "b": "2020-01-01 00:00:00"}


def test_times_far_from_ours_and_none_are_written(lake: Path) -> None:
    sql = "SELECT TIMESTAMP '20000-01-01' AS a, DATE '0001-01-01' AS b, NULL::DATE AS c, [NULL::DATE] AS d"
    assert write(sql, lake, "csv").splitlines()[1] == b"+20000-01-01T00:00:00,0001-01-01,,[null]"


def test_maps_have_texts_as_keys_and_their_values_are_written_as_any_other(lake: Path) -> None:
    sql = (
        "SELECT MAP {1: TIMESTAMPTZ '2020-01-01'} AS a, [MAP {DATE '2020-01-01': 1.50}] AS b, NULL::MAP(INT, INT) AS c"
    )
    written = json.loads(write(sql, lake, "ndjson"))
    assert written == {"a": {"1": "2020-01-01T00:00:00Z"}, "b": [{"2020-01-01": "1.50"}], "c": None}


def test_arrays_are_written_as_lists(lake: Path) -> None:
    sql = "SELECT [TIMESTAMPTZ '2020-01-01', NULL]::TIMESTAMPTZ[2] AS a"
    assert json.loads(write(sql, lake, "ndjson")) == {"a": ["2020-01-01T00:00:00Z", None]}


@pytest.mark.parametrize("code", [0x85, 0x2028, 0x1E], ids=hex)
def test_a_character_that_ends_a_line_elsewhere_is_one_of_json(lake: Path, code: int) -> None:
    assert json.loads(write(f"SELECT chr({code}) AS a", lake, "json")) == [{"a": chr(code)}]


NASTY = "\x1b[2J\x07\x7f\x9b\u202e\U000e0001\r"


@pytest.mark.parametrize("format_name", ["table", "csv", "json", "ndjson"])
def test_nothing_of_the_data_reaches_a_terminal_raw(format_name: str) -> None:
    frame = pl.DataFrame({NASTY: [NASTY, "日本"], "list": [[NASTY], []], "struct": [{NASTY: NASTY}, None]})
    stream = io.BytesIO()
    write_frames([frame, frame], format_name, stream, for_terminal=True)
    text = stream.getvalue().decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert "日本" in text
    if format_name == "ndjson":
        assert json.loads(text.splitlines()[0]) == {NASTY: NASTY, "list": [NASTY], "struct": {NASTY: NASTY}}
    if format_name == "csv":
        assert text.count("\n") == 5
        assert "\\x1b[2J\\x07\\x7f\\x9b\\u202e\\U000e0001\\x0d" in text


@pytest.mark.parametrize("format_name", ["csv", "json", "ndjson"])
def test_what_does_not_go_to_a_terminal_is_as_it_was(format_name: str) -> None:
    stream = io.BytesIO()
    write_frames([pl.DataFrame({"a": ["\u202e"]})], format_name, stream)
    assert "\u202e".encode() in stream.getvalue()


def test_parquet_keeps_types(lake: Path) -> None:
    frame = pl.read_parquet(io.BytesIO(write(EVERY_TYPE, lake, "parquet")))
    assert frame["t"][0] == datetime(2020, 1, 1, 10, 0, tzinfo=UTC)
    assert frame["money"][0] == Decimal("1.50")
    assert pl.read_parquet(io.BytesIO(write("FROM visits", lake, "parquet"))).equals(ask("FROM visits", lake))


def test_a_table_is_aligned_with_numbers_to_the_right_and_nothing_raw(lake: Path) -> None:
    sql = "FROM (VALUES ('日本', 5, chr(27) || '[2J'), ('NL', 1234, NULL)) AS t(country, visits, nasty)"
    assert write(sql, lake, "table").decode().splitlines() == [
        "country  visits  nasty",
        "-------  ------  -------",
        "日本          5  \\x1b[2J",
        "NL         1234",
    ]


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_empty_result_is_written(lake: Path, format_name: str) -> None:
    written = write("SELECT visit_id, start_time FROM visits WHERE false", lake, format_name)
    if format_name == "json":
        assert json.loads(written) == []
    elif format_name == "parquet":
        assert pl.read_parquet(io.BytesIO(written)).columns == ["visit_id", "start_time"]
    elif format_name == "ndjson":
        assert written == b""
    else:
        assert written.split()[0].startswith(b"visit_id")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_result_of_many_rows_comes_in_pieces_and_is_written_whole(lake: Path, format_name: str) -> None:
    sql = "SELECT range AS n FROM range(250_000)"
    with query_lake(sql, lake) as frames:
        assert len(list(frames)) > 2
    written = write(sql, lake, format_name)
    count = pl.read_parquet(io.BytesIO(written)).height if format_name == "parquet" else written.count(b"\n")
    assert count == 250_000 + {"table": 2, "csv": 1, "json": 2}.get(format_name, 0)


def test_an_unknown_format_is_refused_with_the_nearest(lake: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean `json`"):
        write("SELECT 1", lake, "jsno")
