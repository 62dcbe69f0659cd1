"""One key in the terminal while a run goes on."""

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.1  # between two looks whether it is over


@contextmanager
def on_key(key: str, act: Callable[[], None]) -> Iterator[bool]:
    """Call `act` in a thread of its own whenever a key is pressed; yields whether there is a terminal to press it in.

    Ctrl-C stays what it is, and the terminal is as it was afterwards.
    """
    try:
        import termios
        import tty
    except ImportError:  # a system without them
        yield False
        return
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        is_ours = os.tcgetpgrp(terminal) == os.getpgrp()  # in the background its settings are not ours to change
    except (AttributeError, OSError, ValueError, termios.error):  # a pipe, or no standard input at all
        is_ours = False
    if not is_ours:
        yield False
        return
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            ready, _, _ = select.select([terminal], [], [], LOOK_S)
            pressed = os.read(terminal, 1) if ready else None
            if pressed == b"":  # hung up
                return
            if pressed is not None and pressed.lower() == key.encode():
                act()

    thread = threading.Thread(target=listen, name="gridloop keys", daemon=True)
    tty.setcbreak(terminal)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join()
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
