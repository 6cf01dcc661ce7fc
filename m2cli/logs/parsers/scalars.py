"""What one value of a JSON object says, as text: numbers as they are written, nothing for what is no single value."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_ESCAPED_BYTES = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+")


def parse_object(line: str) -> dict[str, Any] | None:
    r"""The object that `line` is, numbers as text; None if it is none. Of two equal keys the last counts.

    Takes what nginx writes without `escape=json` too: `\x22`, which is no JSON.
    """
    document = _parse(line)
    if document is None and "\\x" in line:
        document = _parse(_ESCAPED_BYTES.sub(_unescape, line))
    return document if isinstance(document, dict) else None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_write_out, parse_int=str, strict=False)
    except (ValueError, RecursionError):
        return None


def _unescape(found: re.Match[str]) -> str:
    data = bytes.fromhex(found[0].replace("\\x", ""))
    return json.dumps(data.decode(errors="backslashreplace"), ensure_ascii=False)[1:-1]


def _write_out(text: str) -> str:
    """A number without an exponent: `5e-05` is `0.00005`."""
    if "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return text if abs(number.adjusted()) > 30 else format(number, "f")  # nobody's time, size or duration


def write_value(value: Any) -> str | None:
    """`value`, of a parsed object, as text; None if it is no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _drop_surrogates(value) if isinstance(value, str) else None


def read_scalar(text: str, *, is_list: bool) -> str | None:
    """What the JSON `text` says, or if it is expected to be a list, its first item."""
    value = _parse(text)
    return write_value((value[0] if value else None) if is_list and isinstance(value, list) else value)


def _drop_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()
