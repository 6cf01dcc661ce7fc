"""Which user agents are robots: the crawler-user-agents list, and m2's own rules beside it."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import polars as pl
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

# Programs and libraries by which nobody looks at pages, as the first word.
TOOLS_PATTERN = r"""(?ix) ^(?:
    curl | libcurl | wget | lwp | libwww | python | aiohttp | java | jakarta | ruby | perl | php | go-http
    | guzzle | apache-httpclient | axios | node | undici | got | httpie | postman | insomnia | rest-client
    | winhttp | powershell | dart | reqwest | ktor | ab | apachebench | siege | wrk | k6 | nagios | check_http
    | zabbix | monit | masscan | nmap | zgrab | nikto | sqlmap )(?:[^a-z]|$)"""
# What the list does not name, or not yet; each as Rust's regex reads it.
OWN_PATTERNS = (
    r"^\W*$",  # empty, "-", "?": a browser always says what it is
    r"(?i)bots?(?:[^a-z]|$)",  # the word that most robots choose themselves
    r"(?i)crawl|spider|scrap(?:er|y)|slurp|archiver",
    r"\+https?://",  # the custom of leaving an address for complaints
    r"(?i)headless|phantomjs|selenium|puppeteer|playwright",  # browsers that nobody sits at
    TOOLS_PATTERN,
)
# Names of people's devices that an own pattern would take for a robot's: the phones of the brand Cubot.
INNOCENT_PATTERN = r"(?i)cubot"

_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")
_LITERAL = re.compile(r"(?:[^\\^$.|?*+()\[\]{}]|\\[^A-Za-z0-9])+")


class RobotPatterns(NamedTuple):
    """The list's patterns by the engine that tries them."""

    literals: list[str]
    """Plain text to be found anywhere: nearly all, tried at once by Aho-Corasick."""
    regexes: list[str]
    """What Rust's regex takes."""
    backtracking: list[re.Pattern[str]]
    """What only Python's `re` takes, with look-around or back-references. Today none."""


def are_robots(user_agents: pl.Series) -> pl.Series:
    """For each of `user_agents` (String) whether it is a robot's (Boolean); null where it is null.

    By any pattern of crawler-user-agents (case-sensitive, anywhere), or of `OWN_PATTERNS`. A single regex of
    all its alternatives is slow where it matches (0.4 ms a robot: its automaton outgrows its cache);
    literals apart, 20,000 user agents cost 0.04 s.
    """
    listed = list_patterns()
    found = user_agents.str.contains_any(pl.Series(listed.literals, dtype=pl.String).implode())
    found |= user_agents.str.contains(_either(listed.regexes))
    own = user_agents.str.replace_all(INNOCENT_PATTERN, "")
    for pattern in OWN_PATTERNS:
        found |= own.str.contains(pattern)
    for regex in listed.backtracking:
        found |= pl.Series([text and bool(regex.search(text)) for text in user_agents], dtype=pl.Boolean)
    return found


@cache
def list_patterns() -> RobotPatterns:
    """The patterns of crawler-user-agents, sorted by engine."""
    return sort_patterns([entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA])


def sort_patterns(patterns: list[str]) -> RobotPatterns:
    """`patterns`, each with the fastest engine that takes it."""
    sorted_patterns = RobotPatterns([], [], [])
    for pattern in patterns:
        if _LITERAL.fullmatch(pattern):
            sorted_patterns.literals.append(_ESCAPED.sub(r"\1", pattern))
        elif _is_rust_regex(pattern):
            sorted_patterns.regexes.append(pattern)
        else:
            sorted_patterns.backtracking.append(re.compile(pattern))
    return sorted_patterns


def _either(patterns: list[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns) or r"[^\s\S]"


def _is_rust_regex(pattern: str) -> bool:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    return True
