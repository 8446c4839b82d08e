"""A key and a certificate made for one run: who has them belongs to it, and nobody else gets in."""

from __future__ import annotations

import datetime
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SKEW = datetime.timedelta(days=1)
"""Clocks of nodes differ: a certificate that begins now is not yet valid on some of them."""

_LIFE = datetime.timedelta(days=365)


@dataclass(frozen=True, repr=False)
class Keys:
    """A self-signed certificate and its private key; all processes of a run hold the same two.

    Handed over MPI or a pipe, never in arguments, environment or files.
    """

    certificate: str
    """PEM."""
    private: str
    """PEM."""


def make_keys() -> Keys:
    """Return new keys: ECDSA on P-256, whose generation and handshakes take a tenth of RSA's time."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(tz=datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hpc-ds run")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Keys(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, *form).decode(),
    )


def tls_context(keys: Keys, purpose: ssl.Purpose) -> ssl.SSLContext:
    """Return a context that shows these keys and accepts a peer only if it has them too (TLS 1.3).

    Parameters
    ----------
    keys : Keys
        Of the run.
    purpose : ssl.Purpose
        ``SERVER_AUTH`` to connect, ``CLIENT_AUTH`` to listen.
    """
    context = ssl.create_default_context(purpose, cadata=keys.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # peers are known by their key, not by a name
    context.verify_mode = ssl.CERT_REQUIRED
    with _as_file(keys.certificate + keys.private) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Give `text` a path, as OpenSSL reads keys from paths only: in memory where Linux can, else a file (0600)."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        handle = os.memfd_create("keys", os.MFD_CLOEXEC)
        try:
            os.write(handle, text.encode())
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(text)
        file.flush()
        yield file.name
