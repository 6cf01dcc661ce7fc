"""What a pseudonymous lake says of itself, in `_m2/privacy.json`: by which salts, until when, and how far it is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.lake.layout import OWN_FOLDER, UNFINISHED_SUFFIX
from m2cli.lake.swap import sync_folder
from m2cli.lake.write import explain_unwritable
from m2cli.privacy.errors import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts

RECORD = "privacy.json"


@dataclass(frozen=True, kw_only=True)
class PrivacyRecord:
    """The fingerprints of the salts that keyed a lake, by year; of each date, a digest of the files it came from."""

    fingerprints: Mapping[int, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    caseless: tuple[str, ...] = ()
    """Fields whose case was not looked at."""

    @property
    def statement(self) -> str:
        """What the lake is, and until when."""
        return state(self.fingerprints)

    def keyed_by(self, years: Iterable[int], salts: Salts) -> PrivacyRecord:
        """This record with the salts of `years`, each of which is looked at.

        Raises `PrivacyError` for a year without a salt, or with another than the one that has keyed the lake so far.
        """
        found = {year: salts.find(year).fingerprint for year in years}
        for year, fingerprint in found.items():
            before = self.fingerprints.get(year, fingerprint)
            if before != fingerprint:
                hint = "with another the same people would get other pseudonyms; put the old one back"
                raise PrivacyError(f"the lake is keyed by the salt {before} of {year}, not by {fingerprint}; {hint}")
        return self.joined_by(found)

    def joined_by(self, fingerprints: Mapping[int, str]) -> PrivacyRecord:
        """This record with more salts."""
        return replace(self, fingerprints=dict(sorted({**self.fingerprints, **fingerprints}.items())))

    def made_by(self, rule: PrivacyRule) -> PrivacyRecord:
        """This record with what of `rule` the next run has to do as well. Raises `UsageError` if it does otherwise."""
        caseless = tuple(sorted(rule.caseless))
        if self.fingerprints and caseless != self.caseless:
            had = ", ".join(self.caseless) or "none"
            raise UsageError(f"the lake was made with `caseless` of {had}; another would split its groups")
        return replace(self, caseless=caseless)


def state(fingerprints: Mapping[int, str]) -> str:
    """What data that was keyed so is, and until when.

    >>> state({2025: "a1", 2026: "b2"})
    'pseudonymous until the salts of 2025 (a1) and 2026 (b2) are destroyed, then anonymous'
    """
    named = [f"{year} ({fingerprint})" for year, fingerprint in fingerprints.items()]
    if not named:
        return "empty"
    if len(named) == 1:
        return f"pseudonymous until the salt of {named[0]} is destroyed, then anonymous"
    return f"pseudonymous until the salts of {', '.join(named[:-1])} and {named[-1]} are destroyed, then anonymous"


def read_record(lake: Path) -> PrivacyRecord | None:
    """What `lake` says of itself; None if it is not pseudonymous."""
    try:
        kept = json.loads((lake / OWN_FOLDER / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    years = {int(year): text for year, text in kept["fingerprints"].items()}
    return PrivacyRecord(fingerprints=years, dates=kept["dates"], caseless=tuple(kept["caseless"]))


def write_record(lake: Path, record: PrivacyRecord) -> None:
    """Put `record` in the place of the present one."""
    path = lake / OWN_FOLDER / RECORD
    said = {"statement": record.statement} | asdict(record)
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    with explain_unwritable(lake):
        with unfinished.open("w") as stream:
            json.dump(said, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
