"""Events in a pipe: read, described, pseudonymized and written, piece by piece."""

from __future__ import annotations

from io import BytesIO
from typing import IO, TYPE_CHECKING, NamedTuple

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.privacy.pseudonyms import list_years, pseudonymize
from m2cli.runs.anonymize.record import state
from m2cli.runs.intake import IntakeRule, Tally, open_input
from m2cli.runs.progress import Tell, tell_nobody
from m2cli.stages.enrich import EnrichRule, enrich

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts
    from m2cli.stages.redaction import RedactionRule


class PipeFacts(NamedTuple):
    """What was read, and what came out is."""

    tally: Tally
    statement: str


def anonymize_stream(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    inputs: Sequence[str],
    stream: IO[bytes],
    rule: PrivacyRule,
    salts: Salts,
    *,
    enrichment: EnrichRule,
    redaction: RedactionRule,
    now: datetime,
    tell: Tell = tell_nobody,
) -> PipeFacts:
    """Write the events of `inputs`, event files and access logs, pseudonymously to `stream`, as NDJSON.

    They have no visits, so that each is keyed by the year of its own time. Country, browser, device and robot are told
    from address and user agent before these go. Rejects are identified data: they are counted, and not written. Raises
    `PrivacyError` for a year without its salt, `UnreachableError` for what cannot be read or written.
    """
    tally, fingerprints = Tally(), dict[int, str]()
    for piece in open_input(inputs, IntakeRule(redaction=redaction), now=now, tell=tell).pieces:
        tally.add(piece)
        if not piece.events.height:
            continue
        for year in list_years(piece.events["event_time"]):
            fingerprints[year] = salts.find(year).fingerprint
        described = enrich(piece.events, enrichment) if "ip" in piece.events.columns else piece.events
        made = pseudonymize(described, rule, salts)
        # Through a buffer: a pipe that nobody reads any more must fail as Python's own, which is quiet.
        buffer = BytesIO()
        made.select(name for name in LAKE_EVENT_SCHEMA if name in made.columns).write_ndjson(buffer)
        stream.write(buffer.getvalue())
    stream.flush()
    return PipeFacts(tally, state(dict(sorted(fingerprints.items()))))
