"""A mosaik simulator that listens somewhere, asked by mosaik's own protocol: 4 bytes of length, then JSON.

    [0, number, [method, args, kwargs]]    a request; its answer is [1, number, result] or [2, number, [type, message]]

It is asked in the caller's thread, which waits for each answer up to a deadline.
"""

import json
import socket
import time
from typing import Any

from gridloop.hil.links import CONNECT_S, LinkDown, LinkError, Timeout, WrongAnswer

REQUEST, SUCCESS, FAILURE = range(3)
MOST_BYTES = 1 << 24
START_S = 30.0  # for init and create


class MosaikLink:
    """The methods of the simulator at HOST:PORT.

    Args:
        host, port: where it listens.
        deadline_s: of a step or of what it shows.

    Raises:
        LinkDown: nobody listens there.
    """

    def __init__(self, host: str, port: int, deadline_s: float) -> None:
        self._where, self._deadline_s = f"{host}:{port}", deadline_s
        self._number, self._came = 0, b""
        self.rtt_s: list[float] = []
        try:
            self._socket = socket.create_connection((host, port), CONNECT_S)
        except OSError as error:
            raise LinkDown(f"no simulator listens at {self._where}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def init(self, sid: str, time_resolution: float, **parameters: Any) -> Any:
        """Its meta data."""
        return self._asked("init", [sid], {"time_resolution": time_resolution, **parameters}, START_S)

    def create(self, num: int, model: str, **parameters: Any) -> Any:
        """Its entities, after which its setup is done."""
        entities = self._asked("create", [num, model], parameters, START_S)
        self._asked("setup_done", [], {}, START_S)
        return entities

    def step(self, time: int, inputs: Any, max_advance: int) -> Any:
        """Its next step."""
        return self._asked("step", [time, inputs, max_advance], {}, self._deadline_s)

    def get_data(self, outputs: Any) -> Any:
        """What it shows."""
        return self._asked("get_data", [outputs], {}, self._deadline_s)

    def close(self) -> None:
        """Tell it that all is over."""
        try:
            self._socket.settimeout(CONNECT_S)
            self._send("stop", [], {})
        except OSError:
            pass  # it is gone already
        finally:
            self._socket.close()

    def _send(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        self._number += 1
        data = json.dumps([REQUEST, self._number, [method, args, kwargs]]).encode()
        self._socket.sendall(len(data).to_bytes(4, "big") + data)

    def _asked(self, method: str, args: list[Any], kwargs: dict[str, Any], deadline_s: float) -> Any:
        """The answer.

        Raises:
            LinkError: there is none in time, the connection is lost, or it failed.
        """
        began_s = time.monotonic()
        try:
            self._socket.settimeout(deadline_s)
            self._send(method, args, kwargs)
            while True:
                kind, number, content = self._message(began_s + deadline_s)
                if number == self._number and kind in (SUCCESS, FAILURE):
                    break  # whatever else comes is none of ours
        except TimeoutError as error:
            words = f"the simulator at {self._where}: no answer to {method} within {1e3 * deadline_s:g} ms"
            raise Timeout(words) from error
        except LinkError:
            raise
        except OSError as error:
            raise LinkDown(f"the simulator at {self._where} is gone: {error}") from error
        self.rtt_s.append(time.monotonic() - began_s)
        if kind == FAILURE:
            raise WrongAnswer(f"the simulator at {self._where} fails: {' '.join(map(str, content[:2]))}", "wrong")
        return content

    def _message(self, end_s: float) -> tuple[int, int, Any]:
        size = int.from_bytes(self._taken(4, end_s), "big")
        if size > MOST_BYTES:
            raise WrongAnswer(f"{self._where} is no mosaik simulator", "wrong")
        try:
            kind, number, content = json.loads(self._taken(size, end_s))
        except ValueError as error:
            raise WrongAnswer(f"{self._where} is no mosaik simulator: {error}", "wrong") from error
        return kind, number, content

    def _taken(self, count: int, end_s: float) -> bytes:
        while len(self._came) < count:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            more = self._socket.recv(1 << 16)
            if not more:
                raise ConnectionResetError("it hung up")
            self._came += more
        taken, self._came = self._came[:count], self._came[count:]
        return taken
