"""The mosaik wrapper of communication: directed links with delay, jitter, loss, bandwidth and failures.

A link carries any payload. Two kinds of senders:
- one that stamps: its output `message[1]` is `[stamp, payload]`, the stamp in mosaik's time; a stamp that does not
  move on is no new message. `received[1]` shows the newest of what has arrived, `received_all[1]` everything that
  arrived at the receiver's last tick, each as `[stamp, payload]`.
- one that does not, a meter for instance: name the attributes to be delayed as `attrs`; the link samples them every
  `send_ms` and shows them under the same names.

Connect the sender with `time_shifted=True` and the receiver directly. A message arrives at the receiver's first tick
at or after max(stamp + delay, stamp + 1 unit of time), and the receiver, which steps after this simulator, has it at
that tick. So a delay of 0 still takes a tick: exchange without any delay belongs inside one simulator.
Time-based, because event-based simulators make every run of mosaik 3.6 slower and slower.
"""

import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import graph
from gridloop.simulators.models.channel import Burst, Channel, Jitter, LinkParams
from gridloop.simulators.ticks import Ticks, Windows

MESSAGE, RECEIVED, ALL = "message[1]", "received[1]", "received_all[1]"
COUNTS = {"sent[1]": "sent", "delivered[1]": "delivered", "lost[1]": "lost", "bytes[1]": "bytes_sent"}
AGE, UP = "age[ms]", "up[1]"
RECORDS = (AGE, "lost[1]")
MESSAGE_BYTES = 64.0  # a time stamp and seven numbers
PARTS: dict[str, type] = {"jitter": Jitter, "burst": Burst}
# what a link has beside LinkParams
OF_LINK = ("attrs", "send_ms", "receive_ms", "window_ms", "message_bytes", "initial")
KEYS = [*(field.name for field in fields(LinkParams)), *OF_LINK]


def link_name(sender: str, receiver: str) -> str:
    """Entity id of a directed link."""
    return f"{sender}->{receiver}"


def link_params(given: Mapping[str, Any]) -> LinkParams:
    """A link's parameters from plain values, with `jitter` and `burst` as dicts.

    Raises:
        ValueError: a key that is not known, or a value out of its range.
    """
    whole = dict(given)
    for key, kind in PARTS.items():
        if isinstance(whole.get(key), Mapping):
            whole[key] = _known(kind, key, whole[key])
        elif key in whole and whole[key] is None:
            del whole[key]
    made: LinkParams = _known(LinkParams, "link", whole)
    return made


def _known(kind: type, what: str, given: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(kind)]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"{what} has no {', '.join(unknown)}; there are {', '.join(names)}")
    whole = dict(given)
    if isinstance(whole.get("trace"), str):
        whole["trace"] = np.loadtxt(whole["trace"], ndmin=1)
    try:
        return kind(**whole)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{what}: {error}") from error


def meta(attrs: tuple[str, ...] = ()) -> Any:
    """mosaik META of links that may carry `attrs`."""
    shown = [MESSAGE, RECEIVED, ALL, AGE, *COUNTS, UP, *attrs]
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {
            "Link": {"public": True, "any_inputs": False, "params": ["sender", "receiver", *KEYS], "attrs": shown},
            "Network": {
                "public": True, "any_inputs": False, "params": ["graph", "names", "links", *KEYS], "attrs": [],
            },
        },
    }  # fmt: skip


class CommSimulator(mosaik_api_v3.Simulator):
    """All communication links.

    Args:
        sink: takes (time, values (k,)) of every step; `columns` names the values.
        log: takes (t_s, kind, target, outcome) of links that fail, recover and change.
    """

    def __init__(self, sink: Sink | None = None, log: Callable[[float, str, str, str], None] | None = None) -> None:
        super().__init__(meta())  # type: ignore[no-untyped-call]
        self._sink, self._log = sink, log or (lambda *_: None)
        self._links: dict[str, _Link] = {}
        self._entries: list[tuple[float, str, str, str]] = []  # to be logged, the next one first
        self._events: list[dict[str, Any]] = []
        self._sid, self._resolution, self._seed = "", 1.0, 0

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            seed: of everything that happens by chance (0); each link has its own generator by its name.
            attrs: attributes of senders that do not stamp (none).
            events: list of {t_s, do: link_down, link, for_s}, {t_s, do: link_up, link} and
                {t_s, do: set, link, key, value} with a key of the link's parameters; link '*' is all of them.

        Raises:
            ValueError: an event that is not known; mosaik's unit of time is no whole number of microseconds.
        """
        self._sid, self._resolution = sid, time_resolution
        self._unit_us = round(time_resolution * 1e6)
        if self._unit_us < 1 or abs(self._unit_us - time_resolution * 1e6) > 1e-6:
            raise ValueError(f"Comms: time_resolution = {time_resolution:g} s must be whole microseconds")
        self._seed = sim_params.pop("seed", 0)
        self._events = sorted((dict(event) for event in sim_params.pop("events", ())), key=lambda one: one["t_s"])
        for event in self._events:
            _refuse_event(event)
        self.meta = meta(tuple(sim_params.pop("attrs", ())))
        refuse_unknown("Comms", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one link, or a network with a link in either direction of every edge.

        Model parameters:
            sender, receiver: names; the link is `sender->receiver`.
            graph, names: of a network: line, ring, star (around the first), full, or a list of pairs of names.
            links: of a network: {"a->b": {key: value}}, what single links have different.
            send_ms: the sender's step (obligatory).
            receive_ms: the receiver's step (any unit of time).
            window_ms: period, begin and length of the windows in which both step at all (always).
            message_bytes: size of a message (64).
            attrs: what the link samples of a sender that does not stamp (none).
            initial: what an attribute of `attrs` shows before anything has arrived (None).
            and those of LinkParams: delay_ms, jitter {kind, percent | ms | trace: list or file}, loss_percent,
            burst {good_to_bad_percent, bad_to_good_percent, loss_bad_percent}, bandwidth_bit_per_s, queue_bytes,
            rto_ms, fifo.

        Raises:
            ValueError: more than one at a time, a name with a dot or used twice, a parameter out of its range.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; each has its own name")
        given = dict(model_params)
        if model == "Link":
            return [{"eid": self._add(given.pop("sender"), given.pop("receiver"), given), "type": model, "rel": []}]
        names, single = list(given.pop("names")), dict(given.pop("links", {}))
        pairs = graph.links(graph.edges(given.pop("graph"), names))
        strange = [name for name in single if name not in {link_name(*pair) for pair in pairs}]
        if strange:
            raise ValueError(f"links: there is no {', '.join(strange)} in the graph")
        children = [self._add(*pair, given | single.get(link_name(*pair), {})) for pair in pairs]
        eid = f"Network-{len(self._links)}"
        return [{"eid": eid, "type": model, "children": [{"eid": c, "type": "Link", "rel": []} for c in children]}]

    def _add(self, sender: str, receiver: str, given: dict[str, Any]) -> str:
        name = link_name(sender, receiver)
        check_names([name], self._links)
        own = {key: given.pop(key) for key in OF_LINK if key in given}
        strange = [attr for attr in own.get("attrs", ()) if attr not in self.meta["models"]["Link"]["attrs"]]
        try:
            if strange:
                raise ValueError(f"{', '.join(strange)} is not known; name it in `attrs` when starting")
            if "send_ms" not in own:
                raise ValueError("send_ms is missing: the step of the sender")
            course = _Course(link_params(given), [e for e in self._events if e["link"] in ("*", name)])
            # not hash(): Python's differs from process to process
            random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
            channel = Channel(course.first, random, course.changes, course.outages)
            self._links[name] = _Link(channel, self._unit_us, _Ends(**own))
        except ValueError as error:
            raise ValueError(f"link {name}: {error}") from error
        self._entries = sorted([*self._entries, *((t_s, kind, name, told) for t_s, kind, told in course.told)])
        return name

    def setup_done(self) -> None:
        """Refuse events of links that are not there."""
        strange = {event["link"] for event in self._events} - {"*", *self._links}
        if strange:
            raise ValueError(f"Comms: an event names the link {', '.join(sorted(strange))}, which is not there")

    @property
    def columns(self) -> tuple[str, ...]:
        """`link.attribute` of every value that the sink gets."""
        return tuple(f"{name}.{attr}" for name in self._links for attr in RECORDS)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Of every link: sent, delivered, lost, bytes, and age_mean, age_p95, age_max [ms] at the receiver's ticks."""
        return {name: link.statistics() for name, link in self._links.items()}

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Take what was sent, hand out what has arrived and return when there is more to do."""
        while self._entries and self._entries[0][0] <= time * self._resolution + 1e-9:
            self._log(*self._entries.pop(0))
        for name, link in self._links.items():
            try:
                link.step(time, inputs.get(name, {}))
            except ValueError as error:
                raise SimulatorFailure(self._sid, name, time * self._resolution, error) from error
        if self._sink is not None:
            row = [link.show(attr, time) for link in self._links.values() for attr in RECORDS]
            self._sink(time, np.array(row, float))
        self._time = time
        if not self._links:
            return time + max(round(1 / self._resolution), 1)  # once a second
        return min([link.next_step(time) for link in self._links.values()])

    def get_data(self, outputs: Any) -> Any:
        """What has arrived, and the state of the links."""
        return {
            eid: {attr: self._links[eid].show(attr, self._time) for attr in attrs} for eid, attrs in outputs.items()
        }


def _refuse_event(event: Mapping[str, Any]) -> None:
    wanted = {
        "link_down": {"t_s", "do", "link", "for_s"}, "link_up": {"t_s", "do", "link"},
        "set": {"t_s", "do", "link", "key", "value"},
    }  # fmt: skip
    kind = event.get("do")
    if kind not in wanted:
        raise ValueError(f"Comms: unknown event {kind!r}; there are {', '.join(wanted)}")
    missing = wanted[kind] - event.keys() - {"for_s"}
    strange = event.keys() - wanted[kind]
    if missing or strange:
        words = f"needs {', '.join(sorted(missing))}" if missing else f"has no {', '.join(sorted(strange))}"
        raise ValueError(f"Comms: the event {dict(event)} {words}")


class _Course:
    """What happens to one link: changes of its parameters and outages, from a list of events in order of time."""

    def __init__(self, first: LinkParams, events: list[dict[str, Any]]) -> None:
        self.first = first
        self.changes: list[tuple[int, LinkParams]] = []
        self.outages: list[tuple[int, int | None]] = []
        self.told: list[tuple[float, str, str]] = []  # for the log: (t_s, kind, outcome)
        for event in events:
            self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        t_s, kind = event["t_s"], event["do"]
        t_us = round(1e6 * t_s)
        if kind == "set":
            self.changes.append((t_us, self._changed(event["key"], event["value"])))
            self.told.append((t_s, kind, f"{event['key']} now {event['value']}"))
        elif kind == "link_down":
            for_s = event.get("for_s")
            self.outages.append((t_us, None if for_s is None else round(1e6 * (t_s + for_s))))
            self.told.append((t_s, kind, "down"))
            if for_s is not None:
                self.told.append((round(t_s + for_s, 9), "link_up", "up"))
        else:  # every outage so far has begun, because events come in order
            self.outages[:] = [(start, t_us if end is None else min(t_us, end)) for start, end in self.outages]
            self.told.append((t_s, kind, "up"))

    def _changed(self, key: str, value: Any) -> LinkParams:
        """The parameters in force with one of them changed; `jitter.percent` is one of `jitter`."""
        last = self.changes[-1][1] if self.changes else self.first
        head, _, part = key.partition(".")
        if head not in {field.name for field in fields(LinkParams)}:
            raise ValueError(f"set: a link has no {key}")
        if part:
            value = {**(vars(getattr(last, head)) if getattr(last, head) is not None else {}), part: value}
        if isinstance(value, Mapping):
            value = _known(PARTS[head], head, value)
        return replace(last, **{head: value})


class _Ends(NamedTuple):
    """What a link needs to know of its sender and receiver."""

    send_ms: float
    receive_ms: float | None = None
    window_ms: tuple[float, float, float] | None = None
    message_bytes: float = MESSAGE_BYTES
    attrs: Sequence[str] = ()
    initial: Mapping[str, Any] | None = None

    def ticks(self, step_ms: float, time_resolution: float) -> Ticks:
        """Those of an end that steps so often."""
        if self.window_ms is None:
            return Ticks(step_ms, (), time_resolution)
        return Windows(step_ms, self.window_ms, time_resolution)


class _Link:
    """One link: a channel between the ticks of its sender and of its receiver."""

    def __init__(self, channel: Channel, unit_us: int, ends: _Ends) -> None:
        if not ends.message_bytes >= 0:
            raise ValueError(f"message_bytes = {ends.message_bytes:g} must be >= 0")
        self._channel, self._unit_us, self._bytes = channel, unit_us, ends.message_bytes
        self._attrs, self._initial = tuple(ends.attrs), dict(ends.initial or {})
        self._pauses = ends.window_ms is not None
        self._sender = ends.ticks(ends.send_ms, unit_us * 1e-6)
        self._receiver = self._uses = self._sender
        if ends.receive_ms is None:  # any time will do; the age is read as often as the sender steps
            self._receiver = Ticks(unit_us * 1e-3, (), unit_us * 1e-6)
        else:
            self._receiver = self._uses = ends.ticks(ends.receive_ms, unit_us * 1e-6)
        self._last_stamp: int | None = None
        self._last = -1  # time of the last step
        self._arrived: list[list[Any]] = []  # at the receiver's last tick
        self._all_wanted = False
        self._ages_ms = array("d")

    def step(self, time: int, inputs: Mapping[str, Any]) -> None:
        """Send what is new, receive at the receiver's ticks."""
        use = self._uses.after(self._last)
        while use < time:  # the receiver's ticks at which there was nothing to do here
            self._note_age(use)
            use = self._uses.after(use)
        self._send(time, inputs)
        if time % self._receiver.step == 0:
            arrived = self._channel.receive(time * self._unit_us)
            self._arrived = [[message.stamp_us // self._unit_us, message.payload] for message in arrived]
        if use == time:
            self._note_age(time)
        self._last = time

    def _note_age(self, time: int) -> None:
        if self._channel.newest is not None and not self._pauses:  # between two windows nobody uses anything
            self._ages_ms.append((time * self._unit_us - self._channel.newest.stamp_us) / 1e3)

    def _send(self, time: int, inputs: Mapping[str, Any]) -> None:
        if self._attrs:
            strange = [attr for attr in inputs if attr not in self._attrs]
            if strange:
                raise ValueError(f"{', '.join(strange)} is connected; this link carries {', '.join(self._attrs)}")
            # the sender's tick before this moment: its output is what is seen one unit of time later
            stamp = (time - 1) // self._sender.step * self._sender.step
            payload: Any = {attr: only_value(attr, inputs[attr]) for attr in self._attrs if attr in inputs}
            if stamp < 0 or len(payload) < len(self._attrs) or None in payload.values():
                return
        else:
            given = only_value(MESSAGE, inputs[MESSAGE]) if MESSAGE in inputs else None
            if given is None:
                return
            stamp, payload = given
        if self._last_stamp is not None and stamp <= self._last_stamp:
            return
        if stamp >= time:
            raise ValueError(f"a message is stamped {stamp}, which is not past; connect it with time_shifted=True")
        self._last_stamp = stamp
        self._channel.send(stamp * self._unit_us, payload, self._bytes)

    def next_step(self, time: int) -> int:
        """The sender's next tick, the receiver's first tick after the sender's last, and the next arrival."""
        last = time - time % self._sender.step
        candidates = [self._sender.after(time), self._receiver.after(last)]
        if self._attrs:
            candidates.append(last + 1)  # before the sender moves on between its samples
        due_us = self._channel.next_arrival_us
        if due_us is not None:
            due = -(-due_us // self._unit_us)
            candidates.append(max(-(-due // self._receiver.step) * self._receiver.step, self._receiver.after(time)))
        if self._all_wanted and self._arrived:
            candidates.append(self._receiver.after(time))
        return min([candidate for candidate in candidates if candidate > time])

    def show(self, attr: str, time: int) -> Any:
        """One output attribute at `time`."""
        newest = self._channel.newest
        if attr == RECEIVED:
            return None if newest is None else [newest.stamp_us // self._unit_us, newest.payload]
        if attr == ALL:
            self._all_wanted = True
            return self._arrived
        if attr == AGE:
            return float("nan") if newest is None else (time * self._unit_us - newest.stamp_us) / 1e3
        if attr in COUNTS:
            return getattr(self._channel, COUNTS[attr])
        if attr == UP:
            return float(self._channel.is_up(time * self._unit_us))
        return self._initial.get(attr) if newest is None else newest.payload[attr]

    def statistics(self) -> dict[str, float]:
        """Counts of messages, and the age of what the receiver had at its ticks."""
        found = {attr.removesuffix("[1]"): float(getattr(self._channel, name)) for attr, name in COUNTS.items()}
        if self._ages_ms:
            p95 = float(np.percentile(self._ages_ms, 95))
            found |= {"age_mean": float(np.mean(self._ages_ms)), "age_p95": p95, "age_max": max(self._ages_ms)}
        return found
