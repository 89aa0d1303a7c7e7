"""Where the HTTP side of a server listens, and which pages may use it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .origin import origin_of


@dataclass(frozen=True)
class WebConfig:
    """The HTTP side of a server.

    Attributes:
        port: 0 for any that is free.
        origins: pages of other sites that may use it, such as "https://asr.example.org".

    Raises:
        ValueError: an origin is none.
    """

    port: int
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the origins."""
        for origin in self.origins:
            if not _is_origin(origin):
                raise ValueError(
                    f"--http-origin is {origin!r}; give scheme, host and port as a browser does, "
                    "such as https://asr.example.org"
                )


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and text == origin_of(parts)
    except ValueError:
        return False
