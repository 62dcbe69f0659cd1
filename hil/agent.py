#!/usr/bin/env python3
"""An agent of a gridloop scenario on a computer of its own, such as a Raspberry Pi: copy this one file there.

It needs Python 3.9 or newer, and pyserial only for a serial line:

    python agent.py --serial /dev/ttyGS0 --s-rated-kva 10             a serial line (USB gadget, UART, RS-485)
    python agent.py --listen 0.0.0.0:5040 --s-rated-kva 10 --pin 1    a TCP server
    python agent.py --connect 192.0.2.7:5040 --role inverter --s-rated-kva 10
    python agent.py --listen 5040 --s-rated-kva 10 --control mine.py  a law of your own

Roles: `secondary`, a distributed secondary-control agent, which takes its unit's measurements and its neighbours'
messages and answers frequency and voltage correction; `inverter`, the droop control of a grid-forming inverter, which
takes P, Q, V and answers f and E. By default an agent does what the simulated one does. A file given by --control has
a function

    def control(measurement, neighbours):
        return domega_rad_per_s2, dv_pu_per_s      # secondary: how fast the corrections move up to the next tick
        return f_hz, e_pu                          # inverter

with a `Measurement` or `PowerMeasurement` and a list of `Neighbour` as below; and may have `safe()`, called when the
host stops the agent, is silent for --watchdog-s, or the agent ends. Nobody authenticates on a line: --listen without a
host is this computer only; listen elsewhere in networks that you trust.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import runpy
import select
import signal
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

log = logging.getLogger("agent")

TWO_PI = 2 * math.pi
VERSION = 1

# --- frames: gridloop's hil/frames.py tells more of them

HELLO, ALIGN, MEASURE, NEIGHBOUR, DECIDE, SYNC, STOP = range(1, 8)
ANSWER, REFUSED = 0x80, 0xFF
TYPE_NAMES = {
    HELLO: "hello", ALIGN: "align", MEASURE: "measure", NEIGHBOUR: "neighbour", DECIDE: "decide", SYNC: "sync",
    STOP: "stop",
}  # fmt: skip
TYPE_NAMES.update({ANSWER + number: name + "_answer" for number, name in list(TYPE_NAMES.items())})
TYPE_NAMES[REFUSED] = "refused"
TYPE_NUMBERS = {name: number for number, name in TYPE_NAMES.items()}
MOST_VALUES, MOST_BYTES = 64, 4096
MOST = 3e38  # of a float32
UNKNOWN, WRONG_COUNT, WRONG_TIME, NO_NUMBER = 1, 2, 3, 4  # why a request is refused


class Frame(NamedTuple):
    """One message."""

    type: int
    seq: int
    t_ms: int
    values: tuple[float, ...] = ()


def to_cobs(frame: Frame) -> bytes:
    """COBS(u8 type, u16 seq, u32 t_ms, float32[n], u32 crc) 0x00."""
    data = struct.pack(f"<BHI{len(frame.values)}f", frame.type, frame.seq, frame.t_ms, *frame.values)
    data += struct.pack("<I", crc32(data))
    out, pieces = bytearray(), data.split(b"\0")
    for number, piece in enumerate(pieces):
        rest, full = piece, False
        while len(rest) >= 254:
            out += b"\xff" + rest[:254]
            rest, full = rest[254:], True
        if rest or not full or number < len(pieces) - 1:
            out.append(len(rest) + 1)
            out += rest
    return bytes(out) + b"\0"


def from_cobs(packet: bytes) -> Frame:
    """The frame between two delimiters; ValueError: it is none."""
    data, place = bytearray(), 0
    while place < len(packet):
        code = packet[place]
        block = packet[place + 1 : place + code]
        if code == 0 or len(block) < code - 1 or 0 in block:
            raise ValueError("stuffing")
        data += block
        place += code
        if code < 255 and place < len(packet):
            data.append(0)
    count, rest = divmod(len(data) - 11, 4)
    if count < 0 or rest or count > MOST_VALUES:
        raise ValueError("form")
    if struct.pack("<I", crc32(data[:-4])) != data[-4:]:
        raise ValueError("checksum")
    kind, seq, t_ms, *values = struct.unpack_from(f"<BHI{count}f", data)
    return _checked(Frame(kind, seq, t_ms, tuple(values)))


def to_json(frame: Frame) -> bytes:
    """{"type":...,"seq":...,"t_ms":...,"values":[...]}*crc LF."""
    kind, seq, t_ms, values = frame
    shown = [None if math.isnan(value) else value for value in values]
    parts = {"type": TYPE_NAMES.get(kind, kind), "seq": seq, "t_ms": t_ms, "values": shown}
    body = json.dumps(parts, separators=(",", ":")).encode()
    return body + b"*%08x\n" % crc32(body)


def from_json(line: bytes) -> Frame:
    """The frame of a line without its end; ValueError: it has none."""
    body, star, check = (line[:-1] if line.endswith(b"\r") else line).rpartition(b"*")
    if not star or len(check) != 8:
        raise ValueError("form")
    if b"%08x" % crc32(body) != check:
        raise ValueError("checksum")
    try:
        parts = json.loads(body, parse_constant=lambda word: 1 / 0)
        kind, seq, t_ms, values = (parts[name] for name in ("type", "seq", "t_ms", "values"))
        kind = TYPE_NUMBERS[kind] if isinstance(kind, str) else kind
        numbers = tuple(math.nan if value is None else value for value in values)
        if any(type(number) not in (int, float) for number in numbers):
            raise ValueError("form")
        return _checked(Frame(kind, seq, t_ms, tuple(map(float, numbers))))
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError("form") from error


def _checked(frame: Frame) -> Frame:
    for number, bits in ((frame.type, 8), (frame.seq, 16), (frame.t_ms, 32)):
        if type(number) is not int or not 0 <= number < 1 << bits:
            raise ValueError("form")
    if len(frame.values) > MOST_VALUES or any(map(math.isinf, frame.values)):
        raise ValueError("form")
    return frame


class Codec(NamedTuple):
    """How frames travel."""

    encode: Callable[[Frame], bytes]
    decode: Callable[[bytes], Frame]
    delimiter: bytes


CODECS = {"cobs": Codec(to_cobs, from_cobs, b"\0"), "json": Codec(to_json, from_json, b"\n")}


class Decoder:
    """Bytes in, frames out, however the bytes are split; what is no frame is counted, never raised."""

    def __init__(self, codec: str) -> None:
        self._codec, self._left, self._is_lost = CODECS[codec], bytearray(), False
        self.counts: Counter[str] = Counter()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        *ended, begun = data.split(self._codec.delimiter)
        frames = []
        for part in ended:
            self._keep(part)
            packet = bytes(self._left)
            self._left.clear()
            self._is_lost = False
            if packet in (b"", b"\r"):
                continue
            try:
                frames.append(self._codec.decode(packet))
                self.counts["frames"] += 1
            except ValueError as error:
                self.counts[str(error)] += 1
        self._keep(begun)
        return frames

    def _keep(self, part: bytes) -> None:
        if not self._is_lost:
            self._left += part
            if len(self._left) > MOST_BYTES:
                self._left.clear()
                self._is_lost = True
                self.counts["too long"] += 1


# --- settings


def _option(default: Any, words: str, choices: Sequence[str] | None = None) -> Any:
    return field(default=default, metadata={"help": words, "choices": choices})


FREQUENCY_LAWS, VOLTAGE_LAWS = ("F", "D", "none"), ("V", "Vprime", "paper23", "none")
HANDLINGS = ("matched", "neighbour_only")


@dataclass(frozen=True)
class Settings:
    """The unit and its control; names and defaults are the simulated agent's."""

    s_rated_kva: float = _option(0.0, "rating of the unit [kVA], > 0")
    droop_p_percent: float = _option(2.0, "frequency drop from no load to rated power")
    droop_q_percent: float = _option(5.0, "voltage drop from no load to rated reactive power")
    p_set_kw: float = _option(0.0, "active-power set-point, unless the host tells one")
    q_set_kvar: float = _option(0.0, "reactive-power set-point, unless the host tells one")
    v_set_pu: float = _option(1.0, "voltage set-point, unless the host tells one")
    f_nom_hz: float = _option(50.0, "nominal frequency")
    filter_hz: float = _option(5.0, "inverter: corner of the power filters")
    pin: float = _option(0.0, "secondary: 1 for the agent that restores frequency and voltage (laws F, V, paper23)")
    period_ms: int = _option(50, "secondary: time between two ticks, whole milliseconds")
    law: str = _option("F", "secondary: frequency law", FREQUENCY_LAWS)
    voltage_law: str = _option("V", "secondary: voltage law", VOLTAGE_LAWS)
    c2_per_s: float = _option(4.0, "secondary: gain of the frequency consensus")
    c0_per_s: float = _option(4.0, "secondary: gain of the restoration of frequency")
    c3_per_s: float = _option(10.0, "secondary: gain of the sharing of reactive power")
    c0v_per_s: float = _option(10.0, "secondary: gain of the pinned voltage")
    beta_per_s: float = _option(2.0, "secondary: gain of every unit's own voltage in Vprime")
    v_ref_pu: float = _option(1.0, "secondary: voltage to restore")
    limit_hz: float = _option(1.0, "secondary: most correction of the frequency")
    v_limit_pu: float = _option(0.05, "secondary: most correction of the voltage")
    delay_handling: str = _option("matched", "secondary: with which own value a message is compared", HANDLINGS)
    max_age_ms: float = _option(math.inf, "secondary: messages that are older count no more")
    e_rated_kwh: float = _option(0.0, "secondary: capacity of the unit's store")

    def __post_init__(self) -> None:
        above = {"s_rated_kva", "f_nom_hz", "filter_hz", "period_ms", "v_set_pu"}
        any_sign = {"p_set_kw", "q_set_kvar", "v_ref_pu"}
        wrong = []
        for one in fields(self):
            value, known = getattr(self, one.name), one.metadata["choices"]
            if known:
                if value not in known:
                    wrong.append(f"{one.name} = {value!r}: there are {', '.join(known)}")
            elif one.name in above and not 0 < value < math.inf:
                wrong.append(f"{one.name} = {value:g} must be > 0")
            elif one.name in any_sign and not math.isfinite(value):
                wrong.append(f"{one.name} = {value:g} must be a number")
            elif one.name not in above | any_sign and not value >= 0:
                wrong.append(f"{one.name} = {value:g} must be >= 0")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def omega_nom_rad_per_s(self) -> float:
        """Nominal angular frequency."""
        return TWO_PI * self.f_nom_hz


# --- role `secondary`


class Shared(NamedTuple):
    """What an agent tells its neighbours."""

    omega_rad_per_s: float = 0.0  # frequency correction
    v_pu: float = 0.0  # voltage correction
    p_share_rad_per_s: float = 0.0  # m (P - P*)
    q_share_pu: float = 0.0  # n (Q - Q*)
    v_nominal_pu: float = 1.0  # V* + v
    energy_kwh: float = 0.0
    capacity_kwh: float = 0.0


class Measurement(NamedTuple):
    """What a secondary agent knows of its unit; nan: not known."""

    t_s: float
    shared: Shared
    settings: Settings
    f_hz: float = math.nan
    p_gen_mw: float = math.nan
    q_gen_mvar: float = math.nan
    v_pu: float = math.nan
    p_set_mw: float = math.nan
    soc_percent: float = math.nan


class Neighbour(NamedTuple):
    """A neighbour's last values, the own ones to compare them with, and how old they are."""

    sender: int
    own: Shared
    theirs: Shared
    age_s: float


Control = Callable[[Any, Sequence[Neighbour]], Sequence[float]]


def default_secondary(seen: Measurement, neighbours: Sequence[Neighbour]) -> tuple[float, float]:
    """The laws of gridloop's simulators/models/secondary.py."""
    s, d_omega = seen.settings, TWO_PI * seen.f_hz - seen.settings.omega_nom_rad_per_s
    rate_omega = rate_v = 0.0
    if s.law != "none":
        rate_omega = -s.c2_per_s * sum(n.own.omega_rad_per_s - n.theirs.omega_rad_per_s for n in neighbours)
        if s.law == "D":
            rate_omega -= s.c0_per_s * d_omega
        elif s.pin:  # who has no pin need not measure
            rate_omega -= s.c0_per_s * (s.pin * d_omega)
    if s.voltage_law == "paper23":
        rate_v = -s.c3_per_s * sum(n.own.v_nominal_pu - n.theirs.v_nominal_pu for n in neighbours)
    elif s.voltage_law != "none":
        rate_v = -s.c3_per_s * sum(n.own.q_share_pu - n.theirs.q_share_pu for n in neighbours)
    if s.voltage_law == "Vprime":
        rate_v -= s.beta_per_s * (seen.v_pu - s.v_ref_pu)
    elif s.voltage_law != "none" and s.pin:
        rate_v -= s.c0v_per_s * s.pin * (seen.v_pu - s.v_ref_pu)
    return rate_omega, rate_v


class Refused(Exception):
    """A request that cannot be answered; `code` tells why."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def _filled(values: Sequence[float], least: int, most: int) -> tuple[float, ...]:
    """The values, nan for those left out at the end."""
    if not least <= len(values) <= most:
        raise Refused(WRONG_COUNT, f"{len(values)} values; there are {least} to {most}")
    return (*values, *(math.nan for _ in range(most - len(values))))


def _pair(control: Control, seen: Any, neighbours: Sequence[Neighbour]) -> tuple[float, float]:
    """What a law answers, if it is two numbers."""
    try:
        first, second = (float(value) for value in control(seen, neighbours))
    except Exception as error:
        log.debug("the law fails", exc_info=True)
        raise Refused(NO_NUMBER, f"the law fails: {type(error).__name__}: {error}") from error
    if not (math.isfinite(first) and math.isfinite(second)):
        raise Refused(NO_NUMBER, f"the law gives {first:g}, {second:g}; is all connected that it needs?")
    return first, second


HISTORY_MS = 60_000  # a message that is older cannot be matched any more


class Secondary:
    """A secondary-control agent."""

    number, name = 1, "secondary"

    def __init__(self, settings: Settings, control: Control | None = None) -> None:
        self._settings, self._control = settings, control or default_secondary
        self.begin()

    def begin(self) -> None:
        """No correction; nobody has been heard."""
        self._correction = (0.0, 0.0, 0.0, 0.0)  # Omega, v and their rates from the last tick on
        self._measured_ms = self._decided_ms = -1
        self._seen: Measurement
        self._arrived: dict[int, Frame] = {}
        self._newest: dict[int, tuple[int, Shared, Shared]] = {}
        self._times: list[int] = []
        self._values: list[Shared] = []

    def answer(self, frame: Frame) -> tuple[float, ...] | None:
        """What a request is answered; None: nothing."""
        if frame.type == MEASURE:
            return self._measure(frame.t_ms, _filled(frame.values, 1, 6))
        if frame.type == NEIGHBOUR:
            self._hear(frame)
            return None
        if frame.type == DECIDE:
            return self._decide(frame.t_ms)
        if frame.type == ALIGN:
            omega, v = _filled(frame.values, 2, 2)
            if not (math.isfinite(omega) and math.isfinite(v)):
                raise Refused(WRONG_COUNT, "align needs two numbers")
            self._correction = (omega, v, 0.0, 0.0)
            return ()
        raise Refused(UNKNOWN, f"a request of type {frame.type}")

    def _measure(self, t_ms: int, values: tuple[float, ...]) -> tuple[float, ...]:
        """Begin a tick: move along the ramps, take the unit's values. The same tick again changes nothing."""
        if t_ms < self._measured_ms:
            raise Refused(WRONG_TIME, f"t = {t_ms} ms after {self._measured_ms} ms; say hello first")
        if t_ms > self._measured_ms:
            s, period_s = self._settings, self._settings.period_ms * 1000 * 1e-6
            omega, v, rate_omega, rate_v = self._correction
            omega, v = omega + rate_omega * period_s, v + rate_v * period_s
            self._correction, self._measured_ms = (omega, v, 0.0, 0.0), t_ms
            _, p_gen_mw, q_gen_mvar, _, p_set_mw, soc_percent = values
            p_set_kw = s.p_set_kw if math.isnan(p_set_mw) else 1e3 * p_set_mw
            shared = Shared(
                omega, v,
                s.droop_p_percent / 100 * s.omega_nom_rad_per_s * (1e3 * p_gen_mw - p_set_kw) / s.s_rated_kva,
                s.droop_q_percent / 100 * (1e3 * q_gen_mvar - s.q_set_kvar) / s.s_rated_kva,
                s.v_set_pu + v,
                s.e_rated_kwh * (soc_percent / 100) if s.e_rated_kwh else 0.0, s.e_rated_kwh,
            )  # fmt: skip
            self._seen = Measurement(t_ms / 1e3, shared, s, *values)
            self._remember(t_ms, shared)
        return self._seen.shared

    def _remember(self, t_ms: int, own: Shared) -> None:
        self._times.append(t_ms)
        self._values.append(own)
        old = bisect_right(self._times, t_ms - HISTORY_MS) - 1
        if old > len(self._times) // 2:
            del self._times[:old], self._values[:old]

    def _hear(self, frame: Frame) -> None:
        """Keep a message until the next decision: its measurement may be on its way."""
        if len(frame.values) != 8 or not 0 <= frame.values[0] < 256:
            raise Refused(WRONG_COUNT, "a neighbour's message needs its number 0..255 and 7 values")
        sender = int(frame.values[0])
        known = self._arrived.get(sender)
        if known is None or frame.t_ms >= known.t_ms:
            self._arrived[sender] = frame

    def _decide(self, t_ms: int) -> tuple[float, ...]:
        """The ramps up to the next tick."""
        if t_ms != self._measured_ms:
            raise Refused(WRONG_TIME, f"nothing was measured at {t_ms} ms")
        if t_ms > self._decided_ms:
            self._take_arrived()
            rate_omega, rate_v = _pair(self._control, self._seen, self._neighbours(t_ms))
            s, (omega, v, _, _) = self._settings, self._correction
            period_s = s.period_ms * 1000 * 1e-6
            rate_omega = _within(omega, rate_omega, s.limit_hz * TWO_PI, period_s)
            self._correction = (omega, v, rate_omega, _within(v, rate_v, s.v_limit_pu, period_s))
            self._decided_ms = t_ms
        return self._correction

    def _take_arrived(self) -> None:
        """Pair each message with the own value of its time; one older than the last, or the history, is left aside."""
        matched = self._settings.delay_handling == "matched"
        for sender, frame in self._arrived.items():
            known = self._newest.get(sender)
            place = bisect_right(self._times, frame.t_ms) - 1 if matched else len(self._times) - 1
            if place >= 0 and (known is None or frame.t_ms >= known[0]):
                self._newest[sender] = (frame.t_ms, self._values[place], Shared(*frame.values[1:]))
        self._arrived.clear()

    def _neighbours(self, t_ms: int) -> list[Neighbour]:
        s, found = self._settings, []
        for sender, (stamp_ms, then, theirs) in sorted(self._newest.items()):
            if t_ms - stamp_ms <= s.max_age_ms:
                own = then if s.delay_handling == "matched" else self._values[-1]
                found.append(Neighbour(sender, own, theirs, (t_ms - stamp_ms) * 1000 * 1e-6))
        return found


def _within(value: float, rate: float, limit: float, period_s: float) -> float:
    """The rate, or what is left of it where it would lead beyond +- limit."""
    end = value + rate * period_s
    return rate if -limit <= end <= limit else (math.copysign(limit, end) - value) / period_s


# --- role `inverter`


class PowerMeasurement(NamedTuple):
    """What an inverter's control gets; set-points and corrections are filled in."""

    t_s: float
    p_gen_mw: float
    q_gen_mvar: float
    v_pu: float
    p_set_mw: float
    q_set_mvar: float
    v_set_pu: float
    omega_rad_per_s: float  # corrections of a secondary control
    v_correction_pu: float
    p_filtered_mw: float
    q_filtered_mvar: float
    settings: Settings


def default_inverter(seen: PowerMeasurement, neighbours: Sequence[Neighbour] = ()) -> tuple[float, float]:
    """The droop of gridloop's simulators/models/inverter.py."""
    s = seen.settings
    m = s.droop_p_percent / 100 * s.omega_nom_rad_per_s / (s.s_rated_kva * 1e-3)  # rad/s per MW
    n = s.droop_q_percent / 100 / (s.s_rated_kva * 1e-3)  # pu per MVar
    slip = seen.omega_rad_per_s + m * (seen.p_set_mw - seen.p_filtered_mw)
    e_pu = seen.v_set_pu + seen.v_correction_pu + n * (seen.q_set_mvar - seen.q_filtered_mvar)
    return s.f_nom_hz + slip / TWO_PI, e_pu


class Inverter:
    """Droop with power filters, their response exact for powers that change linearly between two measurements.

    Left out: limits of power and voltage.
    """

    number, name = 2, "inverter"

    def __init__(self, settings: Settings, control: Control | None = None) -> None:
        self._settings, self._control = settings, control or default_inverter
        self.begin()

    def begin(self) -> None:
        """At rest with the first powers measured."""
        self._measured_ms = -1
        self._s_mva = self._filtered_mva = 0j

    def answer(self, frame: Frame) -> tuple[float, ...]:
        """f [Hz] and E [pu] for a measurement."""
        if frame.type != MEASURE:
            raise Refused(UNKNOWN, f"a request of type {frame.type}")
        p, q, v, p_set, q_set, v_set, omega, v_correction = _filled(frame.values, 2, 8)
        if not (math.isfinite(p) and math.isfinite(q)):
            raise Refused(NO_NUMBER, f"P = {p:g} MW, Q = {q:g} MVar")
        if frame.t_ms < self._measured_ms:
            raise Refused(WRONG_TIME, f"t = {frame.t_ms} ms after {self._measured_ms} ms; say hello first")
        self._filter(frame.t_ms, complex(p, q))
        s, filtered = self._settings, self._filtered_mva
        seen = PowerMeasurement(
            frame.t_ms / 1e3, p, q, v, _or(p_set, s.p_set_kw / 1e3), _or(q_set, s.q_set_kvar / 1e3),
            _or(v_set, s.v_set_pu), _or(omega, 0.0), _or(v_correction, 0.0), filtered.real, filtered.imag, s,
        )  # fmt: skip
        return _pair(self._control, seen, ())

    def _filter(self, t_ms: int, s_mva: complex) -> None:
        if self._measured_ms < 0:
            self._filtered_mva = s_mva
        elif t_ms > self._measured_ms:
            corner, dt_s = TWO_PI * self._settings.filter_hz, (t_ms - self._measured_ms) / 1e3
            gone = -math.expm1(-corner * dt_s) / corner
            slope = (s_mva - self._s_mva) / dt_s
            self._filtered_mva = (
                math.exp(-corner * dt_s) * self._filtered_mva + corner * gone * self._s_mva + (dt_s - gone) * slope
            )
        self._measured_ms, self._s_mva = t_ms, s_mva


def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


# --- clocks: gridloop's hil/stamps.py tells more of them

WRAP_US = (1 << 32) * 1000


def apart_us(later_us: int, earlier_us: int) -> int:
    """later - earlier of clocks that begin anew after 2^32 ms."""
    return (later_us - earlier_us + WRAP_US // 2) % WRAP_US - WRAP_US // 2


class Stamps:
    """Offset of this clock to the host's, and the one-way delays, from four stamps an exchange (RFC 5905)."""

    FIELDS = ("at_us", "offset_us", "error_us", "round_trip_us", "to_device_us", "to_host_us")

    def __init__(self) -> None:
        self._last: tuple[int, int, int, int] | None = None  # seq, t1, t2, t3
        self._stages: deque[tuple[int, float]] = deque(maxlen=8)

    def take(self, request: Frame, t2_us: int, t3_us: int) -> tuple[float, ...] | None:
        """Keep the stamps of a sync; what the one before it showed, now that the host told when it ended."""
        if len(request.values) != 3:
            raise Refused(WRONG_COUNT, "sync needs 3 values")
        beyond_us, took_us, seq = request.values
        last, self._last = self._last, None
        if not 0 <= beyond_us < 1000:
            return None
        self._last = (request.seq, request.t_ms * 1000 + round(beyond_us), t2_us, t3_us)
        if last is None or last[0] != seq or not 0 <= took_us < WRAP_US:
            return None
        _, t1, t2, t3 = last
        t4 = t1 + round(took_us)
        out, back, round_trip = apart_us(t2, t1), apart_us(t4, t3), t4 - t1 - (t3 - t2)
        if round_trip < 0:
            return None
        self._stages.append((round_trip, (out - back) / 2))
        shortest, offset = min(self._stages)
        return (t4, offset, shortest / 2, round_trip, out - offset, back + offset)


# --- the agent


class Agent:
    """Requests in, answers out; no lines, no clock.

    Args:
        role: a Secondary or an Inverter.
        safe: called when the host stops the agent.
        record: takes what every exchange of stamps showed, fields of `Stamps`.
    """

    def __init__(
        self, role: Secondary | Inverter, period_ms: int = 0, safe: Callable[[], None] | None = None,
        record: Callable[[tuple[Any, ...]], object] | None = None,
    ) -> None:  # fmt: skip
        self._role, self._period_ms, self._safe = role, period_ms, safe or (lambda: None)
        self._record = record or (lambda row: None)
        self._stamps, self._refused = Stamps(), ""

    def answer(self, frame: Frame, received_us: int, now_us: int) -> Frame | None:
        """The answer to a request; None: there is none."""
        t_ms = frame.t_ms
        try:
            values: tuple[float, ...] | None = ()
            if frame.type >= ANSWER:
                return None  # somebody's answer, or our own request come back: never answer an answer
            if frame.type == HELLO:
                self._role.begin()
                values = (VERSION, self._role.number, self._period_ms)
            elif frame.type == STOP:
                self._role.begin()
                self.safe()
            elif frame.type == SYNC:
                showed = self._stamps.take(frame, received_us, now_us)
                if showed is not None:
                    self._record(showed)
                t_ms, values = received_us // 1000 % (1 << 32), (received_us % 1000, now_us - received_us)
            else:
                values = self._role.answer(frame)
            if any(abs(value) > MOST for value in values or ()):  # nan is not
                raise Refused(NO_NUMBER, f"{max(values or (), key=abs):g} is too large for a frame")
        except Refused as error:
            if str(error) != self._refused:
                self._refused = str(error)
                log.warning("refused: %s", error)
            return None if frame.type == NEIGHBOUR else Frame(REFUSED, frame.seq, t_ms, (error.code, frame.type))
        return None if values is None else Frame(frame.type + ANSWER, frame.seq, t_ms, tuple(map(float, values)))

    def safe(self) -> None:
        """Take the safe state; a user's that fails is reported."""
        try:
            self._safe()
        except Exception:
            log.exception("safe() fails")


# --- lines


class Line(ABC):
    """A way to the host that mends itself: `read` gives nothing while there is none."""

    def __init__(self) -> None:
        self.generation = 0  # counts the connections
        self._was_lost = False

    def read(self, timeout_s: float) -> bytes:
        """What has come, b"" after `timeout_s` without anything."""
        pause_s = timeout_s
        try:
            if not self._is_open():
                self._open(timeout_s)
                if not self._is_open():
                    return b""
                self.generation, self._was_lost = self.generation + 1, False
                log.info("connected: %s", self)
            pause_s = min(timeout_s, 0.02)
            return self._read(timeout_s)
        except OSError as error:
            self._lose(error)
            time.sleep(pause_s)
            return b""

    def write(self, data: bytes) -> None:
        """Send everything, or lose the line."""
        try:
            if self._is_open():
                self._write(data)
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not self._was_lost:
            log.warning("no line to the host: %s: %s", self, error)
        self._was_lost = True
        self.close()

    @abstractmethod
    def _is_open(self) -> bool:
        """Whether there is one."""

    @abstractmethod
    def _open(self, timeout_s: float) -> None:
        """Try to find one."""

    @abstractmethod
    def _read(self, timeout_s: float) -> bytes:
        """What has come; OSError: the other end is gone."""

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Send all of it; OSError: the other end is gone."""

    @abstractmethod
    def close(self) -> None:
        """End it; the next read begins a new one."""


class TcpLine(Line):
    """A TCP connection that this computer makes."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address, self._peer = (host, port), f"{host}:{port}"
        self._socket: socket.socket | None = None

    def __str__(self) -> str:
        return self._peer

    def _is_open(self) -> bool:
        return self._socket is not None

    def _open(self, timeout_s: float) -> None:
        self._take(socket.create_connection(self._address, timeout=max(timeout_s, 1.0)))

    def _take(self, connection: socket.socket) -> None:
        self.close()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(1.0)  # of writes; reads wait for `select`
        self._socket = connection

    def _read(self, timeout_s: float) -> bytes:
        assert self._socket is not None
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return b""
        data = self._socket.recv(4096)
        if not data:
            raise ConnectionResetError("the host ended the connection")
        return data

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    def close(self) -> None:
        """End it; the next read begins a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class TcpServer(TcpLine):
    """The newest TCP connection that a host made: one that comes again has lost the one before."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.listener = socket.create_server((host, port))
        log.info("listens on %s:%d", *self.listener.getsockname()[:2])

    def _open(self, timeout_s: float) -> None:
        if select.select([self.listener], [], [], timeout_s)[0]:
            connection, peer = self.listener.accept()
            self._take(connection)
            self._peer = f"{peer[0]}:{peer[1]}"

    def _read(self, timeout_s: float) -> bytes:
        assert self._socket is not None
        ready = select.select([self.listener, self._socket], [], [], timeout_s)[0]
        if self.listener in ready:
            self._open(0)
            self.generation += 1
            log.info("connected anew: %s", self)
            return b""
        return super()._read(0) if ready else b""


class SerialLine(Line):
    """A serial port, or whatever URL pyserial knows."""

    def __init__(self, port: str, baud: int) -> None:
        super().__init__()
        import serial  # pyserial; only for serial lines

        self._make, self._port, self._baud = serial.serial_for_url, port, baud
        self._serial: Any = None

    def __str__(self) -> str:
        return self._port

    def _is_open(self) -> bool:
        return self._serial is not None

    def _open(self, timeout_s: float) -> None:
        self._serial = self._make(self._port, baudrate=self._baud, timeout=timeout_s, write_timeout=1.0)

    def _read(self, timeout_s: float) -> bytes:
        data: bytes = self._serial.read(1)
        return data + self._serial.read(self._serial.in_waiting) if data else data

    def _write(self, data: bytes) -> None:
        self._serial.write(data)

    def close(self) -> None:
        """End it; the next read begins a new one."""
        if self._serial is not None:
            self._serial.close()
            self._serial = None


# --- at work


def serve(agent: Agent, line: Line, codec: str, watchdog_s: float = 1.0) -> None:
    """Answer until the process is ended; the safe state is taken then, and while the host is silent."""
    began_ns, generation, decoder, is_working = time.monotonic_ns(), -1, Decoder(codec), False
    heard_us = 0

    def now_us() -> int:
        return (time.monotonic_ns() - began_ns) // 1000

    try:
        while True:
            data = line.read(min(0.2, watchdog_s))
            received_us = now_us()
            if line.generation != generation:
                generation, decoder = line.generation, Decoder(codec)
            for frame in decoder.feed(data):
                answer = agent.answer(frame, received_us, now_us())
                if frame.type in (MEASURE, DECIDE, STOP):
                    heard_us, is_working = received_us, frame.type != STOP
                if answer is not None:
                    line.write(CODECS[codec].encode(answer))
            if is_working and now_us() - heard_us > 1e6 * watchdog_s:
                is_working = False
                log.warning("the host is silent for %g s", watchdog_s)
                agent.safe()
    finally:
        line.close()
        agent.safe()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars="@",
        epilog="@FILE reads options from a file, one a line, as --pin=1.",
    )  # fmt: skip
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--serial", metavar="PORT", help="serial port, as /dev/ttyACM0 or COM3")
    where.add_argument("--listen", metavar="[HOST:]PORT", type=_address, help="wait for the host's TCP connection")
    where.add_argument("--connect", metavar="HOST:PORT", type=_address, help="connect to the host by TCP")
    made.add_argument("--baud", type=int, default=115200, help="of the serial port (115200)")
    made.add_argument("--codec", choices=list(CODECS), default="cobs", help="COBS frames or JSON lines (cobs)")
    made.add_argument("--role", choices=["secondary", "inverter"], default="secondary", help="(secondary)")
    made.add_argument("--control", metavar="FILE", help="a Python file with control(measurement, neighbours)")
    made.add_argument("--watchdog-s", type=float, default=1.0, help="silence of the host after which safe() is called")
    made.add_argument("--record", metavar="FILE", help="CSV of clock offset and one-way delays [us]")
    unit = made.add_argument_group("the unit and its control")
    for one in fields(Settings):
        option = "--" + one.name.replace("_", "-")
        words = one.metadata["help"] + (f" ({one.default})" if one.default else "")
        unit.add_argument(option, type=type(one.default), default=one.default, help=words,
                          choices=one.metadata["choices"])  # fmt: skip
    return made


def _loaded(path: str | None) -> dict[str, Any]:
    """What a user's file defines."""
    found = {} if path is None else runpy.run_path(path)
    if path is not None and not callable(found.get("control")):
        raise ValueError(f"{path} has no function control(measurement, neighbours)")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Be an agent until ended."""
    options = parser()
    given = options.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings(**{one.name: getattr(given, one.name) for one in fields(Settings)})
        own = _loaded(given.control)
        if not given.watchdog_s > 0:
            raise ValueError(f"watchdog_s = {given.watchdog_s:g} must be > 0")
        if given.serial:
            line: Line = SerialLine(given.serial, given.baud)
        else:
            line = TcpServer(*given.listen) if given.listen else TcpLine(*given.connect)
    except ImportError:
        options.error("--serial needs pyserial: python -m pip install pyserial")
    except (ValueError, OSError) as error:
        options.error(str(error))
    role = (Secondary if given.role == "secondary" else Inverter)(settings, own.get("control"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        record: Callable[[tuple[Any, ...]], object] | None = None
        if given.record:
            file = stack.enter_context(Path(given.record).open("w", newline="", encoding="utf-8", buffering=1))
            record = csv.writer(file).writerow
            record(Stamps.FIELDS)
        try:
            serve(Agent(role, settings.period_ms, own.get("safe"), record), line, given.codec, given.watchdog_s)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
