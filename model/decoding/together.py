"""What advances together must not fail together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class SomeFailedError(RuntimeError):
    """Of several that were to go on together, some could not; all others have.

    Attributes:
        errors: what each of them failed with, by its place among all.
    """

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        super().__init__(f"{len(errors)} failed, one with {next(iter(errors.values()))!r}")
        self.errors = errors


@contextmanager
def alone() -> Iterator[None]:
    """Raise the error itself where there is but one that can have failed."""
    try:
        yield
    except SomeFailedError as failed:
        raise failed.errors[0] from None
