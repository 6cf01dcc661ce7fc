"""The table of settings: every key of a pipeline's TOML file, how it is written, its default and its meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnknownNameError, UsageError
from m2cli.files.rule import FileRule
from m2cli.kafka.rule import LIBRARIES, SASL_MECHANISMS, SECURITY_PROTOCOLS
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.logs.read import LogRule
from m2cli.pipeline.kinds import (
    DURATION,
    FLAG,
    GLOBS,
    LITERAL,
    PATH,
    PLACE,
    REJECT_LIMIT,
    SIZE,
    TABLE,
    TEXT,
    TEXTS,
    Kind,
)
from m2cli.pipeline.rule import (
    EARLIEST,
    KafkaSource,
    check_every,
    check_memory,
    check_metrics,
    check_name,
    check_paths,
    check_time,
    check_topic,
)
from m2cli.privacy.rule import PrivacyRule
from m2cli.stages.redaction import RedactionRule
from m2cli.stages.visitors import VisitorRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESS_LOG, EVENTS, KAFKA = "access_log", "events", "kafka"
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, kw_only=True)
class Key:
    """One setting. `default` is as a person would write it; None: there is none, and absent means absent.

    `sample` is a value as TOML has it, where the default does not show how it is written. `check` raises
    `UsageError` for a value that is written well and cannot be; `of_types`: of these sources only.
    """

    section: str
    name: str
    kind: Kind
    meaning: str
    default: str | None = None
    sample: str = ""
    is_required: bool = False
    of_types: tuple[str, ...] = ()
    check: Callable[[Any], object] = lambda value: value

    @property
    def full_name(self) -> str:
        """What `--set` calls it."""
        return f"{self.section}.{self.name}"

    @property
    def example(self) -> str:
        """A value as TOML has it."""
        return self.sample or f'"{self.default}"'


def _check_visit(name: str) -> Callable[[Any], object]:
    return lambda value: VisitRule(**{name: value})


def _check_format(name: str) -> None:
    LogRule(format=name)


def _check_name(kind: str, known: tuple[str, ...]) -> Callable[[str], object]:
    def check(name: str) -> None:
        if name not in known:
            raise UnknownNameError(kind, name, known)

    return check


def _check_start(start: str) -> None:
    KafkaSource(name="", topic="any", start=start)


def _check_hosts(hosts: tuple[str, ...]) -> None:
    if wrong := [host for host in hosts if not _HOST.fullmatch(host)]:
        raise UsageError(f"`{wrong[0]}` is no host; write its name alone, as `shop.example`")


def _check_passing(name: str) -> Callable[[Any], object]:
    return lambda names: PrivacyRule().allowing(**{name: names})


def _check_names(names: tuple[str, ...]) -> None:
    RedactionRule(names=frozenset(names))


_pipeline, _source = partial(Key, section="pipeline"), partial(Key, section="source")
_visit = partial(Key, section="visit", kind=DURATION)
_kafka, _topics = partial(Key, section="kafka", kind=TEXT), partial(Key, section="topics", kind=TEXT)
_anonymize = partial(Key, section="anonymize")
# Of [anonymize]: the fields of a `PrivacyRule` that these names are added to.
PASSING = (
    "paths",
    "parameters",
    "own_hosts",
    "entity_types",
    "event_types",
    "hooks",
    "reasons",
    "attributes",
    "caseless",
)

KEYS = (
    _pipeline(
        name="name",
        kind=TEXT,
        sample='"shop"',
        is_required=True,
        check=check_name,
        meaning="What the pipeline is called, and its batches after it: 1 to 60 letters, digits, `-` and `_`.",
    ),
    _pipeline(name="lake", kind=PATH, sample='"lake"', is_required=True, meaning="The folder that the visits go to."),
    _pipeline(
        name="memory",
        kind=SIZE,
        default="2GiB",
        check=check_memory,
        meaning="What a run may take, at least 256MiB; beyond it, it works in pieces, by way of the disk.",
    ),
    _pipeline(
        name="max_rejects",
        kind=REJECT_LIMIT,
        sample='"1%"',
        meaning="A batch with more rejects than this does not commit: a number, or a share of what was read.",
    ),
    _pipeline(name="log", kind=PATH, sample='"shop.log"', meaning="A file that gets one line a batch, for people."),
    _pipeline(
        name="json_log", kind=PATH, sample='"shop.ndjson"', meaning="A file that gets one line a batch, as JSON."
    ),
    _pipeline(
        name="metrics",
        kind=PATH,
        sample='"m2_shop.prom"',
        check=check_metrics,
        meaning="A file for node exporter's textfile collector, written anew after each batch; ends in `.prom`.",
    ),
    _pipeline(
        name="grace",
        kind=DURATION,
        default="1h",
        check=check_time,
        meaning="How long a replaced file stays for those who read by an earlier snapshot.",
    ),
    _pipeline(
        name="lake_every",
        kind=DURATION,
        default="15m",
        check=check_every,
        meaning="How often `m2 run --follow` writes to the lake; to the topics it writes every second.",
    ),
    _source(
        name="type",
        kind=TEXT,
        sample='"access_log"',
        is_required=True,
        meaning="`access_log`: logs that are followed as they grow and rotate; "
        "`events`: event files, Parquet, NDJSON or CSV, each taken whole once it is complete; "
        "`kafka`: a topic of Avro or JSON messages.",
    ),
    _source(
        name="paths",
        kind=GLOBS,
        sample='["logs/access.log*"]',
        is_required=True,
        of_types=(ACCESS_LOG, EVENTS),
        check=check_paths,
        meaning="Files, folders and globs, one or a list; what is not there yet is waited for.",
    ),
    _source(
        name="topic",
        kind=TEXT,
        sample='"measurements"',
        is_required=True,
        of_types=(KAFKA,),
        check=check_topic,
        meaning="The topic; each of its partitions is one of the pipeline's.",
    ),
    _source(
        name="name",
        kind=TEXT,
        sample='"web"',
        meaning="What the source is called, and `source` in the events of files that say none; "
        "by default its first path as written, or its topic.",
    ),
    _source(
        name="start",
        kind=TEXT,
        default=EARLIEST,
        of_types=(KAFKA,),
        check=_check_start,
        meaning="Where a partition begins of which nothing was read yet: `earliest` or `latest`.",
    ),
    _source(
        name="format",
        kind=LITERAL,
        default="combined",
        of_types=(ACCESS_LOG,),
        check=_check_format,
        meaning="How the log's lines are written: a name of `m2 formats`, Apache's LogFormat or nginx' log_format as "
        "it stands there, dollars and all; several, one a line, are tried in turn.",
    ),
    _source(
        name="keep",
        kind=TEXTS,
        sample='["duration", "host"]',
        of_types=(ACCESS_LOG,),
        check=lambda keep: FieldRule(keep=keep),
        meaning="Fields that go to `attributes`, by their [standard names](../formats.md); or `all`.",
    ),
    _source(
        name="cookies",
        kind=TABLE,
        sample='{ session_id = "SID" }',
        of_types=(ACCESS_LOG,),
        check=lambda cookies: FieldRule(cookies=cookies),
        meaning="The event's column, or an attribute, and the cookie that it is filled from.",
    ),
    _source(
        name="queries",
        kind=TABLE,
        sample='{ entity_id = "pid" }',
        of_types=(ACCESS_LOG,),
        check=lambda queries: FieldRule(queries=queries),
        meaning="The event's column, or an attribute, and the URL's parameter that it is filled from.",
    ),
    _source(
        name="client_ip",
        kind=TEXT,
        sample='"x_forwarded_for:trusted=10.0.0.0/8"',
        of_types=(ACCESS_LOG,),
        check=parse_client,
        meaning="The field that proxies add the client's address to, and the networks of one's own proxies.",
    ),
    _source(
        name="map",
        kind=TABLE,
        sample='{ event_time = "ts" }',
        of_types=(EVENTS, KAFKA),
        check=lambda mapping: FileRule(mapping=mapping),
        meaning="The event's column, and the file's that holds it, where the names differ.",
    ),
    _source(
        name="time_zone",
        kind=TEXT,
        default="UTC",
        of_types=(ACCESS_LOG, EVENTS),
        check=lambda zone: FileRule(time_zone=zone),
        meaning="The zone of times that name none.",
    ),
    _visit(
        name="inactivity",
        default="30m",
        check=_check_visit("inactivity"),
        meaning="A silence of more than this ends a visit.",
    ),
    _visit(
        name="max_duration",
        default="12h",
        check=_check_visit("max_duration"),
        meaning="An event more than this after the first of its visit starts the next visit.",
    ),
    _visit(
        name="max_out_of_orderness",
        default="5m",
        check=_check_visit("max_out_of_orderness"),
        meaning="How far behind the latest event of its partition an event may be; one further behind is late.",
    ),
    _visit(
        name="idle_after",
        default="1h",
        check=_check_visit("idle_after"),
        meaning="A partition with nothing new for this long no longer holds the others' visits open.",
    ),
    _visit(
        name="max_ahead",
        default="10m",
        check=check_time,
        meaning="An event further ahead of its arrival than this is a reject: `from_the_future`.",
    ),
    Key(
        section="visitor",
        name="by",
        kind=TEXT,
        default="default",
        check=lambda by: VisitorRule(by=by),
        meaning="Who a visitor is: `default` (session cookie, else address and user agent), `session`, or `ip`.",
    ),
    Key(
        section="country",
        name="database",
        kind=PATH,
        sample='"countries.mmdb"',
        meaning="An MMDB file to take countries from; by default the registries' own assignments.",
    ),
    Key(
        section="causes",
        name="own_hosts",
        kind=TEXTS,
        sample='["shop.example"]',
        check=_check_hosts,
        meaning="The shop's own hosts, whose subdomains are its own too; by default those whose pages were visited.",
    ),
    _kafka(
        name="bootstrap_servers",
        kind=TEXTS,
        sample='["kafka-1:9092", "kafka-2:9092"]',
        meaning="Some of the cluster's servers; the others are found.",
    ),
    _kafka(
        name="library",
        default=LIBRARIES[0],
        check=_check_name("Kafka library", LIBRARIES),
        meaning="The client: `kafka-python`, or for volume `librdkafka`; `pip install 'm2cli[librdkafka]'` brings it.",
    ),
    _kafka(
        name="schemas",
        kind=PLACE,
        sample='"schemas"',
        meaning="The Avro schemas that messages are written by: a folder of `.avsc` files, see `m2 schema`, or the URL "
        "of a registry that speaks as Confluent's does.",
    ),
    _kafka(
        name="keys",
        kind=PATH,
        sample='"/etc/m2/keys"',
        meaning="A folder of keys that [encrypted messages](../avro.md#encryption) are opened with.",
    ),
    _kafka(
        name="seal_with",
        sample='"2026-11"',
        meaning="The key that tagged events and ends of visit are encrypted with; by default they are not.",
    ),
    _kafka(
        name="security_protocol",
        default=SECURITY_PROTOCOLS[0],
        check=_check_name("security protocol", SECURITY_PROTOCOLS),
        meaning="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.",
    ),
    _kafka(
        name="sasl_mechanism",
        sample='"SCRAM-SHA-512"',
        check=_check_name("SASL mechanism", SASL_MECHANISMS),
        meaning="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.",
    ),
    _kafka(name="sasl_username", sample='"m2"', meaning="Who m2 is."),
    _kafka(
        name="sasl_password",
        sample='"${M2_KAFKA_PASSWORD}"',
        meaning="Its password; better filled from the environment than written here.",
    ),
    _kafka(name="ssl_cafile", kind=PATH, sample='"ca.pem"', meaning="Whose signature on the servers is trusted."),
    _kafka(name="ssl_certfile", kind=PATH, sample='"m2.pem"', meaning="The certificate that m2 shows."),
    _kafka(name="ssl_keyfile", kind=PATH, sample='"m2.key"', meaning="Its key."),
    _kafka(
        name="timeout",
        kind=DURATION,
        default="30s",
        meaning="How long the cluster may say nothing before it counts as away.",
    ),
    _topics(
        name="tagged_events",
        sample='"tagged_events"',
        check=check_topic,
        meaning="The topic that every event goes to as soon as W has passed it, with its final visit id.",
    ),
    _topics(
        name="ends_of_visit",
        sample='"ends_of_visit"',
        check=check_topic,
        meaning="The topic that every end of visit goes to.",
    ),
    _topics(
        name="pseudonymous_events",
        sample='"pseudonymous_events"',
        check=check_topic,
        meaning="The topic that tagged events go to under pseudonyms, by the rules of [anonymize].",
    ),
    _topics(
        name="pseudonymous_ends",
        sample='"pseudonymous_ends"',
        check=check_topic,
        meaning="The same for ends of visit.",
    ),
    _topics(
        name="group",
        sample='"m2-shop"',
        check=check_topic,
        meaning="The transactional id, and the consumer group that says how far the pipeline has come; no other may "
        "have it; by default `m2-` and the pipeline's name.",
    ),
    Key(
        section="redaction",
        name="names",
        kind=TEXTS,
        sample='["voucher"]',
        check=_check_names,
        meaning="Parameters that hold secrets, besides those that are [redacted by default](redaction.md).",
    ),
    _anonymize(
        name="lake",
        kind=PATH,
        sample='"anonymous"',
        meaning="The folder of the pseudonymous lake; each batch adds its visits to it.",
    ),
    _anonymize(
        name="salts",
        kind=PATH,
        default="/etc/m2/salts",
        meaning="The folder of the salts, one file a year, of the user who runs the pipeline.",
    ),
    _anonymize(
        name="salt_command",
        kind=TEXT,
        sample='"vault kv get -field=salt shop/{year}"',
        meaning="In its place: a command that prints the salt of `{year}`, run without a shell.",
    ),
    _anonymize(
        name="create",
        kind=FLAG,
        default="false",
        sample="true",
        meaning="Whether the salt of a year that has begun is made where it is missing.",
    ),
    _anonymize(
        name="paths",
        kind=TEXTS,
        sample='["/product/{id}", "/account/*", "/static/**"]',
        check=_check_passing("paths"),
        meaning="Paths of the shop's pages that pass besides `/`: with the id, or with `*` or `**` in its place.",
    ),
    _anonymize(
        name="parameters",
        kind=TEXTS,
        sample='["page"]',
        check=_check_passing("parameters"),
        meaning="Parameters of URLs whose values pass, besides `utm_source`, `utm_medium` and `utm_campaign`.",
    ),
    _anonymize(
        name="own_hosts",
        kind=TEXTS,
        sample='["shop.example"]',
        check=_check_hosts,
        meaning="Hosts whose referrers keep path and parameters, besides those of [causes].",
    ),
    _anonymize(
        name="entity_types",
        kind=TEXTS,
        sample='["article"]',
        check=_check_passing("entity_types"),
        meaning="Types of entities whose ids pass, besides product, banner, list and campaign.",
    ),
    _anonymize(
        name="event_types",
        kind=TEXTS,
        sample='["wish"]',
        check=_check_passing("event_types"),
        meaning="Types of events that pass besides m2's own; others become `other`.",
    ),
    _anonymize(
        name="hooks",
        kind=TEXTS,
        sample='["zoom"]',
        check=_check_passing("hooks"),
        meaning="Hooks that pass besides add_to_cart and product_page; others become `other`.",
    ),
    _anonymize(
        name="reasons",
        kind=TEXTS,
        sample='["seasonal"]',
        check=_check_passing("reasons"),
        meaning="Reasons that pass besides m2's own and the usual ones; others become `other`.",
    ),
    _anonymize(
        name="attributes",
        kind=TEXTS,
        sample='["colour"]',
        check=_check_passing("attributes"),
        meaning="Names of attributes that pass with their values; by default none.",
    ),
    _anonymize(
        name="caseless",
        kind=TEXTS,
        sample='["customer"]',
        check=_check_passing("caseless"),
        meaning="Of customer, session and visitor those whose ids differ in case alone and mean the same.",
    ),
    _anonymize(
        name="cause_reach",
        kind=DURATION,
        default="90d",
        check=lambda reach: PrivacyRule(cause_reach=reach),
        meaning="How far before an effect its cause is looked for in the visits of another year.",
    ),
)
SECTIONS = {
    section: {key.name: key for key in KEYS if key.section == section}
    for section in dict.fromkeys(key.section for key in KEYS)
}
SOURCE = "source"


def header(section: str) -> str:
    """How a section is written: `[visit]`; `[[source]]`, of which there may be many."""
    return f"[[{section}]]" if section == SOURCE else f"[{section}]"


__all__ = ["ACCESS_LOG", "EVENTS", "KAFKA", "KEYS", "SECTIONS", "SOURCE", "Key", "header"]
