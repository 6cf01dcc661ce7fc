"""The country of an address: DESIGN 6.1."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import ExitCode, UnreadableSourceError
from m2cli.stages.countries import CountryRule, add_country, clean_addresses

RULE = CountryRule()
DATABASES = ("GeoIP2-Country-Test", "GeoLite2-Country-Test")


def country_of(ip: str | None, rule: CountryRule = RULE) -> str | None:
    return add_country(pl.DataFrame({"ip": [ip]}, schema={"ip": pl.String}), rule)["country"].item()


@pytest.mark.parametrize("name", DATABASES)
def test_every_address_of_a_test_database_is_in_its_country(shared_data: Path, name: str) -> None:
    folder = shared_data / "maxmind-db"
    cases = json.loads((folder / f"{name}.ip-country.json").read_text())
    expected = [
        case["expected"] and (case["expected"]["country"] or case["expected"]["registered_country"]) for case in cases
    ]
    events = pl.DataFrame({"ip": [case["ip"] for case in cases]})
    countries = add_country(events, CountryRule(database=folder / f"{name}.mmdb"))["country"]
    assert len(cases) > 400
    assert countries.to_list() == expected


def test_the_country_where_an_address_is_comes_before_the_one_where_it_is_registered(
    shared_data: Path,
) -> None:
    rule = CountryRule(database=shared_data / "maxmind-db" / "GeoLite2-Country-Test.mmdb")
    assert country_of("2.125.160.216", rule) == "GB"  # registered in FR


SPELLINGS = {
    "as it is": "8.8.8.8",
    "blanks": " 8.8.8.8 ",
    "a port": "8.8.8.8:51234",
    "mapped": "::ffff:8.8.8.8",
    "mapped, in upper case": "::FFFF:8.8.8.8",
    "mapped, in hexadecimal": "::ffff:808:808",
    "mapped, in full": "0:0:0:0:0:ffff:8.8.8.8",
    "mapped, in brackets with a port": "[::ffff:8.8.8.8]:443",
    "IPv6": "2001:4860:4860::8888",
    "IPv6 in upper case": "2001:4860:4860::8888".upper(),
    "IPv6 in brackets": "[2001:4860:4860::8888]",
    "IPv6 in brackets with a port": "[2001:4860:4860::8888]:443",
    "IPv6 with a zone": "2001:4860:4860::8888%eth0",
}


@pytest.mark.parametrize("ip", SPELLINGS.values(), ids=SPELLINGS)
def test_an_address_has_its_country_however_it_is_spelled(ip: str) -> None:
    assert country_of(ip) == "US"


NOWHERE = {
    "null": None,
    "empty": "",
    "a dash": "-",
    "a host name": "crawl-66-249-66-1.googlebot.com",
    "a short address": "8.8.8",
    "too large a number": "8.8.8.256",
    "two addresses": "8.8.8.8, 1.1.1.1",
    "loopback": "127.0.0.1",
    "loopback of IPv6": "::1",
    "unspecified": "::",
    "class A private": "10.1.2.3",
    "class B private, the first": "172.16.0.1",
    "class B private, the last": "172.31.255.255",
    "class C private": "192.168.1.1",
    "link-local": "169.254.1.1",
    "shared by a carrier": "100.64.0.1",
    "private, mapped": "::ffff:10.1.2.3",
    "unique local": "fd12:3456::1",
    "link-local of IPv6": "fe80::1%eth0",
}


@pytest.mark.parametrize("ip", NOWHERE.values(), ids=NOWHERE)
def test_what_is_no_public_address_has_no_country(ip: str | None) -> None:
    assert country_of(ip) is None


@pytest.mark.parametrize(
    "ip", ["172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "11.0.0.1", "fe00::1", "1:1::1"]
)
def test_the_neighbours_of_local_networks_are_looked_up(ip: str) -> None:
    assert clean_addresses(pl.Series([ip])).to_list() == [ip]


def test_a_local_address_has_no_country_even_if_the_database_says_so(shared_data: Path) -> None:
    rule = CountryRule(database=shared_data / "maxmind-db" / "GeoIP2-Country-Test.mmdb")
    assert [country_of(ip, rule) for ip in ("10.0.0.1", "not an address", None)] == [None, None, None]


def test_repeated_addresses_and_nulls_keep_their_places() -> None:
    ips = ["8.8.8.8", None, "8.8.8.8", "10.0.0.1", "193.0.6.139", "8.8.8.8"]
    assert add_country(pl.DataFrame({"ip": ips}), RULE)["country"].to_list() == [
        "US",
        None,
        "US",
        None,
        "NL",
        "US",
    ]


def test_a_frame_without_addresses_is_unchanged() -> None:
    events = pl.DataFrame({"event_id": ["a"]})
    assert add_country(events, RULE).equals(events)


def test_an_empty_frame_gets_the_column() -> None:
    empty = pl.DataFrame(schema={"ip": pl.String})
    assert add_country(empty, RULE).schema == {"ip": pl.String, "country": pl.String}


def test_a_database_that_is_not_there_is_named() -> None:
    with pytest.raises(UnreadableSourceError, match=r"cannot read `nowhere\.mmdb`: no such file") as raised:
        country_of("8.8.8.8", CountryRule(database=Path("nowhere.mmdb")))
    assert raised.value.exit_code == ExitCode.UNREACHABLE


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match=r"it is a folder; name the \.mmdb file in it"):
        country_of("8.8.8.8", CountryRule(database=tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com" * 3])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "countries.mmdb"
    path.write_bytes(content)
    with pytest.raises(UnreadableSourceError, match="it is no MMDB file"):
        country_of("8.8.8.8", CountryRule(database=path))


def test_a_database_of_something_else_is_refused(tmp_path: Path, shared_data: Path) -> None:
    content = (shared_data / "maxmind-db" / "GeoIP2-Country-Test.mmdb").read_bytes()
    path = tmp_path / "towns.mmdb"
    path.write_bytes(content.replace(b"iso_code", b"iso_tone"))
    with pytest.raises(UnreadableSourceError, match="it holds no countries, but `GeoIP2-Country`"):
        country_of("8.8.8.8", CountryRule(database=path))


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_database_that_was_cut_short_is_refused(tmp_path: Path, shared_data: Path, kept: float) -> None:
    content = (shared_data / "maxmind-db" / "GeoIP2-Country-Test.mmdb").read_bytes()
    path = tmp_path / "short.mmdb"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UnreadableSourceError):
        country_of("8.8.8.8", CountryRule(database=path))


@given(st.lists(st.text("0123456789abcf.:[]% f", max_size=20) | st.ip_addresses().map(str), max_size=5))
def test_no_text_makes_the_look_up_fail(ips: list[str]) -> None:
    countries = add_country(pl.DataFrame({"ip": ips}, schema={"ip": pl.String}), RULE)["country"]
    assert len(countries) == len(ips)
    assert countries.drop_nulls().str.contains("^[A-Z]{2}$").all()
