"""An audit of a pseudonymous lake against the identified one that it was made of.

Every check is one that can fail: the test of brute force is tried with the salt as well, with which it succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UsageError
from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, VISITS
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import read_snapshot
from m2cli.privacy.errors import DestroyedSaltError
from m2cli.privacy.fields import FIELDS, normalize
from m2cli.privacy.forms import write_forms
from m2cli.privacy.rule import PrivacyRule
from m2cli.runs.anonymize.record import PrivacyRecord, read_record
from m2cli.runs.audit.guess import Guesses, guess_addresses
from m2cli.runs.audit.scan import Bytes, Found, Tokens
from m2cli.runs.audit.unique import describe_unique
from m2cli.runs.progress import Step, Tell, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from m2cli.lake.layout import Table
    from m2cli.privacy.salts import Salts

# Identifiers that are looked for at a time: their forms take about 1 kB each.
_AT_ONCE = 500_000
# Besides the columns that become pseudonyms.
_MORE = ("user_agent", "part_id")
_LEAST_AGENT = 16


class Check(NamedTuple):
    """One thing that was looked at. `is_well` is None where there is nothing to pass or fail."""

    name: str
    is_well: bool | None
    sentence: str


@dataclass(frozen=True)
class _Side:
    """One of the two lakes, by its snapshot."""

    lake: Path

    def __post_init__(self) -> None:
        snapshot = read_snapshot(self.lake)
        object.__setattr__(self, "files", list(zip(snapshot.files, snapshot.paths(self.lake), strict=True)))

    def scan(self, table: Table, *, year: int | None = None, dates: frozenset[date] | None = None) -> pl.LazyFrame:
        """The rows of `table`, of visits that start in `year` or on `dates`, where these are named."""
        return scan_files(
            [
                path
                for file, path in self.files  # type: ignore[attr-defined]  # set when it is made
                if file.kind == table.name
                and (year is None or (file.start_date and file.start_date.year == year))
                and (dates is None or file.start_date in dates)
            ],
            table,
        )

    def list_dates(self) -> frozenset[date]:
        """The dates on which visits start."""
        return frozenset(file.start_date for file, _ in self.files if file.start_date)  # type: ignore[attr-defined]  # the same


def audit_lake(
    lake: Path, against: Path, *, salts: Salts | None = None, network: str | None = None, tell: Tell = tell_nobody
) -> Iterator[Check]:
    """What there is to say of the pseudonymous `lake`, made of `against`, check by check.

    `network` is the /16 whose addresses are guessed, as `192.0`; by default the commonest. With `salts` it is shown
    that with them all are found. Raises `UsageError` for lakes that are no such pair.
    """
    record = read_record(lake)
    if record is None:
        raise UsageError(f"`{lake}` is no pseudonymous lake; `m2 anonymize` makes one")
    if read_record(against) is not None:
        raise UsageError(f"`{against}` is pseudonymous itself; name the lake that `{lake}` was made of")
    made, source = _Side(lake), _Side(against)
    shared = made.list_dates() & source.list_dates()
    yield Check("is", None, record.statement)
    yield _compare_visits(made, source, shared)
    yield from _look_for_identifiers(made, source, tell)
    yield from _compare_groups(made, source, shared, record)
    yield _compare_causes(made, source, shared)
    yield from _guess(made, source, network, salts)
    yield from (Check("re-identifies", None, sentence) for sentence in describe_unique(made.scan(EVENTS)))


def _dates_are(count: int) -> str:
    return "1 date is" if count == 1 else f"{count:,} dates are"


def _compare_visits(made: _Side, source: _Side, shared: frozenset[date]) -> Check:
    counts = [side.scan(VISITS, dates=shared).select(pl.len()).collect().item() for side in (made, source)]
    only = [len(side.list_dates() - shared) for side in (made, source)]
    on_shared = "on the one date" if len(shared) == 1 else f"on the {len(shared):,} dates"
    said = f"{counts[0]:,} of {counts[1]:,} {on_shared} that both have"
    if only[0]:
        said += f"; {_dates_are(only[0])} no longer among the identified data"
    if only[1]:
        said += f"; {_dates_are(only[1])} not anonymized yet"
    return Check("visits", counts[0] == counts[1] and bool(shared), said)


class Looked(NamedTuple):
    """What was looked for, and where it was found."""

    found: list[Found]
    identifier_count: int
    short_count: int
    """Identifiers that are too short to be told from any other text."""


def look_for_identifiers(
    against: Path, texts: Mapping[str, pl.Series], paths: Iterable[Path], tell: Tell = tell_nobody
) -> Looked:
    """Look for every identifier of the identified lake `against` in `texts` (String, by column) and files.

    In values whole and in parts; from 8 bytes on also anywhere within the values of columns that are no pseudonyms, and
    in the bytes and names of the files at `paths`.
    """
    tokens = Tokens(dict(texts))
    # Pseudonyms are compared whole: nothing else is as long, and they are most of what there is.
    free = {where: values for where, values in texts.items() if where.rpartition(".")[2] not in FIELDS}
    content = Bytes(paths, free)
    found: list[Found] = []
    count, short_count = 0, 0
    for column, identifiers in _list_identifiers(_Side(against)):
        short_count += int((identifiers.str.len_bytes() < 4).sum())
        for some in identifiers.to_frame().iter_slices(_AT_ONCE):
            tell(Step("looking for identifiers", count, None, "identifiers"))
            forms = list(write_forms(some.to_series()))
            for form in forms:
                found += tokens.find(column, form)
            found += content.find(column, forms)
            count += some.height
    return Looked(list(dict.fromkeys(found)), count, short_count)


def _look_for_identifiers(made: _Side, source: _Side, tell: Tell) -> Iterator[Check]:
    paths = (path for path in sorted(made.lake.rglob("*")) if ".lock" not in path.suffixes)
    looked = look_for_identifiers(source.lake, dict(_list_texts(made)), paths, tell)
    ways = "plain, in lower case, URL-encoded, as base64, MD5, SHA-1 or SHA-256"
    said = f"none of {looked.identifier_count:,} occurs, {ways}"
    if looked.short_count:
        said += f"; {looked.short_count:,} of fewer than 4 bytes were not looked for"
    if not looked.found:
        yield Check("identifiers", is_well=True, sentence=said)
    for each in looked.found:
        told = f"{each.found_count:,} of `{each.column}`, {each.form}, in {each.where}"
        yield Check("identifiers", is_well=False, sentence=told)


def _list_texts(side: _Side) -> Iterator[tuple[str, pl.Series]]:
    """The distinct texts of each column, and in maps."""
    for table in (EVENTS, VISITS):
        rows = side.scan(table)
        for name, dtype in table.schema.items():
            if dtype == pl.String:
                yield f"{table.name}.{name}", rows.select(pl.col(name).drop_nulls().unique()).collect().to_series()
            elif isinstance(dtype, pl.Map):
                entry = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
                maps = rows.select(name).drop_nulls().collect().to_series()
                kept = maps.cast(pl.List(pl.Struct({"key": dtype.key, "value": dtype.value}))).cast(entry)
                entries = kept.explode().drop_nulls().struct.unnest()
                yield f"{table.name}.{name}", pl.concat([entries["key"], entries["value"]]).drop_nulls().unique()


def _list_identifiers(side: _Side) -> Iterator[tuple[str, pl.Series]]:
    """The distinct identifiers of each column of the identified lake."""
    for table, names in (
        (EVENTS, [*FIELDS, *_MORE]),
        (VISITS, list(FIELDS)),
        (LATE, list(FIELDS)),
        (DUPLICATES, list(FIELDS)),
    ):
        rows = side.scan(table)
        for name in names:
            if name in table.schema:
                values = rows.select(pl.col(name).drop_nulls().unique()).collect().to_series()
                values = values.str.strip_chars().unique()  # blanks around it make no other identifier
                is_none = values.is_in(["", "-"])
                if name == "user_agent":  # `Ruby` is nobody's, and a word that may stand anywhere
                    is_none |= values.str.len_bytes() < _LEAST_AGENT
                if len(values):
                    yield name, values.filter(~is_none)


def _compare_groups(made: _Side, source: _Side, shared: frozenset[date], record: PrivacyRecord) -> Iterator[Check]:
    rule = PrivacyRule(caseless=frozenset(record.caseless))
    wrong, count = [], 0
    for table in (EVENTS, VISITS):
        for name, field in FIELDS.items():
            for year in sorted({start_date.year for start_date in shared}) if name in table.schema else ():
                of_year = frozenset(start_date for start_date in shared if start_date.year == year)
                before = source.scan(table, dates=of_year).select(name).collect().to_series()
                after = made.scan(table, dates=of_year).select(name).collect().to_series()
                sizes = _count_sizes(normalize(before, field, rule))
                count += int(sizes["count"].sum())
                if not sizes.equals(_count_sizes(after)):
                    wrong.append(f"`{table.name}.{name}` of {year}")
    said = f"{count:,} groups by identifier and year are as large as before"
    yield Check("groups", not wrong, f"not as before: {', '.join(wrong)}" if wrong else said)


def _count_sizes(values: pl.Series) -> pl.DataFrame:
    """How many values occur how often."""
    per_value = values.drop_nulls().to_frame("value").group_by("value").agg(size=pl.len())
    return per_value.group_by("size").agg(count=pl.len()).sort("size")


def _compare_causes(made: _Side, source: _Side, shared: frozenset[date]) -> Check:
    counts = []
    for side in (made, source):
        rows = side.scan(EVENTS, dates=shared).select("event_id", "cause_id").collect()
        causes = rows["cause_id"].drop_nulls()
        counts.append((int(causes.is_in(rows["event_id"].drop_nulls().unique().implode()).sum()), len(causes)))
    (after, _), (before, all_count) = counts
    return Check(
        "causes", after == before, f"of {all_count:,}, {before:,} could be followed before and {after:,} can now"
    )


def _guess(made: _Side, source: _Side, network: str | None, salts: Salts | None) -> Iterator[Check]:
    addresses = source.scan(EVENTS).select(pl.col("ip").drop_nulls().unique()).collect().to_series()
    normal = normalize(addresses, "address", PrivacyRule())
    guesses = Guesses.of_network(normal, network)
    if guesses is None:
        yield Check("brute force", None, "there is no IPv4 address to guess")
        return
    there = made.scan(EVENTS).select(pl.col("ip").drop_nulls().unique()).collect().to_series()
    found = guess_addresses(guesses, there)
    tried = f"{len(guesses.addresses):,} addresses of {guesses.network}"
    yield Check("brute force", not found, f"without the salt {found:,} found of {tried}")
    if salts is None:
        yield Check("brute force", None, "with the salt not tried; `--salts` shows that it would find them")
        return
    for year in sorted({start_date.year for start_date in made.list_dates() & source.list_dates()}):
        of_year = [
            side.scan(EVENTS, year=year).select(pl.col("ip").drop_nulls().unique()).collect() for side in (made, source)
        ]
        there, before = of_year[0].to_series(), normalize(of_year[1].to_series(), "address", PrivacyRule()).unique()
        try:
            salt = salts.find(year)
        except DestroyedSaltError as error:
            day = error.destroyed_time[:10]
            yield Check("brute force", None, f"with the salt of {year} nobody can try: it was destroyed on {day}")
            continue
        expected = int(before.is_in(guesses.addresses.implode()).sum())
        found = int(salt.digest("address", guesses.addresses).is_in(there.implode()).sum())
        said = f"with the salt of {year} {found:,} found of the {expected:,} that occur: the salt is the secret"
        yield Check("brute force", found == expected, said)
