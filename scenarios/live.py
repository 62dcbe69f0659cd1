"""What a terminal shows while a run goes on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from gridloop.scenarios import runner

PLAIN_STEPS = 5  # lines of progress where there is no terminal


def account(t_s: float, until_s: float, f_hz: float, speed: float | None) -> str:
    """Simulated time, frequency and, where the speed is known [simulated s per s], time left, in words."""
    text = f"{t_s:7.2f} of {until_s:g} s   f {f_hz:.4f} Hz"
    return f"{text}   {speed:5.1f} x real time   ETA {(until_s - t_s) / speed:.0f} s" if speed else text


@contextmanager
def display(
    console: Console, until_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[["runner.Progress"], None]]:
    """Yield a taker of progress: a bar on a terminal, a few lines elsewhere."""
    first: tuple[float, float] | None = None  # simulated and wall time when the run was seen to go on

    def words(progress: "runner.Progress") -> str:
        nonlocal first
        now = clock()
        first = first or (progress.t_s, now)
        speed = (progress.t_s - first[0]) / (now - first[1]) if now > first[1] else None
        return account(progress.t_s, until_s, progress.f_hz, speed)

    if console.is_terminal:
        columns = (BarColumn(30), TextColumn("{task.description}"))
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=until_s)
            yield lambda progress: bar.update(task, completed=progress.t_s, description=words(progress))
        return

    shown = 0

    def print_some(progress: "runner.Progress") -> None:
        nonlocal shown
        text = words(progress)
        if progress.t_s * PLAIN_STEPS / until_s >= shown + 1:
            shown = int(progress.t_s * PLAIN_STEPS / until_s)
            console.print(f" {'running':<12} {text}", markup=False, soft_wrap=True)

    yield print_some
