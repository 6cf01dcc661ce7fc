"""Audits: they pass what is well, and fail for whatever is planted."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import ExitCode, UsageError
from m2cli.privacy.forms import write_forms
from m2cli.privacy.ring import destroy_salt
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.audit.guess import Guesses, guess_addresses
from m2cli.runs.audit.inputs import audit_inputs
from m2cli.runs.audit.lake import Check, audit_lake
from m2cli.runs.audit.scan import Bytes, Tokens
from tests.cli.command import AS_ANYBODY, can_run, run_m2
from tests.privacy.lakes import NOW, RULE, SAMPLE, make_lake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "in lower case": str.lower,
    "URL-encoded": lambda text: quote(text, safe=""),
    "URL-encoded in lower case": lambda text: quote(text, safe="").lower(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "MD5": lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    "SHA-1": lambda text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
    "SHA-256": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "SHA-256 as long as a pseudonym": lambda text: hashlib.sha256(text.encode()).hexdigest()[:32],
    "MD5 of lower case": lambda text: hashlib.md5(text.lower().encode(), usedforsecurity=False).hexdigest(),
}
CUSTOMER = "Anna+Jansen~?>@example.com"


@pytest.fixture(autouse=True)
def _few_guesses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing 2^16 addresses takes a second, and most of these tests are of something else."""
    if "brute_force" not in request.node.name and "addresses" not in request.node.name:
        monkeypatch.setattr("m2cli.runs.audit.guess._NETWORKS", 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, salts: FolderSalts) -> Path:
    """A folder with `lake` and `anonymous`."""
    folder = tmp_path_factory.mktemp("pair")
    make_lake(folder / "lake")
    anonymize_lake(folder / "lake", folder / "anonymous", RULE, salts)
    return folder


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.is_well is False}


def test_what_is_well_passes_and_says_what_it_is(pair: Path, salts: FolderSalts) -> None:
    checks = list(audit_lake(pair / "anonymous", pair / "lake", salts=salts))
    assert failed(checks) == set()
    said = {check.name: check.sentence for check in checks}
    assert "until the salts of 2025" in said["is"]
    assert {check.name for check in checks if check.is_well} == {
        "visits",
        "identifiers",
        "groups",
        "causes",
        "brute force",
    }
    assert sum("brute force" in check.name for check in checks) == 3
    assert any(check.name == "re-identifies" for check in checks)


def test_a_destroyed_salt_ends_no_audit(pair: Path, ring: Path, tmp_path: Path) -> None:
    shutil.copytree(ring, tmp_path / "salts")
    destroy_salt(tmp_path / "salts", 2025, NOW)
    checks = list(audit_lake(pair / "anonymous", pair / "lake", salts=FolderSalts(folder=tmp_path / "salts")))
    assert failed(checks) == set()
    said = [check.sentence for check in checks if check.name == "brute force"]
    assert said[1] == f"with the salt of 2025 nobody can try: it was destroyed on {NOW:%Y-%m-%d}"
    assert "with the salt of 2026" in said[2]


@pytest.mark.parametrize("form", FORMS)
def test_an_identifier_planted_in_a_field_that_passes_is_found(form: str, salts: FolderSalts, tmp_path: Path) -> None:
    events = pl.DataFrame(
        {
            "event_id": ["e-000001", "e-000002"],
            "event_time": [NOW.replace(year=2025)] * 2,
            "visitor_id": ["visitor-1", "visitor-1"],
            "customer_id": [CUSTOMER, CUSTOMER],
            "entity_type": ["product", "product"],
            "entity_id": ["P0001", f"sku|{FORMS[form](CUSTOMER)}|5" if "|" not in form else ""],
        }
    )
    events.write_parquet(tmp_path / "events.parquet")
    lake = make_lake(tmp_path / "lake", tmp_path / "events.parquet")
    anonymize_lake(lake, tmp_path / "anonymous", RULE, salts)
    checks = list(audit_lake(tmp_path / "anonymous", lake))
    assert failed(checks) == {"identifiers"}
    assert all(CUSTOMER not in check.sentence for check in checks)


@pytest.mark.parametrize("name", ["_m2/notes", "events/date=2025-12-30/.hidden", "CUSTOMER"])
def test_an_identifier_in_the_bytes_of_any_file_is_found(name: str, pair: Path, tmp_path: Path) -> None:
    anonymous = tmp_path / "anonymous"
    shutil.copytree(pair / "anonymous", anonymous)
    visitor = pl.read_parquet(SAMPLE)["session_id"].drop_nulls()[17]
    planted = anonymous / name.replace("CUSTOMER", visitor)
    planted.write_bytes(b"x" * 13 + (b"" if "CUSTOMER" in name else visitor.encode()) + b"\0")
    assert failed(list(audit_lake(anonymous, pair / "lake"))) == {"identifiers"}


def test_pseudonyms_without_a_salt_are_found_by_brute_force(pair: Path, tmp_path: Path) -> None:
    """What a careless maker does: SHA-256 of field and value."""
    anonymous = tmp_path / "anonymous"
    shutil.copytree(pair / "anonymous", anonymous)
    path = max((anonymous / "_m2" / "files").glob("*events*"), key=lambda path: path.stat().st_size)
    frame = pl.read_parquet(path)
    digests = [hashlib.sha256(f"address:3.2.{n}.135".encode()).hexdigest()[:32] for n in range(frame.height)]
    frame.with_columns(ip=pl.Series(digests)).write_parquet(path)
    found = list(audit_lake(anonymous, pair / "lake", network="3.2.0.0/16"))
    assert "brute force" in failed(found)
    assert "without the salt 256 found" in "".join(check.sentence for check in found)


def test_all_addresses_of_a_network_are_found_back_with_the_salt_and_none_without(salts: FolderSalts) -> None:
    guesses = Guesses.of_network(pl.Series(["192.0.2.1"]), None)
    assert guesses is not None
    pseudonyms = salts.find(2026).digest("address", guesses.addresses)
    assert pseudonyms.n_unique() == 65_536
    assert guess_addresses(guesses, pseudonyms) == 0
    assert salts.find(2026).digest("address", guesses.addresses).is_in(pseudonyms.implode()).sum() == 65_536
    assert guess_addresses(guesses, guesses.addresses) == 65_536


@pytest.mark.parametrize("network", ["192", "192.0.2", "300.1", "a.b", "192.0.2.0/24"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(UsageError, match="no network"):
        Guesses.of_network(pl.Series(["192.0.2.1"]), network)


@pytest.mark.parametrize("column", ["ip", "cause_id", "visitor_id"])
def test_groups_that_fall_together_are_found(column: str, pair: Path, tmp_path: Path) -> None:
    anonymous = tmp_path / "anonymous"
    shutil.copytree(pair / "anonymous", anonymous)
    for path in (anonymous / "_m2" / "files").glob("*events*"):
        frame = pl.read_parquet(path)
        some = frame[column].drop_nulls()
        frame.with_columns(
            pl.when(pl.col(column) == some[0]).then(pl.lit(some[-1])).otherwise(column).alias(column)
        ).write_parquet(path)
    assert "groups" in failed(list(audit_lake(anonymous, pair / "lake")))


def test_a_lake_that_is_not_whole_is_found(pair: Path, salts: FolderSalts, tmp_path: Path) -> None:
    events = pl.read_parquet(SAMPLE)
    events.filter(pl.col("session_id") != events["session_id"].drop_nulls()[0]).write_parquet(tmp_path / "less.parquet")
    less = make_lake(tmp_path / "lake", tmp_path / "less.parquet")
    anonymize_lake(less, tmp_path / "anonymous", RULE, salts)
    assert failed(list(audit_lake(tmp_path / "anonymous", pair / "lake"))) >= {"visits", "groups"}


def test_lakes_that_are_no_pair_are_refused(pair: Path) -> None:
    for lake, against in (("lake", "anonymous"), ("lake", "lake"), ("anonymous", "anonymous")):
        with pytest.raises(UsageError, match="pseudonymous"):
            list(audit_lake(pair / lake, pair / against))


@given(st.binary(max_size=60), st.text(alphabet="ab", min_size=8, max_size=12), st.integers(0, 40), st.booleans())
def test_bytes_are_found_at_every_offset(
    tmp_path_factory: pytest.TempPathFactory, around: bytes, text: str, place: int, is_planted: bool
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "f"
    content = around[:place] + (text.encode() if is_planted else b"") + around[place:]
    path.write_bytes(content)
    found = list(Bytes([path]).find("customer_id", list(write_forms(pl.Series([text])))[:1]))
    assert bool(found) == (text.encode() in content)


def test_short_texts_are_compared_as_whole_tokens() -> None:
    tokens = Tokens({"url": pl.Series(["/p/anna-1/x?y=bert", "/annabel"])})
    found = {
        text
        for text in ("anna-1", "anna", "bert", "annabel", "nnab", "bert?")
        if list(tokens.find("c", next(write_forms(pl.Series([text])))))
    }
    assert found == {"anna-1", "anna", "bert", "annabel"}


def test_an_input_is_told_of_without_its_values(tmp_path: Path) -> None:
    asked = "/search?q=bert%2540example.com&page=2&token=dora"
    lines = [
        f'192.0.2.{n} - anna{n} [01/Oct/2026:09:00:00 +0000] "GET {asked} HTTP/1.1" 200 '
        f'5 "https://mail.example/?user=carl@example.com" "Mozilla/5.0"\n'
        for n in range(12)
    ]
    (tmp_path / "access.log").write_text("".join(lines) + "no line\n")
    told = audit_inputs([str(tmp_path / "access.log")], now=NOW)
    text = "\n".join(map(" ".join, told))
    by_name = {finding.what: finding for finding in told}
    assert "12 different values" in by_name["`ip`"].sentence
    assert "12 rows" in by_name["mail addresses in `url`"].sentence
    assert "12 rows" in by_name["mail addresses in `referrer`"].sentence
    assert "--allow parameter=q" in by_name["parameter `q`"].fate
    assert "--allow path=/search" in by_name["path `/search`"].fate
    assert "1 lines" in by_name["rejects"].sentence
    assert "12 rows" in by_name["secrets, redacted already in `url`"].sentence
    assert not any(value in text for value in ("dora", "anna", "bert", "carl", "192.0.2", "Mozilla"))


def test_the_verb_fails_with_its_code(pair: Path, ring: Path, tmp_path: Path) -> None:
    shutil.copytree(pair / "anonymous", tmp_path / "anonymous")
    args = ("audit", "--lake", "anonymous", "--against", str(pair / "lake"))
    well = run_m2(*args, "--salts", str(ring), folder=tmp_path)
    assert (well.returncode, well.stdout.count(b"\nok ")) == (ExitCode.OK, 7)
    (tmp_path / "anonymous" / "note").write_text(pl.read_parquet(SAMPLE)["event_id"][0])
    ill = run_m2(*args, folder=tmp_path)
    assert (ill.returncode, b"FAILED identifiers" in ill.stdout) == (ExitCode.DATA, True)
    assert run_m2("audit", "--lake", "anonymous", folder=tmp_path).returncode == ExitCode.USAGE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_who_can_read_neither_lake_nor_salts_can_use_the_anonymous_side(pair: Path, tmp_path: Path) -> None:
    if not can_run(AS_ANYBODY, tmp_path):
        pytest.skip("`setpriv` is not here, or not allowed to do this")
    for name in ("lake", "anonymous"):
        shutil.copytree(pair / name, tmp_path / name)
    (tmp_path / "salts").mkdir()
    for name in ("lake", "salts"):
        (tmp_path / name).chmod(0o700)
        os.chown(tmp_path / name, 12345, 12345)
    run = lambda *args: run_m2(*args, folder=tmp_path, prefix=AS_ANYBODY)  # noqa: E731
    assert run("query", "SELECT count(*) FROM visits", "--lake", "lake").returncode != ExitCode.OK
    assert run("salt", "list", "--salts", "salts").returncode == ExitCode.PRIVACY
    assert run("query", "SELECT count(*) FROM visits", "--lake", "anonymous").returncode == ExitCode.OK
    assert run("trace", "--type", "purchase", "--lake", "anonymous").returncode == ExitCode.OK
    assert run("audit", "--lake", "anonymous", "--against", "lake").returncode != ExitCode.OK
