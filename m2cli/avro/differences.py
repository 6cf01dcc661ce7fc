"""What is not the same in two schemas of one fingerprint, or in any two values of JSON, a line each."""

from __future__ import annotations

import json
from typing import Any

MOST = 20


def describe_differences(old: Any, new: Any) -> list[str]:
    """The differences of two schemas, each at its place: `fields.when.type.logicalType: "a" is not "b"`."""
    found: list[str] = []
    _compare(old, new, "", found)
    return found if len(found) <= MOST else [*found[:MOST], f"and {len(found) - MOST:,} more"]


def _compare(old: Any, new: Any, place: str, found: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{place}.{key}" if place else key
            if key not in new:
                found.append(f"{inner}: {_show(old[key])} is not there any more")
            elif key not in old:
                found.append(f"{inner}: {_show(new[key])} was not there")
            else:
                _compare(old[key], new[key], inner, found)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            name = one.get("name", index) if isinstance(one, dict) else index
            _compare(one, other, f"{place}.{name}" if place else str(name), found)
    elif old != new or type(old) is not type(new):
        found.append(f"{place or 'the schema'}: {_show(old)} is not {_show(new)}")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
