"""What a SunSpec device can do, as a register map: set-points by model 704, or by 123, or none (read only).

Where the scale of what is read may change, it is read along (`Point.power_at`). All else has the scale that the scan
found. Set-points are written in the safe order: reversion time, mode, value, and last the enable.
What does not change in a run (ratings, droop, curves) is no point of the map: see sunspec_capabilities.
Left out: charging and discharging by model 124, which knows percent of a battery's limits only.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gridloop.hil.points import BITFIELDS, Point
from gridloop.hil.registers import RegisterMap
from gridloop.hil.sunspec import SunSpecDevice
from gridloop.hil.sunspec_models import SunSpecError, SunSpecModel

REVERSION_S = 10.0

NAMED = ("enum16", *BITFIELDS)  # types
MEASURED = (701, 103, 102, 101, 113, 112, 111)  # models with P, Q, V, f, in the order of preference


@dataclass(frozen=True)
class _Ratings:
    """Of the device; nan = not told."""

    p_max_w: float
    p_charge_max_w: float
    q_max_var: float
    v_nominal_v: float


def sunspec_map(device: SunSpecDevice, reversion_s: float = REVERSION_S, v_nominal_v: float = math.nan) -> RegisterMap:
    """The map of a device that was scanned.

    Args:
        reversion_s: after which the device goes to its safe state by itself when it hears nothing more.
        v_nominal_v: between lines, for Vm[pu]; nan = what the device calls nominal. Without either there is V[V].

    Raises:
        SunSpecError: the device shows no P and Q.
    """
    ratings = _ratings(device, v_nominal_v)
    points = [*_control(device, ratings, reversion_s), *_measured(device, ratings), *_others(device)]
    shown = {point.attr for point in points if point.is_read}
    if not {"P_gen[MW]", "Q_gen[MVar]"} <= shown:
        raise SunSpecError(f"the device shows no active and reactive power: models {_ids(device)}")
    written = any(point.is_written for point in points)
    told = " ".join(word for word in device.identity.values() if word)
    return RegisterMap(
        name="sunspec", role="power" if written else "meter", points=tuple(points), period_ms=100, gap=8,
        description=f"SunSpec {told}".strip(),
    )  # fmt: skip


def _ids(device: SunSpecDevice) -> str:
    return ", ".join(str(model) for model, _, _ in device.directory)


# places of a rating, in the order of preference
P_MAX = ((702, "WMax"), (702, "WMaxRtg"), (121, "WMax"), (120, "WRtg"))
P_CHARGE_MAX = ((702, "WChaRteMax"), (702, "WChaRteMaxRtg"), (120, "MaxChaRte"))
Q_MAX = ((702, "VarMaxInj"), (702, "VarMaxInjRtg"), (121, "VArMaxQ1"))
V_NOMINAL = ((702, "VNom"), (702, "VNomRtg"), (121, "VRef"))


def rating(device: SunSpecDevice, places: Sequence[tuple[int, str]]) -> tuple[float, str]:
    """A rating in the device's unit and where it stands, `702 WMax`; nan and '' where the device tells none."""
    for id, path in places:
        model = device.model(id)
        if model is not None and model.value(path) > 0:
            return model.value(path), f"{id} {path}"
    return math.nan, ""


def _ratings(device: SunSpecDevice, v_nominal_v: float) -> _Ratings:
    return _Ratings(
        rating(device, P_MAX)[0], rating(device, P_CHARGE_MAX)[0], rating(device, Q_MAX)[0],
        v_nominal_v if v_nominal_v > 0 else rating(device, V_NOMINAL)[0],
    )  # fmt: skip


def _point(model: SunSpecModel, path: str, attr: str, **fields: Any) -> Iterator[Point]:
    """The point at a path as one that is read; nothing if its scale is not implemented.

    A scale that may change is read along; those of the 700s are static and far from their values.
    """
    entry = model.entries.get(path)
    if entry is None or entry.type is None or (entry.factor in model.entries and not model.has(entry.factor)):
        return
    factor = model.entries.get(entry.factor)
    if factor is not None and factor.is_static:
        factor = None
    power = model.power(path) if factor is None else 0
    if power is None:
        return
    yield Point(
        **{
            "name": f"m{model.id}_{path}", "attr": attr, "address": model.address + entry.offset, "type": entry.type,
            "sentinel": entry.sentinel, "scale": 10.0**power, "names": entry.names if entry.type in NAMED else (),
            "power_at": -1 if factor is None else model.address + factor.offset,
        } | fields
    )  # fmt: skip


def _written(model: SunSpecModel, path: str, attr: str, times: float = 1.0, **fields: Any) -> Iterator[Point]:
    """The point at a path as one that is written, with the scale of the scan times `times`."""
    power = model.power(path) if model.has(path) else None
    if power is not None and model.entries[path].is_writable:
        for point in _point(model, path, attr, **{"role": "write"} | fields):
            yield replace(point, scale=10.0**power * times, power_at=-1)


def _measured(device: SunSpecDevice, ratings: _Ratings) -> Iterator[Point]:
    model = device.model(*MEASURED)
    if model is None:
        return
    if model.id == 701:
        q, lines, phase, alarm = "Var", "LLV", "LNV", "Alrm"
        yield from _if_there(model, "ConnSt", "connected[1]")
        yield from _if_there(model, "InvSt", "state[1]")
    else:
        q, lines, phase, alarm = "VAr", "PPVphAB", "PhVphA", "Evt1"
        yield from _if_there(model, "St", "state[1]")
    yield from _point(model, "W", "P_gen[MW]", unit="W")
    yield from _point(model, q, "Q_gen[MVar]", unit="var")
    yield from _point(model, "Hz", "f[Hz]")
    yield from _if_there(model, alarm, "alarm[1]")
    for path, base_v in ((lines, ratings.v_nominal_v), (phase, ratings.v_nominal_v / math.sqrt(3))):
        if model.has(path):
            if base_v > 0:
                yield from _point(model, path, "Vm[pu]", unit="V", base=base_v)
            else:
                yield from _point(model, path, "V[V]")
            break


def _if_there(model: SunSpecModel, path: str, attr: str, **fields: Any) -> Iterator[Point]:
    if model.has(path):
        yield from _point(model, path, attr, **fields)


def _others(device: SunSpecDevice) -> Iterator[Point]:
    """State of charge and heartbeats."""
    storage, basic = device.model(713), device.model(124)
    if storage is not None and storage.has("SoC"):
        yield from _point(storage, "SoC", "SoC[%]", low=0, high=100)
    elif basic is not None and basic.has("ChaState"):
        yield from _point(basic, "ChaState", "SoC[%]", low=0, high=100)
    control = device.model(715)
    if control is not None:
        yield from _if_there(control, "DERHb", "heartbeat[1]", sentinel=None)
        yield from _written(control, "ControllerHb", "heartbeat[1]", role="heartbeat", sentinel=None)


def _control(device: SunSpecDevice, ratings: _Ratings, reversion_s: float) -> Iterator[Point]:
    """Set-points, in the order of writing."""
    new, old = device.model(704), device.model(123)
    if new is not None and (new.has("WSet") or new.has("VarSet")):
        yield from _new_control(new, ratings, reversion_s)
    elif old is not None and ratings.p_max_w > 0:  # it knows percent only
        yield from _old_control(old, ratings, reversion_s)


def _new_control(model: SunSpecModel, ratings: _Ratings, reversion_s: float) -> Iterator[Point]:
    """Model 704: watts and vars."""
    if model.has("WSet"):
        low = -ratings.p_charge_max_w if ratings.p_charge_max_w > 0 else 0.0
        high = ratings.p_max_w if ratings.p_max_w > 0 else math.inf
        yield from _written(model, "WSetRvrtTms", "reversion[s]", preset=reversion_s)
        yield from _written(model, "WSetRvrt", "P_revert[MW]", unit="W", preset=0)
        yield from _written(model, "WSetEnaRvrt", "enable_revert[1]", preset=1)
        yield from _written(model, "WSetMod", "P_mode[1]", preset=1)
        yield from _written(model, "WSet", "P_set[MW]", unit="W", low=low, high=high, safe=0)
        yield from _written(model, "WSetEna", "enable[1]", preset=1)
    if model.has("VarSet"):
        limit = ratings.q_max_var if ratings.q_max_var > 0 else math.inf
        yield from _written(model, "VarSetRvrtTms", "reversion_Q[s]", preset=reversion_s)
        yield from _written(model, "VarSetRvrt", "Q_revert[MVar]", unit="var", preset=0)
        yield from _written(model, "VarSetEnaRvrt", "enable_Q_revert[1]", preset=1)
        yield from _written(model, "VarSetMod", "Q_mode[1]", preset=4)
        yield from _written(model, "VarSet", "Q_set[MVar]", unit="var", low=-limit, high=limit, safe=0)
        yield from _written(model, "VarSetEna", "enable_Q[1]", preset=1)


def _old_control(model: SunSpecModel, ratings: _Ratings, reversion_s: float) -> Iterator[Point]:
    """Model 123: an upper limit of P, and Q, in percent of the greatest power."""
    one_percent_w = ratings.p_max_w / 100
    if model.has("WMaxLimPct"):
        yield from _written(model, "WMaxLimPct_RvrtTms", "reversion[s]", preset=reversion_s)
        yield from _written(
            model, "WMaxLimPct", "P_set[MW]", one_percent_w, unit="W", low=0, high=ratings.p_max_w, safe=0
        )  # fmt: skip
        yield from _written(model, "WMaxLim_Ena", "enable[1]", preset=1)
    if model.has("VArWMaxPct"):
        yield from _written(model, "VArPct_RvrtTms", "reversion_Q[s]", preset=reversion_s)
        yield from _written(model, "VArPct_Mod", "Q_mode[1]", preset=1)
        yield from _written(
            model, "VArWMaxPct", "Q_set[MVar]", one_percent_w, unit="var", low=-ratings.p_max_w, high=ratings.p_max_w,
            safe=0,
        )  # fmt: skip
        yield from _written(model, "VArPct_Ena", "enable_Q[1]", preset=1)
