"""Real certificates for tests, each signed by an authority that trustme makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate chain and its key."""

    certificate: Path
    key: Path

    def copy_to(self, other: Pair) -> None:
        """Put these files where others are, as whoever renews certificates does."""
        for source, target in ((self.certificate, other.certificate), (self.key, other.key)):
            draft = target.with_suffix(".new")
            draft.write_bytes(source.read_bytes())
            draft.replace(target)


class Certificates:
    """Two authorities, and what they sign, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authorities = {"ours": trustme.CA(), "other": trustme.CA()}
        self._made = 0

    def authority(self, name: str = "ours") -> Path:
        path = self._folder / f"{name}-ca.pem"
        self._authorities[name].cert_pem.write_to_path(str(path))
        return path

    def issue(self, *names: str, by: str = "ours", days: tuple[int, int] = (-1, 30)) -> Pair:
        """A certificate for hosts, valid from some days from now until others."""
        self._made += 1
        now = datetime.now(timezone.utc)
        made = self._authorities[by].issue_cert(
            *names,
            not_before=now + timedelta(days=days[0]),
            not_after=now + timedelta(days=days[1]),
        )
        pair = Pair(self._folder / f"{self._made}.pem", self._folder / f"{self._made}.key")
        pair.certificate.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(pair.key))
        return pair
