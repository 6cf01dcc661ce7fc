"""Certificates for a broker of tests: an authority of the test's own, and what it has signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

HOST = "localhost"
_BITS = 2048


def write_certificates(folder: Path) -> None:
    """Write `authority.pem`, whose signature is to be trusted, and `server.pem`: a key, and its certificate."""
    authority, its_key = _sign("an authority", None, None)
    server, key = _sign(HOST, authority, its_key)
    (folder / "authority.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(private + server.public_bytes(Encoding.PEM))


def _sign(
    name: str, issuer: x509.Certificate | None, issuer_key: rsa.RSAPrivateKey | None
) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate for `name` and its key; signed by itself if there is no issuer."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer_key or key, hashes.SHA256())
    )
    return signed, key
