"""What the privacy filter promises: of a sample day over New Year, a real log, and a pipeline with all its files."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode
from m2cli.lake.scan import scan_lake
from m2cli.privacy.fields import FIELDS
from m2cli.privacy.ring import make_salt
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.audit.lake import audit_lake
from m2cli.runs.sessionize import SessionizeRule, sessionize
from tests.cli.command import AS_ANYBODY, can_run, run_m2
from tests.pipelines_runs.shop import Shop, line
from tests.privacy.lakes import NOW, RULE, group_sizes, shapes
from tests.privacy.test_expire import make_shop
from tests.runs.rebuild.rebuilding import event_row

if TYPE_CHECKING:
    import subprocess

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@pytest.mark.parametrize(
    "event_count",
    [20_000, pytest.param(7_500_000, marks=pytest.mark.soak)],
    ids=["250 visitors", "100,000 visitors"],
)
def test_a_sample_day_over_new_year(event_count: int, ring: Path, tmp_path: Path) -> None:
    sampled = run_m2(
        *("sample", "shop", "--events", str(event_count), "--start", "2025-12-31", "--days", "1"), folder=tmp_path
    )
    assert sampled.returncode == ExitCode.OK, sampled.stderr
    lake, output = tmp_path / "lake", tmp_path / "anonymous"
    sessionize([str(tmp_path / "shop" / "events")], lake, SessionizeRule(), now=NOW)
    anonymize_lake(lake, output, RULE, FolderSalts(folder=ring))
    assert group_sizes(output) == group_sizes(lake)
    assert shapes(output) == shapes(lake)
    years = scan_lake(output).visits.select(pl.col("start_time").dt.year().unique()).collect()
    assert sorted(years.to_series()) == [2025, 2026]
    checks = list(audit_lake(output, lake, salts=FolderSalts(folder=ring)))
    assert [check for check in checks if check.is_well is False] == []


def test_a_real_log(tmp_path: Path) -> None:
    log = SHARED_DATA / "apache-combined-10k" / "apache_logs"
    if not log.is_file():
        pytest.skip(f"the material from outside is not here: {SHARED_DATA}")
    make_salt(tmp_path / "salts", 2015)
    salts = FolderSalts(folder=tmp_path / "salts")
    lake, output = tmp_path / "lake", tmp_path / "anonymous"
    sessionize([str(log)], lake, SessionizeRule(), now=NOW)
    anonymize_lake(lake, output, PrivacyRule(paths=("/", "/blog/tags/{tag}", "/images/**")), salts)
    checks = list(audit_lake(output, lake, salts=salts))
    assert [check for check in checks if check.is_well is False] == []
    before, after = (scan_lake(each).events.collect() for each in (lake, output))
    for name in FIELDS:
        if name in before.columns and name != "continues_visit_id":
            assert after[name].n_unique() == before[name].n_unique()
            assert after[name].null_count() == before[name].null_count()
    assert after["url"].drop_nulls().str.contains("^/$|^/blog/tags/[^/]+$|^/images/[*]{2}$").all()


def test_in_no_file_of_a_pipeline_is_its_salt_and_in_none_of_the_anonymous_side_an_identifier(tmp_path: Path) -> None:
    """Logs, metrics, ledger, snapshot, Parquet metadata, and all that is printed."""
    year = datetime.now(UTC).year
    salts = ("--salts", "salts")
    printed = [run_m2("salt", "new", str(year), *salts, folder=tmp_path)]
    key = (tmp_path / "salts" / f"{year}.salt").read_bytes().strip()
    (tmp_path / "logs").mkdir()
    times = [datetime.now(UTC).replace(hour=0, minute=minute) for minute in range(20)]
    lines = [
        f'198.51.100.{n} - customer-{n:05d} [{time:%d/%b/%Y:%H:%M:%S %z}] "GET /?q=secret-search-{n} HTTP/1.1" 200 7 '
        f'"https://mail.example/inbox/anna-{n}" "{AGENT}"\n'
        for n, time in enumerate(times)
    ]
    (tmp_path / "logs" / "access.log").write_text("".join(lines))
    (tmp_path / "shop.toml").write_text(
        '[pipeline]\nname = "shop"\nlake = "lake"\nlog = "out/shop.log"\njson_log = "out/shop.ndjson"\n'
        'metrics = "out/shop.prom"\n[[source]]\ntype = "access_log"\npaths = "logs/access.log"\n'
        '[anonymize]\nlake = "anonymous"\nsalts = "salts"\n'
    )
    (tmp_path / "out").mkdir()
    printed += [
        run_m2("run", "shop.toml", "--flush", "--verbose", folder=tmp_path),
        run_m2("check", "shop.toml", "--deep", folder=tmp_path),
        run_m2("status", "shop.toml", folder=tmp_path),
        run_m2("anonymize", "--lake", "lake", "-o", "more", "--verbose", *salts, folder=tmp_path),
        run_m2("anonymize", "logs/access.log", "-o", "-", "--verbose", *salts, folder=tmp_path),
        run_m2("audit", "--lake", "anonymous", "--against", "lake", "--verbose", *salts, folder=tmp_path),
        run_m2("salt", "list", *salts, folder=tmp_path),
    ]
    assert [done.returncode for done in printed] == [ExitCode.OK] * len(printed), printed
    assert all(key not in done.stdout + done.stderr for done in printed)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "salts"]
    assert len(files) > 15
    assert all(key not in path.read_bytes() for path in files)
    personal = [f"198.51.100.{n}".encode() for n in range(10, 20)] + [b"customer-000", b"secret-search", b"anna-"]
    open_to_all = [path for path in files if path.parts[len(tmp_path.parts)] in {"anonymous", "more", "out"}]
    assert open_to_all
    for path in open_to_all:
        content = path.read_bytes()
        assert not any(text in content for text in personal), path
    assert not any(text in printed[5].stdout for text in personal)  # what was piped


def test_late_events_duplicates_rejects_and_what_is_open_are_for_their_owner_alone(tmp_path: Path) -> None:
    """And who may read the rest of the lake asks it as before."""
    before = os.umask(0o022)
    try:
        shop = make_shop(tmp_path, batch_count=3)
    finally:
        os.umask(before)
    for name in ("late", "duplicates", "rejects", "_m2/carried"):
        assert (shop.lake / name).stat().st_mode & 0o777 == 0o700, name
    for path in (shop.lake / "_m2" / "files").iterdir():
        is_private = path.name.split(".")[1] in {"late", "duplicates", "rejects"}
        assert path.stat().st_mode & 0o777 == (0o600 if is_private else 0o644), path.name
    if os.geteuid() or not can_run(AS_ANYBODY, tmp_path):
        pytest.skip("`setpriv` is not here, or not allowed to do this")
    for path in [*shop.lake.rglob("*"), shop.lake]:
        os.chown(path, 12345, 12345)

    def ask(table: str) -> subprocess.CompletedProcess[bytes]:
        return run_m2("query", f"SELECT count(*) FROM {table}", "--lake", "lake", folder=tmp_path, prefix=AS_ANYBODY)

    assert ask("visits").returncode == ExitCode.OK
    refused = ask("rejects")
    assert refused.returncode != ExitCode.OK
    assert b"no right to read `rejects`" in refused.stderr


def test_own_patterns_of_a_pipeline_are_in_no_file_and_counted(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    path = shop.write_toml(log="shop.log", json_log="shop.ndjson", metrics="shop.prom")
    path.write_text(path.read_text() + "[redaction.patterns]\nloyalty = 'LC-[0-9]{8}$|LC-[0-9]{8}'\n")
    shop.log(
        line(shop.now, 1, "/a?token=tulip&q=LC-12345678"), line(shop.now, 1, "/b?q=%4cC-12345678"), "LC-87654321\n"
    )
    shop.drop_events("1", [event_row(shop.now, 2, "1", entity_type="search term", entity_id="my LC-12345678")])
    printed = [
        run_m2("run", "shop.toml", "--flush", "--verbose", folder=tmp_path),
        run_m2("status", "shop.toml", folder=tmp_path),
        run_m2("status", "shop.toml", "--format", "json", folder=tmp_path),
    ]
    assert [done.returncode for done in printed] == [ExitCode.OK] * 3, printed
    assert b"redacted    5: loyalty 4, token 1" in printed[0].stderr
    assert b"redacted    5 secrets; in shop-" in printed[1].stdout
    assert 'm2_redacted_total{pipeline="shop"} 5' in (tmp_path / "shop.prom").read_text()
    assert "redacted 5" in (tmp_path / "shop.log").read_text()
    texts = [text for done in printed for text in (done.stdout, done.stderr)]
    own = [tmp_path / "logs", tmp_path / "events", path]
    texts += [each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and not {each, each.parent} & {*own}]
    texts += [repr(shop.read(table).rows()).encode() for table in ("events", "rejects")]
    assert b"my [redacted]" in texts[-2]
    assert b"[redacted]" in texts[-1]
    assert not any(secret in text for text in texts for secret in (b"LC-12345678", b"LC-87654321", b"tulip", b"%4cC"))


def test_a_bad_pattern_of_a_pipeline_is_told_of_with_its_line(tmp_path: Path) -> None:
    path = Shop(tmp_path).write_toml()
    path.write_text(path.read_text() + "[redaction.patterns]\nloyalty = 'LC-[0-9]{8}'\ncare = '[0-9'\n")
    done = run_m2("run", "shop.toml", folder=tmp_path)
    line_number = len(path.read_text().splitlines())
    said = f"shop.toml:{line_number}: `care` is no regular expression: unclosed character class"
    assert (done.returncode, said in done.stderr.decode()) == (ExitCode.USAGE, True), done.stderr


def test_one_shot_verbs_take_own_patterns(ring: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(NOW, 1, "/a?q=LC-12345678&voucher=tulip&page=LC-1"))
    own = ("--redact", "loyalty=LC-[0-9]{8}", "--redact", "voucher")
    ingested = run_m2("ingest", "access-log", "a.log", "-o", "-", *own, folder=tmp_path)
    run_m2("sessionize", "a.log", "-o", "lake", *own, folder=tmp_path)
    allowed = ("--allow", "path=/a", "--allow", "parameter=q", "--allow", "parameter=page", "--salts", str(ring))
    piped = run_m2("anonymize", "a.log", "-o", "-", *allowed, *own, folder=tmp_path)
    assert scan_lake(tmp_path / "lake").events.collect()["url"][0] == "/a?q=[redacted]&voucher=[redacted]&page=LC-1"
    assert b'"/a?page=LC-1"' in piped.stdout  # what is redacted is no plain word
    assert b"redacted    2: loyalty 1, voucher 1" in ingested.stderr
    for done in (ingested, piped):
        assert b"tulip" not in done.stdout + done.stderr
        assert b"LC-12345678" not in done.stdout + done.stderr
    again = run_m2("anonymize", "--lake", "lake", "-o", "x", *allowed, *own, folder=tmp_path)
    assert (again.returncode, b"was redacted when it was made" in again.stderr) == (ExitCode.USAGE, True)
