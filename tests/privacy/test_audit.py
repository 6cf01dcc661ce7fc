"""Audits: they pass what is well, and fail for whatever is planted."""

from __future__ import annotations

import base64
import hashlib
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import ExitCode, UsageError
from m2cli.events import TEXTS
from m2cli.privacy.forms import Form, write_forms
from m2cli.privacy.ring import destroy_salt
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.audit.guess import Guesses, guess_addresses
from m2cli.runs.audit.inputs import audit_inputs
from m2cli.runs.audit.lake import Check, audit_lake
from m2cli.runs.audit.scan import Bytes, Tokens
from m2cli.runs.intake import IntakeRule
from tests.cli.command import run_m2
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


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.is_well is False}


def test_what_is_well_passes_and_says_what_it_is(pair: Path, salts: FolderSalts) -> None:
    checks = list(audit_lake(pair / "anonymous", pair / "lake", salts=salts))
    assert failed(checks) == set()
    said = {check.name: check.sentence for check in checks}
    assert "until the salts of 2025" in said["is"]
    assert said["visits"].endswith((" on the one date that both have", " dates that both have"))
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


def test_an_identifier_planted_in_a_field_that_passes_is_found_in_every_form(
    salts: FolderSalts, tmp_path: Path
) -> None:
    """Each form hides a customer of its own."""
    customers = {form: f"{n}{CUSTOMER}" for n, form in enumerate(FORMS)}
    events = pl.DataFrame(
        {
            "event_id": [f"e-{n:06}" for n in range(len(FORMS))],
            "customer_id": customers.values(),
            "attributes": [{"sku": f"sku|{FORMS[form](customer)}|5"} for form, customer in customers.items()],
        },
        schema_overrides={"attributes": TEXTS},
    )
    events = events.with_columns(event_time=pl.lit(NOW.replace(year=2025)), visitor_id=pl.lit("visitor-1"))
    events.write_parquet(tmp_path / "events.parquet")
    lake = make_lake(tmp_path / "lake", tmp_path / "events.parquet")
    anonymize_lake(lake, tmp_path / "anonymous", RULE.allowing(attributes=["sku"]), salts)
    checks = list(audit_lake(tmp_path / "anonymous", lake))
    assert failed(checks) == {"identifiers"}
    told = {check.sentence.split(", ")[1] for check in checks if check.is_well is False}
    assert told == {"plain", "lower case", "URL-encoded", "base64", "MD5", "SHA-1", "SHA-256"}
    assert not any(customer in check.sentence for check in checks for customer in customers.values())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_as_a_value_and_in_bytes(form: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(f"sku|{FORMS[form](CUSTOMER)}|5")
    forms = list(write_forms(pl.Series([CUSTOMER])))
    assert list(Bytes([tmp_path / "f"]).find("customer_id", forms))
    tokens = Tokens({"url": pl.Series([FORMS[form](CUSTOMER)])})
    assert [found for each in forms for found in tokens.find("customer_id", each)]


def test_an_identifier_in_the_bytes_or_the_name_of_any_file_is_found(pair: Path, tmp_path: Path) -> None:
    anonymous = tmp_path / "anonymous"
    shutil.copytree(pair / "anonymous", anonymous)
    visitor = pl.read_parquet(SAMPLE)["session_id"].drop_nulls()[17]
    for name in ("_m2/notes", "events/date=2025-12-30/.hidden"):
        (anonymous / name).write_bytes(b"x" * 13 + visitor.encode() + b"\0")
    (anonymous / visitor).touch()
    checks = list(audit_lake(anonymous, pair / "lake"))
    assert failed(checks) == {"identifiers"}
    said = "".join(check.sentence for check in checks if check.name == "identifiers")
    assert all(where in said for where in ("bytes of `notes`", "bytes of `.hidden`", "the name of a file"))


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


def test_groups_that_fall_together_are_found(pair: Path, tmp_path: Path) -> None:
    anonymous, columns = tmp_path / "anonymous", ("ip", "cause_id", "visitor_id")
    shutil.copytree(pair / "anonymous", anonymous)
    for path in (anonymous / "_m2" / "files").glob("*events*"):
        frame = pl.read_parquet(path)
        some = {column: frame[column].drop_nulls() for column in columns}
        same = [pl.col(column).replace(some[column][0], some[column][-1]) for column in columns]
        frame.with_columns(same).write_parquet(path)
    groups = next(check for check in audit_lake(anonymous, pair / "lake") if check.name == "groups")
    assert groups.is_well is False
    assert all(f"`events.{column}` of {year}" in groups.sentence for column in columns for year in (2025, 2026))
    assert "customer_id" not in groups.sentence


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


def test_an_id_with_blanks_around_it_is_looked_for_without_them(salts: FolderSalts, tmp_path: Path) -> None:
    row = {"event_id": "e-000001", "event_time": [NOW.replace(year=2025)], "visitor_id": "v"}
    row |= {"customer_id": " anna 12 ", "entity_type": "product", "entity_id": "sku-anna 12"}
    pl.DataFrame(row).write_parquet(tmp_path / "events.parquet")
    lake = make_lake(tmp_path / "lake", tmp_path / "events.parquet")
    anonymize_lake(lake, tmp_path / "anonymous", RULE, salts)
    assert failed(list(audit_lake(tmp_path / "anonymous", lake))) == {"identifiers"}


@given(
    st.lists(st.text("ab", min_size=8, max_size=10), min_size=1, max_size=6, unique=True), st.text("ab", max_size=80)
)
def test_of_texts_that_begin_alike_each_is_counted_wherever_it_stands(texts: list[str], content: str) -> None:
    found = list(Bytes([], {"url": pl.Series([content])}).find("customer_id", [Form("plain", pl.Series(texts))]))
    count = sum(content.startswith(text, place) for text in texts for place in range(len(content)))
    assert [each.found_count for each in found] == ([count] if count else [])


def test_short_texts_are_compared_as_whole_tokens() -> None:
    tokens = Tokens({"url": pl.Series(["/p/anna-1/x?y=bert", "/annabel"])})
    found = {
        text
        for text in ("anna-1", "anna", "bert", "annabel", "nnab", "bert?")
        if list(tokens.find("c", next(write_forms(pl.Series([text])))))
    }
    assert found == {"anna-1", "anna", "bert", "annabel"}


def test_an_input_of_any_log_format_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text('[01/Oct/2026:09:00:00 +0000] 192.0.2.7 "GET /?page=1 HTTP/1.1" sid=anna\n')
    layout = '[$time_local] $remote_addr "$request" sid=$cookie_sid'
    done = run_m2("audit", "app.log", "--log-format", layout, "--cookie", "session_id=sid", folder=tmp_path)
    told = done.stdout.decode()
    assert (done.returncode, "`ip` " in told, "`session_id` " in told, "anna" in told) == (0, True, True, False)


def test_an_input_without_anything_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    done = run_m2("audit", "empty.log", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"nothing was read that could identify\n")


@pytest.mark.parametrize(
    "call", ["access.log --salts salts", "access.log --network 192.0.0.0/16", "--lake a --against b --log-format w3c"]
)
def test_an_option_of_the_other_audit_is_refused(call: str, tmp_path: Path) -> None:
    done = run_m2("audit", *call.split(), folder=tmp_path)
    assert (done.returncode, b" goes with " in done.stderr or b" go with " in done.stderr) == (2, True)


def test_an_input_is_told_of_without_its_values(tmp_path: Path) -> None:
    asked = "/search?q=bert%2540example.com&page=2&token=dora"
    lines = [
        f'192.0.2.{n} - anna{n} [01/Oct/2026:09:00:00 +0000] "GET {asked} HTTP/1.1" 200 '
        f'5 "https://mail.example/?user=carl@example.com" "Mozilla/5.0"\n'
        for n in range(12)
    ]
    (tmp_path / "access.log").write_text("".join(lines) + "no line\n")
    told = audit_inputs([str(tmp_path / "access.log")], IntakeRule(), now=NOW)
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
    well = run_m2("audit", "--lake", "anonymous", "--against", "lake", "--salts", str(ring), folder=pair)
    assert (well.returncode, well.stdout.count(b"\nok ")) == (ExitCode.OK, 7)
    row = {"event_id": "e-000001", "event_time": [NOW.replace(year=2025)], "visitor_id": "visitor-1"}
    pl.DataFrame(row).write_parquet(tmp_path / "events.parquet")  # without an address, nothing is guessed
    lake = make_lake(tmp_path / "lake", tmp_path / "events.parquet")
    anonymize_lake(lake, tmp_path / "anonymous", RULE, FolderSalts(folder=ring))
    (tmp_path / "anonymous" / "note").write_text("e-000001")
    ill = run_m2("audit", "--lake", "anonymous", "--against", "lake", folder=tmp_path)
    assert (ill.returncode, b"FAILED identifiers" in ill.stdout) == (ExitCode.DATA, True)
    assert run_m2("audit", "--lake", "anonymous", folder=tmp_path).returncode == ExitCode.USAGE
