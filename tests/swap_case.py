"""The swap row: one scenario, and whatever drives inv2 leaves it as inv2's model does.

Three droop inverters on the 9-bus network, a load step at 0.3 s. The file never changes: a device is put in place of
the model by `run(scenario(), swap={UNIT: url})`, as `--swap inv2=URL` does it. As it stands a device behind a wire runs
in real time; with LOCKSTEP every step waits for it, so that a busy machine changes nothing.
"""

from typing import Any, NamedTuple

import numpy as np

from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.scenarios import load
from gridloop.scenarios.emulated_unit import ModelLaw
from gridloop.scenarios.start import plan

UNIT = "inv2"
UNTIL_S, LOAD_STEP_S, SETTLED_S = 2.3, 0.3, 2.1
F_MOST_HZ = 1e-3
DEVICE = {"url": "emulated:", "period_ms": 10, "deadline_ms": 10, "allow_writes": True}
LOCKSTEP: dict[str, Any] = {
    f"units.{UNIT}.device.{key}": value
    for key, value in {"mode": "lockstep", "period_ms": 200, "deadline_ms": 200, "max_age_ms": 1000}.items()
}


def scenario(until_s: float = UNTIL_S, **overrides: Any) -> Any:
    """With a device for inv2; the process' own, unless `swap` names another."""
    case = load("ieee9")
    step = case.to_dict()["events"][0] | {"t_s": LOAD_STEP_S}
    return case.with_overrides({"until_s": until_s, "events": [step], f"units.{UNIT}.device": DEVICE} | overrides)


def simulated(**overrides: Any) -> Any:
    """The same without a device."""
    return scenario(**{f"units.{UNIT}.device": None} | overrides)


class Droop(NamedTuple):
    """inv2 as its own controller has to know it."""

    f_hz: float
    hz_per_mw: float
    v_pu: float
    pu_per_mvar: float
    p_set_mw: float
    q_set_mvar: float
    filter_hz: float


def droop() -> Droop:
    """The parameters of inv2 in the scenario."""
    what = plan(simulated())
    group, p = what.groups[0], what.groups[0].params
    row, s_base_mva = group.ids.index(UNIT), what.case.network.s_base_mva
    one = {name: float(np.broadcast_to(getattr(p, name), len(group.ids))[row]) for name in (
        "droop_p_hz_pu", "v_set_pu", "droop_q_pu", "p_set_kw", "q_set_kvar", "filter_hz",
    )}  # fmt: skip
    return Droop(
        what.case.network.f_nom_hz, one["droop_p_hz_pu"] / s_base_mva, one["v_set_pu"], one["droop_q_pu"] / s_base_mva,
        one["p_set_kw"] / 1e3, one["q_set_kvar"] / 1e3, one["filter_hz"],
    )  # fmt: skip


def emulator(url: str, map_name: str = "generic_controller") -> Emulator:
    """inv2's own model behind registers, in another thread."""
    what = plan(simulated())
    return Emulator(url, load_map(map_name), ModelLaw(what, what.groups[0], what.groups[0].ids.index(UNIT)))


def p_quantum_mw(f_step_hz: float, p_step_mw: float) -> float:
    """What a frequency rounded to `f_step_hz` and a power rounded to `p_step_mw` leave open of inv2's power."""
    return f_step_hz / droop().hz_per_mw + p_step_mw


def judge(result: Any, reference: Any, p_most_mw: float) -> None:
    """After settling the frequencies are within 1 mHz and the powers within the quantisation of the simulated run."""
    assert result.status == "done", result.record["message"]
    t, active = result.series(UNIT, "active[1]")
    assert active.all()
    settled = t >= SETTLED_S
    for unit in ("inv1", "inv2", "inv3"):
        for attr, most in (("f[Hz]", F_MOST_HZ), ("P_gen[MW]", p_most_mw)):
            off = np.abs(result.series(unit, attr)[1] - reference.series(unit, attr)[1])[settled].max()
            assert off <= most, f"{unit}: {attr} is off by {off:.3g}, more than {most:.3g}"
