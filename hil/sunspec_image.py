"""The registers of a SunSpec device from its values: what an emulator serves. Pure."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gridloop.hil.points import Point, encode
from gridloop.hil.sunspec import END, MARK
from gridloop.hil.sunspec_models import HEAD, Entry, SunSpecError, SunSpecModel, layout

LONGEST = 2000  # registers of a model of ours


def image(models: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Registers from the mark on: each model with its points by path, and the end.

    Numbers are scaled ones: `{103: {"W_SF": 1, "W": 4200}}` puts 420 into W. What is not given is not implemented,
    counts of groups are found from the paths (`Ctl[1].DbOf`), scale factors are 0 where a point needs one.

    Raises:
        SunSpecError: a model or point that is not defined, or a value that does not fit, all of them at once.
    """
    registers, problems = list(MARK), list[str]()
    for id, values in models.items():
        try:
            registers += model_registers(id, values)
        except SunSpecError as error:
            problems.append(str(error))
    if problems:
        raise SunSpecError("\n".join(problems))
    return [*registers, END, 0]


def typical_models(p_max_w: float, v_nominal_v: float = 400.0, serial_number: str = "1") -> dict[int, dict[str, Any]]:
    """Models for `image` of an inverter with set-points in watts and vars, heartbeats and a store."""
    power = max(-2, math.ceil(math.log10(p_max_w / 30_000)))  # the greatest power fills 16 bits well
    scales = {"W_SF": power, "VA_SF": power, "Var_SF": power}
    off = {"SetRvrt": 0, "SetRvrtTms": 0, "SetEna": 0, "SetEnaRvrt": 0, "SetMod": 0, "Set": 0, "Set_SF": min(power, 0)}
    return {
        1: {"Mn": "gridloop", "Md": "emulator", "SN": serial_number},
        701: {"ConnSt": 1, "Alrm": 0, "InvSt": 3, "W": 0, "VA": 0, "Var": 0, "Hz": 0, "Hz_SF": -4, "LLV": 0, "V_SF": -1}
        | scales,
        702: {"WMax": p_max_w, "WChaRteMax": p_max_w, "VAMax": p_max_w, "VarMaxInj": p_max_w, "VarMaxAbs": p_max_w,
              "VNom": v_nominal_v, "V_SF": -1} | scales,
        704: {f"{of}{name}": value for of in ("W", "Var") for name, value in off.items()},
        705: {"Ena": 0, "Crv[0].Pt[0].V": 92, "Crv[0].Pt[0].Var": 30, "Crv[0].Pt[1].V": 108, "Crv[0].Pt[1].Var": -30},
        711: {"Ena": 0, "Ctl[0].KOf": 0.05, "Ctl[0].KUf": 0.05, "Ctl[0].DbOf": 0.036, "Ctl[0].DbUf": 0.036, "K_SF": -2,
              "Db_SF": -3},
        713: {"SoC": 50, "Pct_SF": -1},
        715: {"DERHb": 0, "ControllerHb": 0},
    }  # fmt: skip


def model_registers(id: int, values: Mapping[str, Any]) -> list[int]:
    """Registers of one model, from its ID on.

    Raises:
        SunSpecError: see `image`.
    """
    registers = [0xFFFF] * LONGEST  # long enough for the counts: cut to what there is
    values = _with_counts(id, values)
    top = layout(id, [0] * LONGEST)
    for path, value in values.items():
        if path in top and top[path].kind in ("count", "uint16") and isinstance(value, int) and 0 <= value < 0xFFFF:
            registers[top[path].offset] = value
    entries = layout(id, registers)
    length = max(entry.offset + entry.size for entry in entries.values())
    problems = [f"model {id} has no point {path}" for path in values if path not in entries]
    registers = [0] * length
    factors = {entry.factor for path, entry in entries.items() if path in values}
    for path, entry in entries.items():
        value = values.get(path, 0 if path in factors else None)
        try:
            registers[entry.offset : entry.offset + entry.size] = _words(entry, value, _power(entry, values))
        except (ValueError, TypeError, struct.error) as error:
            problems.append(f"model {id}: {path} = {value!r} does not fit: {error}")
    if problems:
        raise SunSpecError("\n".join(problems))
    registers[:HEAD] = id, length - HEAD
    return registers


def with_value(model: SunSpecModel, path: str, value: float) -> SunSpecModel:
    """The model with another scaled value; nan = no value.

    Raises:
        SunSpecError: there is no such point.
    """
    entry = model.entries.get(path)
    power = None if entry is None else model.power(path)
    if entry is None or power is None:
        raise SunSpecError(f"model {model.id} has no point {path}, or no scale for it")
    registers = list(model.registers)
    registers[entry.offset : entry.offset + entry.size] = _words(entry, None if math.isnan(value) else value, power)
    return SunSpecModel(model.id, model.address, tuple(registers))


def _with_counts(id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the counts of groups that the paths tell."""
    counts: dict[str, int] = {}
    for path in values:
        for part in path.split(".")[:-1]:
            name, _, index = part.rstrip("]").partition("[")
            if index.isdigit():
                counts[name] = max(counts.get(name, 0), int(index) + 1)
    # the count of Ctl is NCtl: so in all models of the 700s
    top = layout(id, [0] * LONGEST)
    return {f"N{name}": count for name, count in counts.items() if f"N{name}" in top} | dict(values)


def _power(entry: Entry, values: Mapping[str, Any]) -> int:
    factor = entry.factor
    return int(factor) if factor.lstrip("-").isdigit() else int(values.get(factor, 0)) if factor else 0


def _words(entry: Entry, value: Any, power: int) -> Sequence[int]:
    """Registers of a point; None = not implemented."""
    if entry.kind == "string":
        data = str(value or "").encode()[: 2 * entry.size].ljust(2 * entry.size, b"\0")
        return struct.unpack(f">{entry.size}H", data)
    if entry.type is None:  # pads and addresses of the network
        return [0x8000 if entry.kind == "pad" else 0] * entry.size
    point = Point(entry.path, "x[1]", 0, type=entry.type, sentinel=entry.sentinel, scale=10.0**power, role="both")
    if value is not None:
        words, saturated = encode(point, value)
        if saturated:
            raise ValueError(f"beyond what {entry.kind} holds")
        return words
    bits = 16 * entry.size
    if point.is_float:
        return [0x7FC0, 0] if bits == 32 else [0x7FF8, 0, 0, 0]
    missing = replace(point, scale=1.0).missing or 0
    return list(struct.unpack(f">{entry.size}H", (missing % (1 << bits)).to_bytes(bits // 8, "big")))
