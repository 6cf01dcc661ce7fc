"""Encryption of messages as a place to plug in, and the one cipher that m2 brings: AES-GCM."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from m2cli.errors import ExitCode, M2Error, UnreadableSourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEALED = b"M2S\x01"  # what AES-GCM's envelopes begin with, and nothing of Avro
UNKNOWN_KEY = "unknown_key"
NOT_OPENED = "it is encrypted, and cannot be opened: it was changed, or its key is another one of the same id"
CUT_SHORT = "it is encrypted, and cut short"
_SALT_SIZE, _COUNT_SIZE, _TAG_SIZE = 16, 4, 16
_KEY_SIZES = (16, 24, 32)
KEY_SUFFIX = ".key"


class Opened(NamedTuple):
    """Messages as they were before they were sealed, null where that cannot be; and there why (String)."""

    messages: pl.Series
    reasons: pl.Series


class Cipher(Protocol):
    """What the side that measures and the side that stores share.

    It may work on the whole message, as m2's does, so that plain and sealed ones can be mixed in a topic: `mark` is
    what sealed messages begin with. No message of Avro begins with it, nor with what m2 knows.
    """

    mark: bytes

    def seal(self, messages: pl.Series) -> pl.Series:
        """Messages (Binary, without nulls) as they travel."""

    def open(self, messages: pl.Series) -> Opened:
        """Messages that begin with `mark`; of an unknown key the reason is `unknown_key`."""


class BadKeyError(M2Error):
    """A key that is missing, readable by others, or no key."""

    exit_code = ExitCode.PRIVACY


class AesGcm:
    """AES-GCM around each message: `M2S` 01, key id, salt, number, sealed message with its tag.

    A key seals any number of messages: each call of `seal` derives a key of its own from it and a random salt
    (HKDF-SHA256), and counts its messages as nonces. (Random nonces of 12 bytes are safe for 4 billion messages, which
    is a day at 50,000 a second.) What stands before the sealed part is authenticated too.
    """

    mark = SEALED

    def __init__(
        self, keys: Mapping[str, bytes], key_id: str | None = None, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        for name, key in keys.items():
            if len(key) not in _KEY_SIZES:
                raise BadKeyError(f"the key `{name}` has {len(key)} bytes; keys of AES have 16, 24 or 32")
            if not 0 < len(name.encode()) < 256:
                raise BadKeyError(f"the id `{name}` of a key is empty or too long")
        if key_id is not None and key_id not in keys:
            raise BadKeyError(f"there is no key `{key_id}`; known are {', '.join(sorted(keys)) or 'none'}")
        self._keys, self._key_id, self._random = dict(keys), key_id, random
        self._derived: dict[tuple[str, bytes], AESGCM] = {}

    def seal(self, messages: pl.Series) -> pl.Series:
        """See `Cipher`. Raises `UsageError` where no key was named to seal with."""
        if self._key_id is None:
            raise UsageError("with which key? none was named to encrypt with")
        salt, name = self._random(_SALT_SIZE), self._key_id.encode()
        head = SEALED + bytes([len(name)]) + name + salt
        cipher = self._derive(self._key_id, salt)
        sealed = []
        for count, message in enumerate(messages.to_list()):
            number = count.to_bytes(_COUNT_SIZE, "big")
            sealed.append(head + number + cipher.encrypt(_nonce(number), message, head + number))
        return pl.Series(messages.name, sealed, dtype=pl.Binary)

    def open(self, messages: pl.Series) -> Opened:
        """See `Cipher`."""
        self._derived.clear()  # salts are those of a batch
        opened = [self._open(message) for message in messages.to_list()]
        return Opened(
            pl.Series(messages.name, [message for message, _ in opened], dtype=pl.Binary),
            pl.Series("reason", [reason for _, reason in opened], dtype=pl.String),
        )

    def _open(self, message: bytes) -> tuple[bytes | None, str | None]:
        from cryptography.exceptions import InvalidTag

        name_end = len(SEALED) + 1 + (message[len(SEALED)] if len(message) > len(SEALED) else 0)
        salt_end = name_end + _SALT_SIZE
        head_end = salt_end + _COUNT_SIZE
        if len(message) < head_end + _TAG_SIZE:
            return None, CUT_SHORT
        key_id = message[len(SEALED) + 1 : name_end].decode("utf-8", "replace")
        if key_id not in self._keys:
            return None, UNKNOWN_KEY
        cipher = self._derive(key_id, message[name_end:salt_end])
        try:
            nonce = _nonce(message[salt_end:head_end])
            return cipher.decrypt(nonce, message[head_end:], message[:head_end]), None
        except InvalidTag:
            return None, NOT_OPENED

    def _derive(self, key_id: str, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if (key_id, salt) not in self._derived:
            key = self._keys[key_id]
            derived = HKDF(SHA256(), length=len(key), salt=salt, info=SEALED + key_id.encode()).derive(key)
            self._derived[key_id, salt] = AESGCM(derived)
        return self._derived[key_id, salt]


def read_keys(folder: Path) -> dict[str, bytes]:
    """The keys in `folder` by their ids: files `ID.key`, of hexadecimal digits, that nobody else can read.

    Raises `BadKeyError` for one that others can read, or that is none; its content is never shown.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == KEY_SUFFIX)
        return {path.stem: _read_key(path) for path in paths}
    except OSError as error:
        raise UnreadableSourceError(error.filename or folder, (error.strerror or "").lower()) from error


def _read_key(path: Path) -> bytes:
    with path.open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise BadKeyError(f"others can read the key `{path}`; say `chmod 600 {path}`, and make a new key")
        content = stream.read(1 << 10)
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) not in _KEY_SIZES:
        raise BadKeyError(f"`{path}` is no key; write 32, 48 or 64 hexadecimal digits, as `openssl rand -hex 32` does")
    return key


def _nonce(number: bytes) -> bytes:
    return bytes(12 - len(number)) + number
