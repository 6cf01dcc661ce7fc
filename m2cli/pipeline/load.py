"""From a TOML file to a pipeline's rules, by the table of keys; whatever is wrong is told with its line."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnknownNameError, UnreadableSourceError, UsageError
from m2cli.kafka import KafkaRule
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.pipeline.fill import fill_text
from m2cli.pipeline.keys import ACCESS_LOG, EVENTS, KAFKA, KEYS, PASSING, SECTIONS, SOURCE, Key, header
from m2cli.pipeline.lines import PipelineError, Place, find_line, find_lines, find_syntax_error
from m2cli.pipeline.rule import (
    AccessLogSource,
    AnonymizeRule,
    EventsSource,
    KafkaSource,
    PipelineRule,
    Source,
    TopicsRule,
    check_kafka,
    check_source,
)
from m2cli.privacy.rule import PrivacyRule
from m2cli.stages.causes import CauseRule
from m2cli.stages.countries import CountryRule
from m2cli.stages.enrich import EnrichRule
from m2cli.stages.redaction import SECRET_NAMES, RedactionRule
from m2cli.stages.visitors import VisitorRule
from m2cli.texts import printable_path
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SOURCE_TYPES = (ACCESS_LOG, EVENTS, KAFKA)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_IN_FILE = {key.full_name: key for key in KEYS if key.section != SOURCE}


def load_pipeline(
    path: Path, *, overrides: Mapping[str, str] = _NOTHING, environment: Mapping[str, str]
) -> PipelineRule:
    """The pipeline that the TOML file at `path` settles.

    Paths in it are relative to its folder. `${NAME}` and `${NAME:-default}` in any text are filled from
    `environment`. `overrides` are values in place of the file's, by `section.key`, read as the file's texts are
    (relative paths too), lists with commas, and not filled.

    Raises `PipelineError`, with the line, for what is no TOML, unknown sections and keys, missing ones and values
    that cannot be; `UsageError` for such overrides; `UnreadableSourceError` if the file cannot be read.
    """
    return _open_file(path, environment).load(overrides)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A TOML file that has been read: what is in it and where, and what its texts are filled from."""

    path: Path
    folder: Path
    document: Mapping[str, Any]
    places: Mapping[Place, int]
    environment: Mapping[str, str]

    def load(self, overrides: Mapping[str, str]) -> PipelineRule:
        self._check_sections()
        settings = {
            section: self._read_table((section,), self.document.get(section, {}), keys)
            for section, keys in SECTIONS.items()
            if section != SOURCE
        }
        for name, text in overrides.items():
            key = _find_setting(name)
            settings[key.section][key.name] = _override(key, text, self.folder)
        anonymized = self._read_anonymize(settings) if settings["anonymize"] else None
        for section, values in settings.items():
            self._complete((section,), values, SECTIONS[section].values())
        tables = self.document.get(SOURCE, [])
        if not tables:
            raise self._error((), "no [[source]]; a pipeline has at least one, with `type` and `paths` or `topic`")
        sources: list[Source] = []
        for number, table in enumerate(tables):
            source = self._read_source((SOURCE, number), table)
            with self._naming((SOURCE, number)):
                check_source(source, sources, settings["pipeline"]["lake"])
            sources.append(source)
        with self._naming(("kafka",)):
            kafka = _build_kafka(settings["kafka"])
        with self._naming(("topics",)):
            topics = _build_topics(settings["topics"], settings["pipeline"]["name"])
            check_kafka(kafka, sources, topics)
        return _build(self.folder / self.path.name, settings, sources, kafka=kafka, topics=topics, anonymize=anonymized)

    def _check_sections(self) -> None:
        for section, table in self.document.items():
            if section not in SECTIONS and not isinstance(table, (dict, list)):
                homes = [header(home) for home, keys in SECTIONS.items() if section in keys]
                hint = f"write it below {homes[0]}" if homes else f"sections are {_list_headers()}"
                raise self._error((section,), f"`{section}` is outside any section; {hint}")
            if section not in SECTIONS:
                near = get_close_matches(section, SECTIONS, n=1, cutoff=0.5)
                hint = f"did you mean {header(near[0])}?" if near else f"known are {_list_headers()}"
                raise self._error((section,), f"unknown section [{section}]; {hint}")
            is_right = isinstance(table, dict) if section != SOURCE else _is_tables(table)
            if not is_right:
                raise self._error(
                    (section,), f"`{section}` is not written so; begin the section with {header(section)}"
                )

    def _read_table(self, place: Place, table: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
        """The values that stand in `table`, by the name of their key."""
        values = {}
        for name, value in table.items():
            if name not in keys:
                raise self._error((*place, name), _describe_unknown(name, str(place[0]), keys))
            for entry, text in value.items() if keys[name].kind.is_table and isinstance(value, dict) else ():
                with self._naming((*place, name, entry)):  # each has a line of its own in a table of its own
                    _read(keys[name], {entry: text}, self.environment, self.folder)
            with self._naming((*place, name)):
                values[name] = _read(keys[name], value, self.environment, self.folder)
        return values

    def _complete(self, place: Place, values: dict[str, Any], keys: Iterable[Key]) -> None:
        """Put defaults in the place of what is absent."""
        for key in keys:
            if key.name in values:
                continue
            if key.is_required:
                example = f"{key.name} = {key.example}"
                raise self._error(place, f"{header(str(place[0]))} has no `{key.name}`; write it as `{example}`")
            values[key.name] = _absent(key, self.folder)

    def _read_anonymize(self, settings: Mapping[str, dict[str, Any]]) -> AnonymizeRule:
        """The rule of the second lake; hosts that causes count as the shop's own are its own here, too."""
        values = settings["anonymize"]
        if values.get("salt_command") and "salts" in values:
            hint = "both say where the salts come from; give one of them"
            raise self._error(("anonymize", "salt_command"), f"`salts` and `salt_command` {hint}")
        if values.get("salt_command") and values.get("create"):
            hint = "makes salts in the folder `salts`, and these come from `salt_command`; leave out one of them"
            raise self._error(("anonymize", "create"), f"`create` {hint}")
        self._complete(("anonymize",), values, [key for key in SECTIONS["anonymize"].values() if key.name != "lake"])
        if values.get("lake") is None:
            raise self._error(("anonymize",), '[anonymize] has no `lake`; write it as `lake = "anonymous"`')
        hosts = {*values["own_hosts"], *settings["causes"].get("own_hosts", ())}
        names = {name: values[name] for name in PASSING}
        with self._naming(("anonymize",)):
            return AnonymizeRule(
                lake=values["lake"],
                salts=values["salts"],
                salt_command=values["salt_command"],
                create=values["create"],
                privacy=replace(
                    PrivacyRule().allowing(**names | {"own_hosts": hosts}), cause_reach=values["cause_reach"]
                ),
            )

    def _read_source(self, place: Place, table: Mapping[str, Any]) -> Source:
        keys = SECTIONS[SOURCE]
        values = self._read_table(place, table, keys)
        of_type = values.get("type", "")
        if not of_type:
            hint = "write " + " or ".join(f'`type = "{known}"`' for known in SOURCE_TYPES)
            raise self._error(place, f"{header(SOURCE)} has no `type`; {hint}")
        with self._naming((*place, "type")):
            if of_type not in SOURCE_TYPES:
                raise UnknownNameError("source type", of_type, SOURCE_TYPES)
        fitting = [key for key in keys.values() if not key.of_types or of_type in key.of_types]
        if other := [name for name in values if keys[name] not in fitting]:
            types = " or ".join(f"`{each}`" for each in keys[other[0]].of_types)
            wanted = f"`{other[0]}` is for sources of type {types}, and this is of type `{of_type}`"
            raise self._error((*place, other[0]), wanted)
        self._complete(place, values, fitting)
        if of_type == KAFKA:
            topic = values["topic"]
            name, start = values["name"] or topic, values["start"]
            return KafkaSource(name=name, topic=topic, start=start, mapping=values["map"])
        first = table["paths"] if isinstance(table["paths"], str) else table["paths"][0]
        name, paths = values["name"] or fill_text(first, self.environment), values["paths"]
        if of_type == ACCESS_LOG:
            with self._naming(place):  # a format has not all fields that one may name
                return AccessLogSource(name=name, paths=paths, format=values["format"], fields=_make_fields(values))
        return EventsSource(name=name, paths=paths, mapping=values["map"], time_zone=values["time_zone"])

    @contextmanager
    def _naming(self, place: Place) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise self._error(place, str(error)) from None

    def _error(self, place: Place, message: str) -> PipelineError:
        return PipelineError(self.path, find_line(self.places, place), message)


def _open_file(path: Path, environment: Mapping[str, str]) -> _File:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        folder = path.parent.resolve()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PipelineError(path, line, "a byte that is no UTF-8; save the file as UTF-8") from None
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise UnreadableSourceError(printable_path(path), reason) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(path, *find_syntax_error(error, text)) from None
    return _File(path=path, folder=folder, document=document, places=find_lines(text), environment=environment)


def _read(key: Key, value: Any, environment: Mapping[str, str], folder: Path) -> Any:
    """The value that `value`, as TOML has it, stands for."""
    kind = key.kind
    if kind.is_table and isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        fill = (lambda text: text) if kind.is_literal else (lambda text: fill_text(text, environment))
        return _checked(key, {name: fill(text) for name, text in value.items()})
    if kind.is_flag and isinstance(value, bool):
        return _checked(key, value)
    if kind.is_list and isinstance(value, list) and all(isinstance(text, str) for text in value):
        return _checked(key, tuple(_read_one(key, fill_text(text, environment), folder) for text in value))
    if isinstance(value, str) and not (kind.is_table or kind.is_flag):
        one = _read_one(key, value if kind.is_literal else fill_text(value, environment), folder)
        return _checked(key, (one,) if kind.is_list else one)
    if kind.is_number and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _checked(key, _read_one(key, str(value), folder))
    raise UsageError(f"`{key.name}` is not written so; write it as `{key.name} = {key.example}`")


def _make_fields(values: Mapping[str, Any]) -> FieldRule:
    return FieldRule(
        keep=values["keep"] or (),
        cookies=values["cookies"] or {},
        queries=values["queries"] or {},
        client=values["client_ip"] and parse_client(values["client_ip"]),
        time_zone=values["time_zone"],
    )


def _read_one(key: Key, text: str, folder: Path) -> Any:
    if not text.strip():
        raise UsageError(f"`{key.name}` is empty; leave it out, or write it as `{key.name} = {key.example}`")
    if "\0" in text:
        raise UsageError(f"`{key.name}` holds a NUL; take it out")
    return key.kind.read(text, folder)


def _checked(key: Key, value: Any) -> Any:
    key.check(value)
    return value


def _absent(key: Key, folder: Path) -> Any:
    if key.default is not None:
        return _read_one(key, key.default, folder)
    if key.kind.is_table:
        return {}
    return () if key.kind.is_list else None


def _find_setting(name: str) -> Key:
    if name not in _IN_FILE:
        raise UnknownNameError("setting", name, _IN_FILE)
    return _IN_FILE[name]


def _override(key: Key, text: str, folder: Path) -> Any:
    try:
        if key.kind.is_list:
            return _checked(key, tuple(_read_one(key, one.strip(), folder) for one in text.split(",")))
        return _checked(key, _read_one(key, text, folder))
    except UsageError as error:
        raise UsageError(f"`{key.full_name}={text}`: {error}") from None


def _describe_unknown(name: str, section: str, keys: Mapping[str, Key]) -> str:
    homes = [header(home) for home, others in SECTIONS.items() if name in others]
    near = get_close_matches(name, keys, n=1, cutoff=0.5)
    if homes:
        hint = f"it belongs below {homes[0]}"
    else:
        hint = f"did you mean `{near[0]}`?" if near else "known are " + ", ".join(f"`{known}`" for known in keys)
    return f"unknown key `{name}` in {header(section)}; {hint}"


def _list_headers() -> str:
    return ", ".join(map(header, SECTIONS))


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)


_OF_MESSAGES = ("schemas", "keys", "seal_with")  # what is in the messages, however the cluster is reached


_NOTHING_SAID: tuple[object, ...] = (None, "", ())  # `0s` is said, and wrong


def _build_kafka(settings: Mapping[str, Any]) -> KafkaRule | None:
    """How Kafka is reached; None where nothing is said of it."""
    named: dict[str, Any] = {
        name: value for name, value in settings.items() if value not in _NOTHING_SAID and name not in _OF_MESSAGES
    }
    named |= {name: str(value) for name, value in named.items() if name.startswith("ssl_")}
    if "bootstrap_servers" not in named:
        return None
    return KafkaRule(**named)


def _build_topics(settings: Mapping[str, Any], pipeline: str) -> TopicsRule | None:
    if not any(topic for name, topic in settings.items() if name != "group"):
        return None
    return TopicsRule(**{**settings, "group": settings["group"] or f"m2-{pipeline}"})


def _build(
    path: Path, settings: Mapping[str, Mapping[str, Any]], sources: Iterable[Source], **more: Any
) -> PipelineRule:
    limits = dict(settings["visit"])
    max_ahead = limits.pop("max_ahead")
    return PipelineRule(
        path=path,
        sources=tuple(sources),
        visit=VisitRule(**limits),
        max_ahead=max_ahead,
        visitor=VisitorRule(**settings["visitor"]),
        enrichment=EnrichRule(country=CountryRule(**settings["country"])),
        causes=CauseRule(own_hosts=frozenset(settings["causes"]["own_hosts"])),
        redaction=RedactionRule(
            names=SECRET_NAMES | frozenset(settings["redaction"]["names"]), patterns=settings["redaction"]["patterns"]
        ),
        **{name: settings["kafka"][name] for name in _OF_MESSAGES},
        **more,
        **settings["pipeline"],
    )
