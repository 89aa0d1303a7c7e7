"""Several items at a time, told as they come and in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from ossicle.service.files.together import as_it_comes, in_order


def test_everything_is_told_at_once_and_of_each_item_in_order() -> None:
    last_has_ended = threading.Event()

    def work(item: str, tell: Callable[[str], None]) -> str:
        tell(f"{item} begins")
        if item == "slow":
            assert last_has_ended.wait(10)
        else:
            last_has_ended.set()
        return f"{item} ends"

    told = list(as_it_comes(["slow", "fast"], [work] * 2))
    assert sorted(told) == [
        (0, "slow begins"),
        (0, "slow ends"),
        (1, "fast begins"),
        (1, "fast ends"),
    ]
    assert told[-1] == (0, "slow ends")
    arranged = list(in_order(told, lambda event: event.endswith("ends")))
    assert [event for _, event in arranged] == [
        *("slow begins", "slow ends"),
        *("fast begins", "fast ends"),
    ]


def test_what_comes_of_the_first_item_does_not_wait_for_its_end() -> None:
    told = iter([(1, "b"), (0, "a"), (0, "a"), (0, "end"), (1, "end")])
    arranged = in_order(told, lambda event: event == "end")
    assert next(arranged) == (0, "a")
    assert next(told) == (0, "a")


def test_an_exception_of_the_work_is_raised() -> None:
    def work(item: int, tell: Callable[[int], None]) -> int:
        if item == 4:
            raise RuntimeError("number 4")
        return item

    with pytest.raises(RuntimeError, match="number 4"):
        list(as_it_comes(range(8), [work] * 2))


def test_leaving_early_starts_no_more_work() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(item: int, tell: Callable[[int], None]) -> int:
        begun.append(item)
        if item:
            assert go_on.wait(10)
        return item

    told = as_it_comes(range(8), [work] * 1)
    assert next(told) == (0, 0)
    told.close()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ossicle-file"):
            thread.join(10)
    assert len(begun) <= 2
