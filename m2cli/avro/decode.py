"""Messages of a topic made into events: each read by the schema it was written by, and resolved into the event."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.avro.bodies import Rows, build_rows, read_bodies, refuse
from m2cli.avro.cipher import SEALED, UNKNOWN_KEY, Opened
from m2cli.avro.container import read_container
from m2cli.avro.exact import UnreadableError
from m2cli.avro.kinds import (
    CONFLUENT_HEADER,
    CONFLUENT_KIND,
    CONTAINER_KIND,
    JSON_KIND,
    SINGLE_HEADER,
    SINGLE_KIND,
    TOMBSTONE_KIND,
    is_all_single,
    tell_kinds,
)
from m2cli.avro.own import WHERE_FROM
from m2cli.avro.raws import decode_raw, encode_raw, encode_whole
from m2cli.avro.resolve import check_mapping, choose_fields, take_out
from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA, Intake
from m2cli.files.blocks import WRONG, TextBlock
from m2cli.files.ndjson import parse_block
from m2cli.files.rule import INPUT_COLUMNS, FileRule
from m2cli.files.shape import DEFAULT_TYPE, choose_columns, type_rows
from m2cli.files.texts import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from m2cli.avro.cipher import Cipher
    from m2cli.avro.schema import AvroSchema
    from m2cli.avro.stores import SchemaStore

UNKNOWN_SCHEMA = "unknown_schema"


class _Piece(NamedTuple):
    """Events of one schema, the `places` of their messages, and rejects (index, reason, raw)."""

    events: pl.DataFrame
    places: pl.Series
    rejects: pl.DataFrame


class Decoder:
    """Makes events of messages: single-object Avro, Confluent's framing, container files and JSON, in any mix.

    `store`: where schemas are found. `mapping`: event column -> field, for writers that name theirs otherwise;
    `entity.type` is a field within a record. `codec`: opens what is encrypted. `time_zone`: of times without one.

    Raises `UsageError` for a mapping of what the topic says, `UnknownNameError` for one of no event column.
    """

    def __init__(
        self,
        store: SchemaStore,
        mapping: Mapping[str, str] | None = None,
        codec: Cipher | None = None,
        *,
        time_zone: str = "UTC",
    ) -> None:
        self._store, self._codec = store, codec
        self._rule = FileRule(mapping=dict(mapping or {}), time_zone=time_zone)
        check_mapping(self._rule.mapping)

    def decode(self, messages: pl.DataFrame) -> Intake:
        """The events of `messages`, in the order of these, and what could not be one, with the reason.

        `messages`: `value` (Binary, null is a tombstone), `source` (String, the partition), `position_in_source`
        (Int64, the offset), `arrival_time` (UTC, microseconds). All but the first are the event's, whatever its
        schema says of them. An event without an `event_id` field is called `source-position_in_source` (and
        `-row` in a container). A container file is as many messages as it has rows.

        A reject's `raw` is what `decode_raw` makes a message of again: of an unknown schema or key the whole message
        (reason `unknown_schema` or `unknown_key`), of one that is readable its fields as JSON, else its bytes.
        """
        self._store.refresh()
        opened = self._open(messages)
        pieces = [_name(piece, messages) for piece in (opened.piece, *self._decode_kinds(opened.values))]
        events, index = _join_events(pieces)
        rejects = pl.concat([piece.rejects for piece in pieces]).sort("index", maintain_order=True)
        tombstone_count = messages["value"].null_count()
        row_count = len(index) + rejects.height
        is_told = pl.concat([index, rejects["index"]]).n_unique() + tombstone_count
        empty_count = messages.height - is_told  # container files without rows
        return Intake(
            events=_place(events, index, messages),
            rejects=_describe(rejects, messages),
            read_count=row_count + tombstone_count + empty_count,
            ignored_count=tombstone_count + empty_count,
        )

    def _open(self, messages: pl.DataFrame) -> _Opened:
        """The messages that need be read, with their places: without tombstones, and opened."""
        numbered = messages.select(index=pl.int_range(pl.len(), dtype=pl.Int64), value=pl.col("value").cast(pl.Binary))
        values = numbered.filter(pl.col("value").is_not_null())
        is_sealed = values["value"].bin.starts_with(self._codec.mark if self._codec else SEALED)
        if not is_sealed.any():
            return _Opened(values, _no_piece())
        sealed = values.filter(is_sealed)
        opened, reasons = self._codec.open(sealed["value"]) if self._codec else _open_none(sealed["value"])
        failed = sealed.with_columns(reason=reasons).filter(opened.is_null())
        rejects = _keep(failed.select("index", "reason"), encode_whole(failed["value"]))
        now = sealed.with_columns(value=opened).filter(pl.col("value").is_not_null())
        values = pl.concat([values.filter(~is_sealed), now]).sort("index")
        return _Opened(values, _no_piece()._replace(rejects=rejects))

    def _decode_kinds(self, values: pl.DataFrame) -> Iterator[_Piece]:
        if is_all_single(values["value"]):
            yield from self._decode_by_schema(values, 2, SINGLE_HEADER)
            return
        kinds = tell_kinds(values["value"])
        for kind in kinds.unique(maintain_order=True):
            mine = values if (kinds == kind).all() else values.filter(kinds == kind)
            if kind == SINGLE_KIND:
                yield from self._decode_by_schema(mine, 2, SINGLE_HEADER)
            elif kind == CONFLUENT_KIND:
                yield from self._decode_by_schema(mine, 1, CONFLUENT_HEADER)
            elif kind == CONTAINER_KIND:
                yield from self._decode_containers(mine)
            elif kind == JSON_KIND:
                yield self._decode_json(mine)
            elif kind != TOMBSTONE_KIND:
                raws = encode_raw(mine["value"])
                yield _no_piece()._replace(rejects=_keep(refuse(mine["index"], kind), raws))

    def _decode_by_schema(self, values: pl.DataFrame, mark_size: int, header_size: int) -> Iterator[_Piece]:
        is_id = header_size == CONFLUENT_HEADER
        name = pl.col("value").bin.slice(mark_size, header_size - mark_size)
        named = values.with_columns(name=name)
        found = {name: self._find(name, is_id=is_id) for name in named["name"].unique(maintain_order=True)}
        known = {name: schema for name, schema in found.items() if schema is not None}
        if len(known) < len(found):
            unknown = named.filter(~pl.col("name").is_in(list(known)))
            rejects = _keep(refuse(unknown["index"], UNKNOWN_SCHEMA), encode_whole(unknown["value"]))
            yield _no_piece()._replace(rejects=rejects)
        for each, schema in known.items():
            mine = named if len(found) == 1 else named.filter(pl.col("name") == pl.lit(each))
            chosen = self._choose(schema)
            for rows in read_bodies(schema.type, mine["value"], mine["index"], header_size):
                yield self._shape(rows, chosen, mine)

    def _find(self, name: bytes, *, is_id: bool) -> AvroSchema | None:
        return self._store.find_id(int.from_bytes(name, "big")) if is_id else self._store.find(name)

    def _decode_containers(self, values: pl.DataFrame) -> Iterator[_Piece]:
        for index, value in values.select("index", "value").iter_rows():
            place = pl.Series("index", [index], dtype=pl.Int64)
            mine = values.filter(pl.col("index") == index)
            try:
                schema, contents = read_container(value)
            except UnreadableError as error:
                yield _no_piece()._replace(rejects=_keep(refuse(place, str(error)), encode_raw(mine["value"])))
                continue
            if not contents:
                continue
            places = place.new_from_index(0, len(contents))
            if schema.type.kind == "record" and schema.type.fields:
                rows = build_rows(schema.type, contents, places)
                yield self._number(self._shape(rows, self._choose(schema), mine), rows)
            else:
                for rows in read_bodies(schema.type, mine["value"], place, 0):
                    yield self._shape(rows, {}, mine)

    def _number(self, piece: _Piece, rows: Rows) -> _Piece:
        """The rows of a container with numbers, to be told apart by."""
        if "event_id" in piece.events.columns or piece.events.height != rows.rows.height:
            return piece
        return piece._replace(events=piece.events.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64)))

    def _decode_json(self, values: pl.DataFrame) -> _Piece:
        """Objects of JSON, one a message; as rows of an event file in NDJSON are read."""
        flat = [text.replace(b"\n", b" ").replace(b"\r", b" ") for text in values["value"].to_list()]
        block = parse_block(TextBlock(data=b"\n".join(flat) + b"\n", first_byte=0, first_line=0), self._rule.mapping)
        index = values["index"].gather(block.index)
        wrong = block.wrong.with_columns(index=values["index"].gather(block.wrong["index"]))
        chosen = choose_columns(block.rows.columns, self._rule.mapping)
        chosen = {name: column for name, column in chosen.items() if name not in WHERE_FROM}
        typed = type_rows(block.rows, index, chosen, self._rule)
        rejects = pl.concat([wrong, typed.wrong])
        return _Piece(typed.events, typed.places, _keep_bytes(rejects, values))

    def _shape(self, rows: Rows, chosen: Mapping[str, str], values: pl.DataFrame) -> _Piece:
        """Rows as events, and as rejects those that are none, in their own fields."""
        rejects = _keep_bytes(rows.wrong, values)
        if not rows.rows.height:
            return _no_piece()._replace(rejects=rejects)
        taken = take_out(rows.rows, chosen)
        typed = type_rows(taken, rows.places, chosen, self._rule)
        if typed.wrong.height:
            is_wrong = pl.int_range(rows.rows.height, eager=True)
            numbered = type_rows(taken, is_wrong, chosen, self._rule).wrong["index"]
            rejects = pl.concat([rejects, _keep(typed.wrong, _to_json(take_out(rows.rows[numbered], {})))])
        return _Piece(typed.events, typed.places, rejects)

    def _choose(self, schema: AvroSchema) -> dict[str, str]:
        relatives = [each.type for each in self._store.list() if each.name == schema.name]
        return choose_fields(schema.type, self._rule.mapping, relatives)


class _Opened(NamedTuple):
    values: pl.DataFrame
    piece: _Piece


_REJECT = {**WRONG, "raw": pl.String}


def _open_none(messages: pl.Series) -> Opened:
    """Without any key: none is known."""
    count = len(messages)
    nothing = pl.Series([None], dtype=pl.Binary).new_from_index(0, count)
    return Opened(nothing, pl.Series([UNKNOWN_KEY], dtype=pl.String).new_from_index(0, count))


def _no_piece() -> _Piece:
    return _Piece(pl.DataFrame(), pl.Series("index", [], dtype=pl.Int64), pl.DataFrame(schema=_REJECT))


def _keep(wrong: pl.DataFrame, raws: pl.Series) -> pl.DataFrame:
    return wrong.with_columns(raw=raws).select(list(_REJECT)).cast(_REJECT)  # type: ignore[arg-type]  # classes


def _keep_bytes(wrong: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """What is wrong, with the bytes of its message."""
    if not wrong.height:
        return pl.DataFrame(schema=_REJECT)
    raws = values.join(wrong, on="index", how="right", maintain_order="right")["value"]
    return _keep(wrong, encode_raw(raws))


def _to_json(rows: pl.DataFrame) -> pl.Series:
    """Each row as one object of JSON, in the writer's own names; what is null is left out."""
    texts = rows.select(to_text(column).alias(column.name) for column in rows)
    return texts.select(pl.struct(pl.all()).struct.json_encode()).to_series()


def _join_events(pieces: list[_Piece]) -> tuple[pl.DataFrame, pl.Series]:
    """All events, in the order of their messages."""
    kept = [piece for piece in pieces if piece.events.height]
    if not kept:
        return pl.DataFrame(schema={"event_time": EVENT_SCHEMA["event_time"]}), _no_piece().places
    index = pl.concat([piece.places for piece in kept])
    events = pl.concat([piece.events for piece in kept], how="diagonal")
    if index.is_sorted():
        return events, index
    order = index.to_frame("index").select(pl.arg_sort_by("index", maintain_order=True)).to_series()
    return events.rechunk()[order], index.gather(order)


def _name(piece: _Piece, messages: pl.DataFrame) -> _Piece:
    """Events whose schema has no `event_id`, called by their places."""
    if "event_id" in piece.events.columns or not piece.events.height:
        return piece
    place = messages.select("source", "position_in_source")[piece.places]
    parts = [place["source"], place["position_in_source"].cast(pl.String)]
    if "row" in piece.events.columns:
        parts.append(piece.events["row"].cast(pl.String))
    named = piece.events.drop("row", strict=False).with_columns(event_id=pl.concat_str(parts, separator="-"))
    return piece._replace(events=named)


def _place(events: pl.DataFrame, index: pl.Series, messages: pl.DataFrame) -> pl.DataFrame:
    """`events` with where they came from, and what kind they are where they do not say it."""
    where = _where(messages)
    is_all = len(index) == messages.height and bool((index == pl.int_range(len(index), eager=True)).all())
    where = where if is_all else where[index]
    events = events.with_columns(where)
    if "event_type" not in events.columns:
        events = events.with_columns(event_type=pl.lit(DEFAULT_TYPE))
    elif events["event_type"].null_count():
        events = events.with_columns(pl.col("event_type").fill_null(DEFAULT_TYPE))
    return events.select(name for name in INPUT_COLUMNS if name in events.columns)


def _where(messages: pl.DataFrame) -> pl.DataFrame:
    names = ("source", "position_in_source", "arrival_time")
    return messages.select(pl.col(name).cast(EVENT_SCHEMA[name]) for name in names)


def _describe(rejects: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """The rejects as REJECT_SCHEMA has them, each with the place of its message."""
    where = _where(messages)[rejects["index"]]
    described = rejects.hstack(where).with_columns(
        part_id=pl.lit(None), file=pl.col("source"), line_number=pl.lit(None)
    )
    return described.select(list(REJECT_SCHEMA)).cast(REJECT_SCHEMA)  # type: ignore[arg-type]  # classes


__all__ = ["UNKNOWN_SCHEMA", "Decoder", "decode_raw", "encode_raw", "encode_whole"]
