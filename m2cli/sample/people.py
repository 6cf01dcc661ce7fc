"""Who visits: addresses, user agents, cookies and customers, each by the visitor's number alone."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import polars as pl

from m2cli.sample.draws import below, draw, hex_ids, high, low, make_key


class Block(NamedTuple):
    """A block of public addresses: its first, how many bits number its members, and of these to the left of
    how many zero bits they stand (72 for the /56 that a household has in IPv6)."""

    first: str
    bits: int
    shift: int = 0


# Blocks that the registries assigned to one country as a whole, so that the country is as it would be
# measured. A visitor's block is its number modulo the table's length; a block may stand here twice.
_HOMES = (
    *(Block("77.160.0.0", 20),) * 3,  # NL
    *(Block("2a02:a440::", 26, 72),) * 9,  # NL
    Block("84.104.0.0", 18),  # NL
    *(Block("91.176.0.0", 19),) * 2,  # BE
    Block("91.0.0.0", 22),  # DE
    *(Block("93.192.0.0", 22),) * 2,  # DE
    *(Block("2003::", 24, 72),) * 2,  # DE
    Block("90.0.0.0", 22),  # FR
    Block("2a01:e00::", 24, 72),  # FR
    *(Block("86.128.0.0", 22),) * 2,  # GB
    Block("2a02:c7c::", 24, 72),  # GB
    Block("73.0.0.0", 23),  # US
    Block("2600:1700::", 24, 72),  # US
    Block("83.32.0.0", 21),  # ES
    Block("79.0.0.0", 22),  # IT
    Block("83.0.0.0", 21),  # PL
    Block("126.0.0.0", 23),  # JP
    Block("177.32.0.0", 20),  # BR
)

_WINDOWS, _MAC = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
)
_WEBKIT, _GECKO = "AppleWebKit/537.36 (KHTML, like Gecko)", "Gecko/20100101"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_IPAD = "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"
_BROWSERS = (
    *(f"{_WINDOWS} {_WEBKIT} Chrome/{n}.0.0.0 Safari/537.36" for n in (138, 139, 140, 141)),
    *(f"{_ANDROID} {_WEBKIT} Chrome/{n}.0.0.0 Mobile Safari/537.36" for n in (137, 139, 140, 141)),
    *(f"{_IPHONE} Version/{n} Mobile/15E148 Safari/604.1" for n in ("18.3", "18.4", "18.5", "18.5")),
    f"{_WINDOWS} {_WEBKIT} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
    f"{_MAC} {_WEBKIT} Chrome/140.0.0.0 Safari/537.36",
    f"{_MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0",
    f"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) {_GECKO} Firefox/140.0",
    f"Mozilla/5.0 (Android 14; Mobile; rv:142.0) {_GECKO}".replace(_GECKO, "Gecko/142.0") + " Firefox/142.0",
    f"{_IPAD} Version/17.6 Mobile/15E148 Safari/604.1",
    f"{_ANDROID} {_WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
)
_ROBOTS = (
    (Block("66.249.64.0", 13), "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (Block("40.76.0.0", 18), "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    (Block("54.36.0.0", 17), "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    (Block("95.108.128.0", 15), "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"),
    (
        Block("20.0.0.0", 20),
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    ),
    (
        Block("57.141.0.0", 16),
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    ),
    (Block("3.0.0.0", 20), "python-requests/2.32.3"),
    (Block("52.0.0.0", 20), "curl/8.5.0"),
)
ROBOT_BLOCK_LEAST = 2**13
"""Addresses in the smallest block of a robot; there are `ROBOT_KINDS` times as many robots at most."""
ROBOT_KINDS = len(_ROBOTS)

_ROBOT_BIT = 2**44  # keeps the chance of robots and people of the same number apart


def describe_visitors(journeys: pl.DataFrame, seed: int, *, has_cookies: bool) -> pl.DataFrame:
    """`journeys` (`visitor` Int64, `is_robot`) with `session_id`, `account`, `ip` and `user_agent`.

    People have cookies, robots have none; without cookies (as in access logs) address and user agent are
    different for every visitor all the same. `account` is the customer's id, null for those without one;
    one account in four is used from two browsers, each a visitor of its own.
    """
    visitor = pl.col("visitor") + pl.col("is_robot").cast(pl.Int64) * _ROBOT_BIT
    pair = pl.col("visitor") // 2
    drawn = draw(pair, make_key(seed, "account"))
    owner = pl.when(high(drawn) % 4 == 0).then(pair * 2).otherwise(pl.col("visitor"))
    has_account = ~pl.col("is_robot") & (low(draw(owner, make_key(seed, "customer"))) % 10 < 7)
    # 87,178,291 is prime: a bijection of the numbers below 10^9, so no two customers share an id
    account = pl.format("C{}", (owner * 87_178_291 % 10**9).cast(pl.String).str.zfill(9))
    return (
        journeys.with_columns(session_id=draw(visitor, make_key(seed, "session")))
        .with_columns(pl.col("session_id").map_batches(hex_ids, return_dtype=pl.String))
        .with_columns(
            session_id=pl.when(~pl.col("is_robot") & has_cookies).then("session_id"),
            account=pl.when(has_account).then(account),
            user_agent=_user_agent(visitor, seed),
            ip=_address(),
        )
    )


def visitor_id() -> pl.Expr:
    """The name that the truth gives a visitor: the cookie, else `address user-agent`."""
    return pl.coalesce("session_id", pl.format("{} {}", "ip", "user_agent")).alias("visitor_id")


def _user_agent(visitor: pl.Expr, seed: int) -> pl.Expr:
    browser = below(high(draw(visitor, make_key(seed, "browser"))), len(_BROWSERS))
    robot = len(_BROWSERS) + pl.col("visitor") % ROBOT_KINDS
    texts = pl.Series([*_BROWSERS, *(agent for _, agent in _ROBOTS)], dtype=pl.String)
    return pl.lit(texts).gather(pl.when("is_robot").then(robot).otherwise(browser))


def _address() -> pl.Expr:
    """Each visitor's own address: a block by its number, and within the block its number times an odd one,
    which is a bijection modulo a power of two."""
    blocks = (*_HOMES, *(block for block, _ in _ROBOTS))
    row = (
        pl.when("is_robot")
        .then(len(_HOMES) + pl.col("visitor") % ROBOT_KINDS)
        .otherwise(pl.col("visitor") % len(_HOMES))
    )
    table = pl.DataFrame([_block_row(block, blocks, n) for n, block in enumerate(blocks)], orient="row", schema=_BLOCK)

    def of(name: str) -> pl.Expr:
        return pl.lit(table[name]).gather(row)

    turn = pl.col("visitor") // pl.when("is_robot").then(ROBOT_KINDS).otherwise(len(_HOMES))
    member = ((turn * of("share") + of("rank")) * 0x9E3779B1 + 1_234_567) % of("size")
    number = of("base") + member
    octets = (number // 2**n % 256 for n in (24, 16, 8, 0))
    # IPv6: `base` is the upper 56 bits; the member is within them. The rest is a host of the household.
    groups = (
        _hex(number // 2**40),
        _hex(number // 2**24),
        _hex(number // 2**8),
        _hex(number % 256 * 256 + 1),
    )
    host = _hex(pl.col("visitor") * 40_503)
    return (
        pl.when(of("is_six"))
        .then(pl.format("{}:{}:{}:{}::{}", *groups, host))
        .otherwise(pl.format("{}.{}.{}.{}", *octets))
    )


_BLOCK = {"base": pl.Int64, "size": pl.Int64, "share": pl.Int64, "rank": pl.Int64, "is_six": pl.Boolean}


def _block_row(block: Block, blocks: tuple[Block, ...], n: int) -> tuple[int, int, int, int, bool]:
    rank, share = blocks[:n].count(block), blocks.count(block)
    return (
        int(ipaddress.ip_address(block.first)) >> block.shift,
        2**block.bits,
        share,
        rank,
        ":" in block.first,
    )


def _hex(number: pl.Expr) -> pl.Expr:
    """The lower 16 bits as IPv6 writes them: hexadecimal, no leading zeros."""
    return pl.lit(_HEX).gather(number % 65_536)


_HEX = pl.Series([f"{n:x}" for n in range(65_536)], dtype=pl.String)
