"""A pipeline's TOML file read into its rules, and what is wrong told with its line."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from m2cli.errors import ExitCode, UnknownNameError, UnreadableSourceError, UsageError
from m2cli.kafka import KafkaRule
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.pipeline import (
    AccessLogSource,
    EventsSource,
    KafkaSource,
    PipelineError,
    PipelineRule,
    TopicsRule,
    load_pipeline,
)
from m2cli.pipeline.keys import KEYS, SECTIONS, SOURCE, header
from m2cli.privacy.salts import CommandSalts, FolderSalts
from m2cli.settings import RejectLimit
from m2cli.stages.redaction import SECRET_NAMES, RedactionRule
from m2cli.visits import VisitRule

LEAST = """\
[pipeline]
name = "shop"
lake = "lake"
[[source]]
type = "access_log"
paths = "logs/access.log*"
"""
FULL = """\
[pipeline]
name = "Shop_1-a"
lake = "../lake"
memory = "512MiB"
max_rejects = 100
log = "/var/log/m2/shop.log"
json_log = "shop.ndjson"
metrics = "shop.prom"
grace = "90s"
lake_every = "10m"
[[source]]
type = "access_log"
paths = ["logs/access.log*", "/mnt/web2/access.log"]
format = '$remote_addr [$time_local] "$request" "$http_x_forwarded_for" "$http_cookie" $request_time'
name = "web"
keep = "duration"
cookies = { session_id = "SID" }
queries = { entity_id = "pid" }
client_ip = "x_forwarded_for"
[[source]]
type = "events"
paths = ["${DROP}/*.parquet", "more"]
map = { event_time = "ts", visitor_id = "user" }
time_zone = "Europe/Amsterdam"
[[source]]
type = "kafka"
topic = "measurements"
start = "latest"
[kafka]
bootstrap_servers = ["one:9092", "two:9093"]
library = "librdkafka"
schemas = "https://registry.example"
keys = "keys"
seal_with = "one"
security_protocol = "SASL_SSL"
sasl_mechanism = "PLAIN"
sasl_username = "m2"
sasl_password = "${SESAME}"
ssl_cafile = "ca.pem"
ssl_certfile = "m2.pem"
ssl_keyfile = "/etc/m2/m2.key"
timeout = "10s"
[topics]
tagged_events = "tagged"
ends_of_visit = "ends"
pseudonymous_events = "pseudo"
pseudonymous_ends = "pseudo_ends"
group = "shop"
[visit]
inactivity = "20m"
max_duration = "6h"
max_out_of_orderness = "0s"
idle_after = "2h"
max_ahead = "1m"
[visitor]
by = "ip"
[country]
database = "countries.mmdb"
[causes]
own_hosts = ["Shop.example"]
[redaction]
names = ["voucher"]
patterns = { loyalty = 'LC-${1}[0-9]{8}$' }
[anonymize]
lake = "anonymous"
salts = "salts"
create = true
paths = ["/product/{id}"]
parameters = "page"
own_hosts = "shop.example"
entity_types = "article"
event_types = "wish"
hooks = "zoom"
reasons = "seasonal"
attributes = "colour"
caseless = "customer"
cause_reach = "400d"
"""


def load(folder: Path, text: str, overrides: dict[str, str] | None = None, **environment: str) -> PipelineRule:
    path = folder / "shop.toml"
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path, overrides=overrides or {}, environment=environment)


def refusal(folder: Path, text: str) -> str:
    """The line and the message with which `text` is refused, without the path before them."""
    with pytest.raises(PipelineError) as caught:
        load(folder, text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(caught.value).startswith(f"{folder}/shop.toml:")
    assert caught.value.path == folder / "shop.toml"
    return str(caught.value).removeprefix(f"{folder}/shop.toml:").strip()


def test_name_lake_and_one_source_are_enough(tmp_path: Path) -> None:
    rule = load(tmp_path, LEAST)
    assert rule == PipelineRule(
        path=tmp_path / "shop.toml",
        name="shop",
        lake=tmp_path / "lake",
        sources=(AccessLogSource(name="logs/access.log*", paths=(f"{tmp_path}/logs/access.log*",)),),
    )


def test_every_setting_arrives_in_its_rule(tmp_path: Path) -> None:
    rule = load(tmp_path, FULL, DROP="/srv/drop", SESAME="s")
    assert (rule.name, rule.lake, rule.memory) == ("Shop_1-a", tmp_path.parent / "lake", 512 << 20)
    assert rule.sources == (
        AccessLogSource(
            name="web",
            paths=(f"{tmp_path}/logs/access.log*", "/mnt/web2/access.log"),
            format='$remote_addr [$time_local] "$request" "$http_x_forwarded_for" "$http_cookie" $request_time',
            fields=FieldRule(
                keep=("duration",),
                cookies={"session_id": "SID"},
                queries={"entity_id": "pid"},
                client=parse_client("x_forwarded_for"),
            ),
        ),
        EventsSource(
            name="/srv/drop/*.parquet",
            paths=("/srv/drop/*.parquet", f"{tmp_path}/more"),
            mapping={"event_time": "ts", "visitor_id": "user"},
            time_zone="Europe/Amsterdam",
        ),
        KafkaSource(name="measurements", topic="measurements", start="latest"),
    )
    assert rule.kafka == KafkaRule(
        bootstrap_servers=("one:9092", "two:9093"),
        library="librdkafka",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="m2",
        sasl_password="s",
        ssl_cafile=str(tmp_path / "ca.pem"),
        ssl_certfile=str(tmp_path / "m2.pem"),
        ssl_keyfile="/etc/m2/m2.key",
        timeout=timedelta(seconds=10),
    )
    assert rule.topics == TopicsRule(
        group="shop",
        tagged_events="tagged",
        ends_of_visit="ends",
        pseudonymous_events="pseudo",
        pseudonymous_ends="pseudo_ends",
    )
    assert (rule.keys, rule.seal_with) == (tmp_path / "keys", "one")
    assert (rule.schemas, rule.lake_every) == ("https://registry.example", timedelta(minutes=10))
    assert rule.visit == VisitRule(
        inactivity=timedelta(minutes=20),
        max_duration=timedelta(hours=6),
        max_out_of_orderness=timedelta(0),
        idle_after=timedelta(hours=2),
    )
    assert (rule.max_ahead, rule.grace, rule.max_rejects) == (
        timedelta(minutes=1),
        timedelta(seconds=90),
        RejectLimit(count=100),
    )
    assert (rule.log, rule.json_log, rule.metrics) == (
        Path("/var/log/m2/shop.log"),
        tmp_path / "shop.ndjson",
        tmp_path / "shop.prom",
    )
    assert rule.visitor.by == "ip"
    assert rule.enrichment.country.database == tmp_path / "countries.mmdb"
    assert rule.causes.own_hosts == {"shop.example"}
    assert rule.redaction == RedactionRule(names=SECRET_NAMES | {"voucher"}, patterns={"loyalty": "LC-${1}[0-9]{8}$"})


def test_the_full_file_sets_every_key_to_something_else_than_its_default(tmp_path: Path) -> None:
    full, least = load(tmp_path, FULL, DROP="d", SESAME="s"), load(tmp_path, LEAST)
    same = [field.name for field in fields(full) if getattr(full, field.name) == getattr(least, field.name)]
    assert same == ["path"]
    absent = [key.full_name for key in KEYS if f"\n{key.name} = " not in FULL]
    assert absent == ["anonymize.salt_command"]  # which is in the place of `salts`


SASL = {
    "security_protocol": 'security_protocol = "SASL_SSL"',
    "sasl_mechanism": 'sasl_mechanism = "PLAIN"',
    "sasl_username": 'sasl_username = "m2"',
    "sasl_password": 'sasl_password = "s"',
}
TLS = {
    "security_protocol": 'security_protocol = "SSL"',
    "ssl_certfile": 'ssl_certfile = "m2.pem"',
    "ssl_keyfile": 'ssl_keyfile = "m2.key"',
}
NEEDED_TOGETHER = (
    {"seal_with": {"keys": 'keys = "keys"'}}
    | dict.fromkeys(("sasl_mechanism", "sasl_username", "sasl_password"), SASL)
    | dict.fromkeys(("ssl_cafile", "ssl_certfile", "ssl_keyfile"), TLS)
)


def test_a_second_lake_is_settled_by_names_that_pass_besides_the_default(tmp_path: Path) -> None:
    rule = load(tmp_path, FULL, DROP="d", SESAME="s").anonymize
    assert rule is not None
    assert (rule.lake, rule.create) == (tmp_path / "anonymous", True)
    assert rule.source == FolderSalts(folder=tmp_path / "salts")
    assert rule.privacy.paths == ("/", "/product/{id}")
    assert rule.privacy.parameters >= {"utm_source", "page"}
    assert rule.privacy.own_hosts >= {"shop.example"}
    assert rule.privacy.cause_reach == timedelta(days=400)
    asked = load(tmp_path, LEAST + '[anonymize]\nlake = "anonymous"\nsalt_command = "cat {year}.salt"\n').anonymize
    assert asked is not None
    assert asked.source == CommandSalts(command="cat {year}.salt")


FIELDS = {"format": """format = '%h %t %D "%{Host}i" "%{X-Forwarded-For}i" "%{SID}C"'"""}
NEEDED_FIELDS = dict.fromkeys(("keep", "cookies", "client_ip"), FIELDS)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.full_name)
def test_the_example_of_a_setting_is_one(tmp_path: Path, key) -> None:  # type: ignore[no-untyped-def]  # a Key
    own = f"{key.name} = {key.example}"
    of_type = [*key.of_types, "access_log"][0]
    where = {"topic": 'topic = "t"'} if of_type == "kafka" else {"paths": 'paths = "logs/*"'}
    needed = {
        "pipeline": {"name": 'name = "shop"', "lake": 'lake = "lake"'},
        "source": {"type": f'type = "{of_type}"', **where, **NEEDED_FIELDS.get(key.name, {})},
        "kafka": NEEDED_TOGETHER.get(key.name, {}) | {"bootstrap_servers": 'bootstrap_servers = "host:9092"'},
        "topics": {"tagged_events": 'tagged_events = "tagged"'},
    }
    if key.section == "anonymize" or key.name.startswith("pseudonymous"):
        needed["anonymize"] = {"lake": 'lake = "anonymous"'}
    sections = needed | {key.section: {**needed.get(key.section, {}), key.name: own}}
    text = "\n".join("\n".join([header(section), *lines.values(), ""]) for section, lines in sections.items())
    assert load(tmp_path, text, M2_KAFKA_PASSWORD="s")


WRONG = {
    "a second lake without a place": (
        LEAST + '[anonymize]\nsalts = "salts"',
        '7: [anonymize] has no `lake`; write it as `lake = "anonymous"`',
    ),
    "salts from two places": (
        LEAST + '[anonymize]\nlake = "a"\nsalts = "s"\nsalt_command = "cat {year}"',
        "10: `salts` and `salt_command` both say where the salts come from; give one of them",
    ),
    "a command whose salts would be made": (
        LEAST + '[anonymize]\nlake = "a"\ncreate = true\nsalt_command = "cat {year}"',
        "9: `create` makes salts in the folder `salts`, and these come from `salt_command`; leave out one of them",
    ),
    "a flag that is none": (
        LEAST + '[anonymize]\nlake = "a"\ncreate = 1',
        "9: `create` is not written so; write it as `create = true`",
    ),
    "a path that is no pattern": (
        LEAST + '[anonymize]\nlake = "a"\npaths = "product"',
        "9: `product` is no pattern of paths; write it as `/product/{id}`, `/account/*` or `/static/**`",
    ),
    "a misspelt key": (
        LEAST + '[visit]\ninactivty = "3m"',
        "8: unknown key `inactivty` in [visit]; did you mean `inactivity`?",
    ),
    "a key of another section": (
        LEAST + 'memory = "1GiB"',
        "7: unknown key `memory` in [[source]]; it belongs below [pipeline]",
    ),
    "a key like none": (LEAST + '[visitor]\nxyz = "3m"', "8: unknown key `xyz` in [visitor]; known are `by`"),
    "a misspelt section": (LEAST + "\n[vist]\n", "8: unknown section [vist]; did you mean [visit]?"),
    "a section like none": (
        LEAST + "[x]\n",
        "7: unknown section [x]; known are [pipeline], [[source]], [visit], [visitor], [country], [causes], ",
    ),
    "a key before any section": (
        'name = "shop"\n' + LEAST,
        "1: `name` is outside any section; write it below [pipeline]",
    ),
    "a source in single brackets": (
        LEAST.replace("[[source]]", "[source]"),
        "4: `source` is not written so; begin the section with [[source]]",
    ),
    "visits in double brackets": (
        LEAST + "[[visit]]",
        "7: `visit` is not written so; begin the section with [visit]",
    ),
    "a number for a duration": (
        LEAST + "[visit]\ninactivity = 30",
        "8: `30` is not a duration; did you mean `30m`?",
    ),
    "a duration without quotes": (
        LEAST + "[visit]\ninactivity = 30m  # half an hour",
        '8: expected newline or end of document after a statement; write texts in quotes, as `inactivity = "30m"`',
    ),
    "a truth for a duration": (
        LEAST + "[visit]\nmax_ahead = true",
        '8: `max_ahead` is not written so; write it as `max_ahead = "10m"`',
    ),
    "a number for a name": (
        LEAST.replace('"shop"', "5"),
        '2: `name` is not written so; write it as `name = "shop"`',
    ),
    "a list for a path": (
        LEAST.replace('"lake"', '["lake"]'),
        '3: `lake` is not written so; write it as `lake = "lake"`',
    ),
    "a text for a map": (
        LEAST.replace("access_log", "events") + 'map = "ts"',
        '7: `map` is not written so; write it as `map = { event_time = "ts" }`',
    ),
    "an empty text": (
        LEAST.replace('"lake"', '"${NOWHERE:-}"'),
        '3: `lake` is empty; leave it out, or write it as `lake = "lake"`',
    ),
    "a NUL in a path": (LEAST.replace('"lake"', '"a\\u0000b"'), "3: `lake` holds a NUL; take it out"),
    "no inactivity at all": (
        LEAST + '[visit]\nidle_after = "1h"\ninactivity = "0s"',
        "9: `inactivity` is 0:00:00; it must be above zero and at most a hundred years, as `30m` or `12h`",
    ),
    "a future beyond all bounds": (LEAST + '[visit]\nmax_ahead = "99999d"', "8: `99999 days, 0:00:00` is out of range"),
    "too little memory": (
        LEAST.replace("[[source]]", 'memory = "64MiB"\n[[source]]'),
        "4: `64MiB` of memory is too little; give at least `256MiB`",
    ),
    "memory without a unit": (
        LEAST.replace("[[source]]", "memory = 2000\n[[source]]"),
        "4: `2000` is not a size; write it as `2GiB`, `512MiB` or `1GB`",
    ),
    "a name that is a path": (
        LEAST.replace('"shop"', '"../shop"'),
        "2: `../shop` is no pipeline's name; write 1 to 60 letters, digits, `-` and `_`",
    ),
    "a name that is long": (LEAST.replace('"shop"', f'"{"x" * 61}"'), f"2: `{'x' * 61}` is no pipeline's name"),
    "metrics that nobody reads": (
        LEAST.replace("[[source]]", 'metrics = "m.txt"\n[[source]]'),
        "4: `/m.txt` does not end in `.prom`",
    ),
    "no name": ('\n[pipeline]\nlake = "x"', '2: [pipeline] has no `name`; write it as `name = "shop"`'),
    "nothing at all": ("", '[pipeline] has no `name`; write it as `name = "shop"`'),
    "no source": (LEAST.partition("[[")[0], "no [[source]]; a pipeline has at least one, with `type` and `paths`"),
    "a source without a type": (
        LEAST + '[[source]]\npaths = "x"',
        '7: [[source]] has no `type`; write `type = "access_log"` or `type = "events"`',
    ),
    "a source without paths": (
        LEAST + '[[source]]\ntype = "events"',
        '7: [[source]] has no `paths`; write it as `paths = ["logs/access.log*"]`',
    ),
    "an unknown type": (
        LEAST.replace('"access_log"', '"acces_log"'),
        "5: unknown source type `acces_log`; did you mean `access_log`?",
    ),
    "an unknown format": (
        LEAST + 'format = "combine"',
        "7: unknown log format `combine`; did you mean `combined`?",
    ),
    "a map of access logs": (
        LEAST + 'map = { event_time = "ts" }',
        "7: `map` is for sources of type `events` or `kafka`, and this is of type `access_log`",
    ),
    "a topic and no server": (
        LEAST.replace("access_log", "kafka").replace("paths", "topic").replace("logs/access.log*", "t"),
        "the topic `t` is named, and no server; write `bootstrap_servers` below [kafka]",
    ),
    "a topic that is read and written": (
        LEAST.replace("access_log", "kafka").replace("paths", "topic").replace("logs/access.log*", "t")
        + '[kafka]\nbootstrap_servers = "host:9092"\n[topics]\ntagged_events = "t"',
        "9: the topic `t` would be read and written; name another one",
    ),
    "a topic for both outputs": (
        LEAST + '[kafka]\nbootstrap_servers = "host:9092"\n[topics]\ntagged_events = "t"\nends_of_visit = "t"',
        "9: `t` is named twice; what it gets besides needs a topic of its own",
    ),
    "a server without a port": (
        LEAST + '[kafka]\nbootstrap_servers = "host"',
        "7: `host` is not a server of Kafka; write it as `host:9092`",
    ),
    "no topic's name": (
        LEAST.replace("access_log", "kafka").replace("paths", "topic").replace("logs/access.log*", "a b"),
        "6: `a b` is no topic's name; write 1 to 249 letters, digits, `.`, `-` and `_`",
    ),
    "an unknown column": (
        LEAST.replace("access_log", "events") + '[source.map]\nevent_tme = "ts"',
        "8: unknown event column `event_tme`; did you mean `event_time`?",
    ),
    "an unknown zone": (
        LEAST.replace("access_log", "events") + 'time_zone = "Europe/Amsterdan"',
        "7: unknown time zone `Europe/Amsterdan`; did you mean `Europe/Amsterdam`?",
    ),
    "an empty list of paths": (LEAST + '[[source]]\ntype = "events"\npaths = []', "9: a source has at least one path"),
    "a home": (
        LEAST.replace('"logs', '"~/logs'),
        "6: `~/logs/access.log*` begins with `~`, which stands for nothing here; write `${HOME}/logs/access.log*`",
    ),
    "a URL": (LEAST.replace('"lake"', '"s3://lake"'), "3: `s3://lake` is a URL"),
    "a variable that is not set": (
        LEAST.replace('"logs/access.log*"', '[\n"a",\n"${LOGS}/b"]'),
        "6: the environment has no `LOGS`; set it, or write `${LOGS:-default}`",
    ),
    "two sources of one name": (
        LEAST + '[[source]]\ntype = "events"\npaths = "x"\nname = "logs/access.log*"',
        "7: two sources are called `logs/access.log*`; give one of them another `name`",
    ),
    "two sources of one path": (
        LEAST + '[[source]]\ntype = "events"\npaths = ["x", "./logs/access.log*"]',
        "7: `/logs/access.log*` is read by two sources; name it in one of them",
    ),
    "a visitor of no kind": (LEAST + '[visitor]\nby = "seson"', "8: unknown visitor `seson`; did you mean `session`?"),
    "a host with a path": (
        LEAST + '[causes]\nown_hosts = ["a.example", "https://b.example/"]',
        "8: `https://b.example/` is no host",
    ),
    "a secret with a blank": (LEAST + '[redaction]\nnames = "a b"', "8: `a b` is no parameter's name"),
    "a pattern that is none": (LEAST + "[redaction]\npatterns = { x = '[0-9' }", "8: `x` is no regular expression"),
    "one of several": (LEAST + "[redaction.patterns]\na = 'x'\nb = '(?=x)'", "9: `b` is no regular expression"),
    "a key twice": (LEAST + 'paths = "y"', "7: cannot overwrite a value"),
    "a text without an end": ('[pipeline]\nname = "shop', "2: unterminated string"),
    "no TOML": ("{}", "1: invalid statement"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, case: str) -> None:
    text, message = WRONG[case]
    assert refusal(tmp_path, text).replace(f"`{tmp_path}/", "`/").startswith(message)


@pytest.mark.parametrize(
    ("lake", "pattern"),
    [
        pytest.param("lake", "**/*.parquet", id="any folders"),
        pytest.param("data/lake", "data/*/events/*/*.parquet", id="its own events"),
        pytest.param("data/lake", "data", id="the folder that it is in"),
        pytest.param("data/lake", "data/l*", id="a glob that it matches"),
        pytest.param("data/lake", "data/lake/rejects/**", id="a table of it"),
        pytest.param(".lake", ".l*", id="hidden, and named so"),
    ],
)
def test_a_source_that_would_read_the_lake_is_refused(tmp_path: Path, lake: str, pattern: str) -> None:
    text = LEAST.replace('"lake"', f'"{lake}"').replace("logs/access.log*", pattern)
    assert "would read the lake" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("lake", "pattern"),
    [
        pytest.param("lake", "*.parquet", id="files beside it"),
        pytest.param("data/lake", "data/logs/**", id="a folder beside it"),
        pytest.param("data/lake-2", "data/lake", id="a name that begins alike"),
        pytest.param(".lake", "*/*.parquet", id="hidden, and not named so"),
    ],
)
def test_a_source_beside_the_lake_is_none_of_it(tmp_path: Path, lake: str, pattern: str) -> None:
    assert load(tmp_path, LEAST.replace('"lake"', f'"{lake}"').replace("logs/access.log*", pattern))


def test_paths_are_relative_to_the_file_whatever_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(tmp_path, LEAST)
    monkeypatch.chdir(tmp_path)
    assert load_pipeline(Path("shop.toml"), environment={}) == expected


def test_a_folder_whose_name_a_glob_would_obey_is_itself(tmp_path: Path) -> None:
    (tmp_path / "shop[1]").mkdir()
    rule = load(tmp_path / "shop[1]", LEAST)
    assert rule.lake == tmp_path / "shop[1]" / "lake"
    assert rule.sources[0].paths == (f"{tmp_path}/shop[[]1]/logs/access.log*",)


def test_an_override_goes_before_the_file(tmp_path: Path) -> None:
    overrides = {
        "pipeline.lake": "elsewhere",
        "pipeline.memory": "1GiB",
        "visit.inactivity": "20m",
        "causes.own_hosts": "a.example, b.example",
        "pipeline.max_rejects": "1%",
    }
    rule = load(tmp_path, LEAST.replace("[[source]]", 'memory = "4GiB"\n[[source]]'), overrides)
    assert rule == replace(
        load(tmp_path, LEAST),
        lake=tmp_path / "elsewhere",
        memory=1 << 30,
        visit=VisitRule(inactivity=timedelta(minutes=20)),
        causes=rule.causes,
        max_rejects=RejectLimit(share=0.01),
    )
    assert rule.causes.own_hosts == {"a.example", "b.example"}


def test_an_override_may_say_what_the_file_does_not(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST.replace('name = "shop"\n', ""), {"pipeline.name": "shop"}).name == "shop"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("visit.inactivity", "20", "`visit.inactivity=20`: `20` is not a duration; did you mean `20m`"),
        ("visit.inactivity", "0s", "`visit.inactivity=0s`: `inactivity` is 0:00:00"),
        ("pipeline.lake", "", "`pipeline.lake=`: `lake` is empty"),
        ("visit.inactivty", "20m", "unknown setting `visit.inactivty`; did you mean `visit.inactivity`"),
        ("inactivity", "20m", "unknown setting `inactivity`; did you mean `visit.inactivity`"),
        ("source.paths", "x", "unknown setting `source.paths`"),
    ],
)
def test_an_override_that_cannot_be_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")) as caught:
        load(tmp_path, LEAST, {name: text})
    assert not isinstance(caught.value, PipelineError)


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="no such file"):
        load_pipeline(tmp_path / "shop.toml", environment={})
    with pytest.raises(UnreadableSourceError, match="is a directory"):
        load_pipeline(tmp_path, environment={})


def test_a_file_of_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_bytes(LEAST.encode() + b"# \xe9")
    with pytest.raises(PipelineError, match=r"shop.toml:7: a byte that is no UTF-8; save the file as UTF-8"):
        load_pipeline(tmp_path / "shop.toml", environment={})


def test_a_byte_order_mark_and_the_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    expected = load(tmp_path, LEAST)
    (tmp_path / "shop.toml").write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert load_pipeline(tmp_path / "shop.toml", environment={}) == expected


def test_a_rule_made_without_a_file_is_checked_as_well(tmp_path: Path) -> None:
    rule = load(tmp_path, LEAST)
    with pytest.raises(UsageError, match="no pipeline's name"):
        replace(rule, name="")
    with pytest.raises(UsageError, match="at least one source"):
        replace(rule, sources=())
    with pytest.raises(UsageError, match="two sources are called"):
        replace(rule, sources=rule.sources * 2)
    with pytest.raises(UnknownNameError, match="unknown log format"):
        AccessLogSource(name="x", paths=("/x",), format="combine")
    with pytest.raises(UsageError, match="at least one path"):
        EventsSource(name="x", paths=())


def test_every_section_is_asked_for_all_of_its_keys() -> None:
    assert {key.full_name for keys in SECTIONS.values() for key in keys.values()} == {key.full_name for key in KEYS}
    assert SOURCE in SECTIONS


def test_a_pipeline_names_its_format_and_is_told_how_to_find_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="a pipeline names its format, so that a batch which is tried again"):
        load(tmp_path, LEAST.replace('type = "access_log"', 'type = "access_log"\nformat = "auto"'))
