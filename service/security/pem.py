"""PEM files of certificates and private keys, checked where a mistake can still be named."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

_ENCRYPTED = (b"ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


def read_authorities(path: str | os.PathLike[str]) -> bytes:
    """The certificates of authorities to trust.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no certificate.
    """
    content = Path(path).read_bytes()
    try:
        ssl.create_default_context(cadata=content.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise ValueError(
            f"{os.fspath(path)} holds no certificate of an authority in PEM format; give the file "
            "that begins with -----BEGIN CERTIFICATE-----"
        ) from None
    return content


def read_pair(
    certificate: str | os.PathLike[str], key: str | os.PathLike[str]
) -> tuple[bytes, bytes]:
    """A private key and its certificate chain, in the order in which gRPC takes them.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be, or the two do not belong together.
    """
    key_pem, chain_pem = Path(key).read_bytes(), Path(certificate).read_bytes()
    if any(mark in key_pem for mark in _ENCRYPTED):
        raise ValueError(
            f"the key {os.fspath(key)} is encrypted and nobody is there to type its password; "
            "decrypt it (openssl pkey) and keep the file readable to this user only"
        )
    if b"-----BEGIN CERTIFICATE-----" not in chain_pem:
        raise ValueError(f"{os.fspath(certificate)} holds no certificate in PEM format")
    if b"PRIVATE KEY-----" not in key_pem:
        raise ValueError(f"{os.fspath(key)} holds no private key in PEM format")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(
            f"the certificate {os.fspath(certificate)} and the key {os.fspath(key)} do not work "
            f"together ({error.reason or 'not readable'}); give a chain, the server's own "
            "certificate first, and its private key"
        ) from None
    if (Path(key).read_bytes(), Path(certificate).read_bytes()) != (key_pem, chain_pem):
        raise ValueError(
            f"{os.fspath(certificate)} and {os.fspath(key)} changed while they were read"
        )
    return key_pem, chain_pem
