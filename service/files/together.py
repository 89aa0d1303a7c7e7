"""Several items at a time: what becomes known of each, as it comes or in their order."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E")

# The consumer looks up this often, so that Ctrl-C is noticed on every system.
_WAIT_SECONDS = 0.5


def as_it_comes(
    items: Sequence[T], workers: Sequence[Callable[[T, Callable[[E], None]], E]]
) -> Iterator[tuple[int, E]]:
    """What workers find out about items, of which each takes one after the other.

    Leaving the loop early starts no more work.

    Args:
        items: what is worked on.
        workers: each works on one item at a time: it gets an item and a function to tell what it
            finds out, and returns the last of it.

    Yields:
        The number of an item and what was found out about it.

    Raises:
        BaseException: what a worker raises.
    """
    waiting: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    for pair in enumerate(items):
        waiting.put(pair)
    told: queue.SimpleQueue[tuple[int, E] | BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def tell(number: int, event: E) -> None:
        told.put((number, event))

    def run(work: Callable[[T, Callable[[E], None]], E]) -> None:
        try:
            while not left.is_set():
                number, item = waiting.get_nowait()
                tell(number, work(item, partial(tell, number)))
        except queue.Empty:
            pass
        except BaseException as error:
            told.put(error)
        finally:
            told.put(None)

    working = min(len(workers), len(items))
    for number, work in enumerate(workers[:working]):
        # Daemons: a worker that waits for a silent pipe must not keep the program alive.
        name = f"ossicle-file-{number}"
        threading.Thread(target=run, args=(work,), name=name, daemon=True).start()
    try:
        while working:
            try:
                happened = told.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                continue
            if happened is None:
                working -= 1
            elif isinstance(happened, BaseException):
                raise happened
            else:
                yield happened
    finally:
        left.set()


def in_order(
    happenings: Iterable[tuple[int, E]], ends: Callable[[E], bool]
) -> Iterator[tuple[int, E]]:
    """The same, but of each item only when all before it have ended.

    Args:
        happenings: as :func:`as_it_comes` gives them.
        ends: whether this is the last that is found out about an item.
    """
    waiting: defaultdict[int, list[E]] = defaultdict(list)
    turn = 0
    for number, event in happenings:
        waiting[number].append(event)
        while events := waiting.pop(turn, None):
            for waited in events:
                yield turn, waited
            if not ends(events[-1]):
                break
            turn += 1
