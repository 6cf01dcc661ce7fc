"""Who visits."""

from __future__ import annotations

from ipaddress import ip_address

import crawleruseragents
import polars as pl
import pytest

from m2cli.sample.people import describe_visitors, visitor_id


@pytest.fixture(scope="module")
def people() -> pl.DataFrame:
    numbers = pl.DataFrame({"visitor": range(40_000)}).with_columns(is_robot=pl.lit(value=False))
    robots = pl.DataFrame({"visitor": range(2_000)}).with_columns(is_robot=pl.lit(value=True))
    return describe_visitors(pl.concat([numbers, robots]), 7, has_cookies=True)


def test_every_visitor_has_an_address_of_its_own(people: pl.DataFrame) -> None:
    assert people["ip"].n_unique() == people.height


def test_addresses_are_public_and_written_as_their_standards_write_them(people: pl.DataFrame) -> None:
    addresses = people["ip"].gather_every(5).to_list()
    assert all(str(ip_address(text)) == text and ip_address(text).is_global for text in addresses)
    assert {ip_address(text).version for text in addresses} == {4, 6}


def test_people_have_cookies_and_robots_have_none(people: pl.DataFrame) -> None:
    assert people.filter("is_robot")["session_id"].null_count() == 2_000
    assert people.filter(~pl.col("is_robot"))["session_id"].drop_nulls().n_unique() == 40_000


def test_robots_are_known_as_robots_by_their_user_agent_and_people_are_not(people: pl.DataFrame) -> None:
    kinds = people.select("user_agent", "is_robot").unique()
    assert all(crawleruseragents.is_crawler(agent) == is_robot for agent, is_robot in kinds.iter_rows())
    assert kinds["is_robot"].sum() == 8


def test_an_account_is_used_from_two_browsers_at_most(people: pl.DataFrame) -> None:
    browsers = people.drop_nulls("account").group_by("account").len()["len"]
    assert set(browsers.unique()) == {1, 2}
    assert people.filter("is_robot")["account"].null_count() == 2_000


def test_a_visitor_is_the_same_whatever_else_is_described(people: pl.DataFrame) -> None:
    alone = people.select("visitor", "is_robot").slice(31_234, 1)
    assert describe_visitors(alone, 7, has_cookies=True).equals(people.slice(31_234, 1))


def test_without_cookies_the_visitor_is_address_and_user_agent(people: pl.DataFrame) -> None:
    named = people.with_columns(visitor_id())
    assert named["visitor_id"].n_unique() == people.height
    robot = named.filter("is_robot").row(0, named=True)
    assert robot["visitor_id"] == f"{robot['ip']} {robot['user_agent']}"
