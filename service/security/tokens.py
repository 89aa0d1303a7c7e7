"""Bearer tokens: the file that holds their hashes, and who a token says is calling.

A token is 256 random bits, so that one round of SHA-256 keeps it secret: there is nothing to guess
that a slower hash would protect. The file holds no token, only names, hashes and limits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

PREFIX = "ossicle_"
"""How each token begins, for the tools that look for secrets where none should be."""

_RANDOM_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """What a server knows of a token.

    Attributes:
        name: what logs call its holder: a letter or digit, then up to 62 more and ``.``, ``_``,
            ``-``.
        sha256: the token's hash, in hexadecimal.
        max_streams: streams and recordings of it at the same time; 0 for no limit.
        max_calls_per_minute: calls of it in a minute; 0 for no limit.
        expires: the first day, UTC, on which it does not count any more; None for never.

    Raises:
        ValueError: a value makes no sense.
    """

    name: str
    sha256: str
    max_streams: int = 0
    max_calls_per_minute: int = 0
    expires: str | None = None

    def __post_init__(self) -> None:
        """Check the values, which may be typed by hand."""
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise ValueError(
                f"the name {self.name!r} cannot be one; give up to 63 letters, digits and . _ -, "
                "the first a letter or digit"
            )
        if not (isinstance(self.sha256, str) and _HASH.fullmatch(self.sha256)):
            raise ValueError(f"sha256 of {self.name} is not 64 hexadecimal digits")
        for limit in ("max_streams", "max_calls_per_minute"):
            value = getattr(self, limit)
            if not (type(value) is int and value >= 0):
                raise ValueError(f"{limit} of {self.name} is {value!r}; give 0 or more")
        if self.expires is not None:
            try:
                date.fromisoformat(self.expires)
            except (TypeError, ValueError):
                raise ValueError(
                    f"expires of {self.name} is {self.expires!r}; give a day, such as 2027-01-31"
                ) from None

    @property
    def expired(self) -> bool:
        """Whether it counts no more."""
        today = datetime.now(timezone.utc).date()
        return self.expires is not None and today >= date.fromisoformat(self.expires)


def make_token(
    name: str, max_streams: int = 0, max_calls_per_minute: int = 0, expires: str | None = None
) -> tuple[str, Token]:
    """A new token, which nobody can read from what a server knows of it, and that.

    Raises:
        ValueError: a value makes no sense.
    """
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return secret, Token(name, _hash(secret), max_streams, max_calls_per_minute, expires)


def find_token(tokens: Sequence[Token], secret: str) -> Token | None:
    """The token that somebody shows, None if it is none of them.

    All are compared, and each in constant time: how long it takes tells nothing.
    """
    shown = _hash(secret)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, shown):
            found = token
    return found


def read_tokens(path: str | os.PathLike[str]) -> tuple[Token, ...]:
    """The tokens of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if not (isinstance(document, dict) and set(document) == {"tokens"}):
            raise ValueError('it is not an object with "tokens" alone')
        tokens = tuple(map(_from_json, document["tokens"]))
        for known in ("name", "sha256"):
            values = [getattr(token, known) for token in tokens]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"two tokens have the {known} {twice}")
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{os.fspath(path)} is no file of tokens: {error}; make one with ossicle token add"
        ) from None
    return tokens


@contextmanager
def edited_tokens(path: str | os.PathLike[str], create: bool = False) -> Iterator[list[Token]]:
    """The tokens of a file in a list to change, which is written when the context ends.

    The file is replaced as a whole: a server reads the old one or the new one. A new file can be
    read by this user only; an old one keeps its mode, and its owner if this user may give it away.

    Args:
        path: the file.
        create: begin an empty list if there is no such file.

    Raises:
        OSError: it cannot be read or written, or somebody else is changing it.
        ValueError: it is not such a file.
    """
    file = Path(os.path.realpath(path))  # a link stays one
    # It holds off others who would change the file, too.
    draft = file.with_name(file.name + ".new")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OSError(
            f"{draft} exists: somebody else is changing the tokens; if nobody is, delete it"
        ) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as output:
            tokens = list(read_tokens(file)) if file.exists() or not create else []
            yield tokens
            entries = [{k: v for k, v in asdict(token).items() if v} for token in tokens]
            json.dump({"tokens": entries}, output, indent=2)
            output.write("\n")
            output.flush()
            os.fsync(output.fileno())
        if file.exists():
            old = file.stat()
            draft.chmod(stat.S_IMODE(old.st_mode))
            if hasattr(os, "chown"):
                with suppress(PermissionError):
                    os.chown(draft, old.st_uid, old.st_gid)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _from_json(entry: Any) -> Token:
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r} is not an object")
    known = {part.name for part in fields(Token)}
    unknown = set(entry) - known
    if unknown:
        raise ValueError(f"{min(unknown)!r} is not known; known are {', '.join(sorted(known))}")
    missing = {"name", "sha256"} - set(entry)
    if missing:
        raise ValueError(f"{min(missing)} is missing")
    return Token(**entry)
