"""The log formats that a server's own configuration settles: nginx.conf or httpd.conf, and all that they include."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NGINX_DEFAULT = "nginx"
_TOKEN = re.compile(
    r"""#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([;{}])|((?:\$\{\w+\}|\\.|[^\s;{}"'#])[^\s;{}]*)""", re.DOTALL
)
_APACHE_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_IS_NGINX = re.compile(
    r"^\s*(?:log_format|access_log|http|server|events|worker_processes|user|include)\b[^\n]*[;{]\s*(?:#.*)?$",
    re.MULTILINE,
)
_IS_APACHE = re.compile(
    r"^\s*(?:LogFormat|CustomLog|ServerRoot|TransferLog|Include|IncludeOptional|<VirtualHost)\b",
    re.MULTILINE | re.IGNORECASE,
)


class WrittenLog(NamedTuple):
    """A log that a server writes, and the layout it writes it with."""

    path: str
    layout: str


@dataclass
class Configured:
    """What configurations say of logs: layouts by name, and which log is written with which."""

    layouts: dict[str, str] = field(default_factory=dict)
    logs: list[WrittenLog] = field(default_factory=list)

    def choose(self, logs: Sequence[str]) -> str:
        """The layouts of `logs`, one a line: of those that are written under their names, else of all, else all."""
        names = {_stem(log) for log in logs}
        named = [log.layout for log in self.logs if _stem(log.path) in names]
        found = named or [log.layout for log in self.logs] or list(self.layouts.values())
        return "\n".join(dict.fromkeys(found))


def _stem(path: str) -> str:
    """The name of a log, without what rotation adds behind it."""
    name = Path(path).name
    return re.sub(r"(?:[-.]\d[\d_.-]*)?(?:\.(?:gz|bz2|zst))?$", "", name) or name


def read_config(path: Path) -> Configured:
    """The log formats and logs that the configuration at `path` settles, of nginx or of Apache.

    Raises `UnreadableSourceError` for a file that cannot be read, `UsageError` for one without any format.
    """
    text = _read(path)
    found = Configured()
    if _IS_APACHE.search(text) and not _IS_NGINX.search(text):
        _Apache(found, path).read(path, text)
    else:
        _Nginx(found, path.parent).read(path, text)
    if not (found.layouts or found.logs):
        raise UsageError(
            f"`{printable_path(path)}` settles no log format: neither `log_format` or `access_log`, as nginx.conf, "
            "nor `LogFormat` or `CustomLog`, as httpd.conf"
        )
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnreadableSourceError(printable_path(path), error.strerror or str(error)) from error


def _find_included(pattern: str, base: Path, by: Path) -> Iterator[Path]:
    """The files that `pattern` names; as servers do, none for a glob that matches nothing, an error for a path."""
    whole = str(base / pattern)
    if glob.has_magic(whole):
        found = sorted(glob.glob(whole))  # noqa: PTH207  # patterns may be absolute, which Path.glob refuses
        yield from (Path(name) for name in found if Path(name).is_file())
    elif Path(whole).is_dir():
        yield from sorted(each for each in Path(whole).rglob("*") if each.is_file())
    elif Path(whole).is_file():
        yield Path(whole)
    else:
        raise UsageError(f"`{printable_path(by)}` includes `{pattern}`, and there is no such file at `{whole}`")


class _Nginx:
    """nginx.org/en/docs/http/ngx_http_log_module.html; paths are relative to the folder of the first file."""

    def __init__(self, found: Configured, base: Path) -> None:
        self._found, self._base = found, base
        self._seen: set[Path] = set()
        self._unresolved: list[tuple[str, str]] = []

    def read(self, path: Path, text: str) -> None:
        self._read_file(path, text)
        for log, name in self._unresolved:  # a format may be settled behind the log that is written with it
            layout = self._found.layouts.get(name, _NGINX_DEFAULT if name == "combined" else "")
            if layout:
                self._found.logs.append(WrittenLog(log, layout))

    def _read_file(self, path: Path, text: str) -> None:
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        words: list[str] = []
        for token in _TOKEN.finditer(text):
            double, single, sign, word = token.groups()
            if sign:
                if sign == ";":
                    self._take(path, words)
                words = []
            elif word is not None:
                words.append(word)
            elif double is not None or single is not None:
                words.append(_unquote(double if double is not None else single))

    def _take(self, path: Path, words: list[str]) -> None:
        match words:
            case ["include", pattern]:
                for included in _find_included(pattern, self._base, path):
                    self._read_file(included, _read(included))
            case ["log_format", name, *parts]:
                escape = f"{parts[0]} " if parts and parts[0].startswith("escape=") else ""
                layout = "".join(parts[1:] if escape else parts)
                self._found.layouts[name] = layout if escape in ("", "escape=default ") else escape + layout
            case ["access_log", log, *rest] if log != "off":
                name = rest[0] if rest and "=" not in rest[0] else "combined"
                self._unresolved.append((log, name))


_SIGNS = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _SIGNS.get(found[1], found[0]), text)


class _Apache:
    """httpd.apache.org/docs/2.4/mod/mod_log_config.html; paths are relative to `ServerRoot`, else to the folder."""

    def __init__(self, found: Configured, path: Path) -> None:
        self._found, self._root = found, path.parent
        self._seen: set[Path] = set()
        self._unresolved: list[tuple[str, str]] = []
        self._transfer = "common"

    def read(self, path: Path, text: str) -> None:
        self._read_file(path, text)
        for log, name in self._unresolved:
            is_layout = "%" in name
            layout = name if is_layout else self._found.layouts.get(name, "")
            if layout:
                self._found.logs.append(WrittenLog(log, layout))

    def _read_file(self, path: Path, text: str) -> None:
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            words = [_unescape(found) for found in _APACHE_WORD.finditer(line)]
            if words and not words[0].startswith("#"):
                self._take(path, words[0].lower(), words[1:])

    def _take(self, path: Path, directive: str, words: list[str]) -> None:
        match directive, words:
            case "serverroot", [root, *_]:
                self._root = Path(root) if Path(root).is_dir() else self._root
            case (("include" | "includeoptional"), [pattern, *_]):
                self._include(pattern, path, is_optional=directive == "includeoptional")
            case "logformat", [layout]:
                self._found.layouts[""] = layout  # of TransferLog
            case "logformat", [layout, name, *_]:
                self._found.layouts[name] = layout
            case "customlog", [log, name, *_]:
                self._unresolved.append((log, name))
            case "transferlog", [log, *_]:
                self._unresolved.append((log, "" if "" in self._found.layouts else '%h %l %u %t "%r" %>s %b'))

    def _include(self, pattern: str, path: Path, *, is_optional: bool) -> None:
        try:
            included = list(_find_included(pattern, self._root, path))
        except UsageError:
            if is_optional or "${" in pattern:
                return
            raise
        for each in included:
            self._read_file(each, _read(each))


def _unescape(found: re.Match[str]) -> str:
    quoted, word = found.groups()
    return word if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
