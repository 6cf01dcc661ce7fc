"""What the text of one field says: its value as text, null where it says nothing, durations in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.logs.formats.kinds import ADDRESS_OR_PORT

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field

_DIGITS = {"ms": 3, "us": 6, "ns": 9}


def null_if_none(name: str, *others: str) -> pl.Expr:
    """The column `name`; null where it is a hyphen, empty, or one of `others`."""
    return pl.when(~pl.col(name).is_in(("-", "", *others))).then(pl.col(name))


def read_value(field: Field, none: tuple[str, ...] = ()) -> pl.Expr:
    """What `field` says, as String, whatever the server's unit and signs for nothing."""
    if field.kind.groups == ("address", "port"):
        return _plain_address(null_if_none(field.columns[0]))
    if field.kind.groups != ("",):
        text = pl.concat_str(field.columns, separator=" ", ignore_nulls=True) if field.columns else pl.lit("")
        return pl.when(text != "").then(text)
    if field.kind.type == "duration":
        return _seconds(pl.col(field.name), field.kind.unit)
    if field.kind is ADDRESS_OR_PORT:
        text = null_if_none(field.name)
        return pl.coalesce(
            text.str.extract(r"^\[([^\]]+)\](?::[0-9]+)?$", 1), text.str.extract(r"^([^:]+):[0-9]+$", 1), text
        )
    return null_if_none(field.name, *none)


def _plain_address(text: pl.Expr) -> pl.Expr:
    """An address of version 6 without the brackets that part it from its port."""
    return text.str.strip_chars("[]")


def _seconds(text: pl.Expr, unit: str) -> pl.Expr:
    """A duration in seconds, as a decimal number; null where it is below zero: load balancers write -1 for none."""
    text = pl.when(text.str.contains(r"^[0-9]+(?:\.[0-9]+)?$")).then(text)
    if unit not in _DIGITS:
        return text
    digits = _DIGITS[unit]
    parts = text.str.splitn(".", 2).struct
    whole = parts.field("field_0").str.zfill(digits + 1)
    fraction = whole.str.tail(digits) + parts.field("field_1").fill_null("")
    return pl.concat_str(whole.str.head(-digits), fraction, separator=".")
