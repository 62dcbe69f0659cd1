"""A loop in a thread of its own leaves nothing behind, whatever was under way."""

import asyncio

import pytest

from gridloop.hil.loop_thread import LoopThread


async def nothing() -> None:
    """No goodbye."""


def test_what_is_under_way_at_the_end_is_cancelled_even_where_it_swallows_that_once() -> None:
    cancelled = list[int]()

    async def stubborn() -> None:
        for turn in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(turn)
                if turn == 2:
                    raise

    thread = LoopThread("test")
    thread.start()
    begun = thread.begin(stubborn())
    thread.do(nothing())
    thread.end(nothing)
    assert cancelled == [0, 1, 2] and begun.done()
    thread.end(nothing)  # a second time does nothing


def test_it_ends_whatever_comes_of_the_goodbye_and_if_it_never_began() -> None:
    async def fails() -> None:
        raise OSError("gone")

    begun, never = LoopThread("test"), LoopThread("test")
    begun.start()
    with pytest.raises(OSError, match="gone"):
        begun.end(fails)
    never.end(fails)
    assert begun.loop.is_closed() and never.loop.is_closed()
