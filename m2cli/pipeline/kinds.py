"""How the values of settings are written: texts, paths, globs, durations, sizes, and lists and tables of texts."""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2cli.errors import UsageError
from m2cli.settings import parse_duration, parse_reject_limit, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def _read_text(text: str, _base: Path) -> str:
    return text


def _read_path(text: str, base: Path) -> Path:
    return Path(_join(text, str(base)))


def _read_place(text: str, base: Path) -> str:
    return text if _URL.match(text) else _join(text, str(base))


def _read_glob(text: str, base: Path) -> str:
    """The folder of the file may have signs in its name that a glob would obey."""
    return _join(text, escape(str(base)))


def _join(text: str, base: str) -> str:
    if _URL.match(text):
        raise UsageError(f"`{text}` is a URL, and only files are read and written; name a path")
    if text.startswith("~"):
        raise UsageError(f"`{text}` begins with `~`, which stands for nothing here; write `${{HOME}}{text[1:]}`")
    return os.path.normpath(os.path.join(base, text))  # noqa: PTH118  # globs are no paths


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a value is written; `read` makes the value of a text, given the file's folder.

    `is_list`: one text or a list of them; `is_table`: a table of texts; `is_number`: what stands there without
    quotes is read as the text that it is, and refused, or not, as such; `is_flag`: `true` or `false`; `is_literal`: a
    dollar is a dollar.
    """

    read: Callable[[str, Path], Any] = _read_text
    is_list: bool = False
    is_table: bool = False
    is_number: bool = False
    is_flag: bool = False
    is_literal: bool = False


def _read_flag(text: str, _base: Path) -> bool:
    if text not in {"true", "false"}:
        raise UsageError(f"`{text}` is neither `true` nor `false`")
    return text == "true"


TEXT = Kind()
FLAG = Kind(read=_read_flag, is_flag=True)
LITERAL = Kind(is_literal=True)
TEXTS = Kind(is_list=True)
TABLE = Kind(is_table=True)
LITERALS = Kind(is_table=True, is_literal=True)
PATH = Kind(read=_read_path)
PLACE = Kind(read=_read_place)
"""A folder, or a URL."""
GLOBS = Kind(read=_read_glob, is_list=True)
DURATION = Kind(read=lambda text, _: parse_duration(text), is_number=True)
SIZE = Kind(read=lambda text, _: parse_size(text), is_number=True)
REJECT_LIMIT = Kind(read=lambda text, _: parse_reject_limit(text), is_number=True)
