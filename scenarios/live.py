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


def account(t_s: float, until_s: float, f_hz: float, wall_s: float) -> str:
    """Simulated time, speed, frequency and time left, in words."""
    speed = t_s / wall_s if wall_s > 0 else 0.0
    left = f"{(until_s - t_s) / speed:.0f} s" if speed > 0 else "?"
    return f"{t_s:7.2f} of {until_s:g} s   {speed:5.1f} x real time   f {f_hz:.4f} Hz   ETA {left}"


@contextmanager
def display(console: Console, until_s: float) -> Iterator[Callable[["runner.Progress"], None]]:
    """Yield a taker of progress: a bar on a terminal, a few lines elsewhere."""
    began: float | None = None

    def words(progress: "runner.Progress") -> str:
        nonlocal began
        began = time.monotonic() if began is None else began
        return account(progress.t_s, until_s, progress.f_hz, time.monotonic() - began)

    if console.is_terminal:
        with Progress(BarColumn(30), TextColumn("{task.description}"), console=console, transient=True) as bar:
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
