"""Case A with secondary control as a scenario, and what is known of its delay margins (physics.md 3.4, 5.1)."""

from typing import Any

from gridloop.scenarios.reading import load
from gridloop.scenarios.schema import Scenario

UNITS = ("inv1", "inv2", "inv3")
RATED_KVA = (100_000, 200_000, 125_000)
P_SET_KW = (67_000, 163_000, 85_000)  # case A
NONE = {"law": "none"}
CONSTANT_Z, CONSTANT_POWER = [1, 0, 0], [0, 0, 1]
# law of the frequency, graph -> delay margin of the delay differential equation [s], agents without a period
DDE_MARGIN_S = {
    ("F", "line"): 0.13236, ("F", "ring"): 0.13090, ("D", "line"): 0.14727, ("D", "ring"): 0.14247,
}  # fmt: skip
DDE_CONSTANT_POWER_S = {
    ("F", "line"): 0.13256, ("F", "ring"): 0.13089, ("D", "line"): 0.1477, ("D", "ring"): 0.1428,
}  # fmt: skip
# law, period [s] -> longest stable delay in ticks; D on the ring has one less at 10 ms
LARGEST_TICKS = {
    ("F", 0.01): 12, ("F", 0.02): 6, ("F", 0.05): 2, ("F", 0.1): 0,
    ("D", 0.01): 14, ("D", 0.02): 6, ("D", 0.05): 2, ("D", 0.1): 0,
}  # fmt: skip


def case_a(
    control: dict[str, Any], graph: str = "line", p_set_kw: tuple[float, ...] = P_SET_KW, zip_p: Any = None,
    **more: Any,
) -> Scenario:  # fmt: skip
    """Three droop inverters on case9 from their droop equilibrium, with agents that talk along `graph`.

    Args:
        control: keys of the section, without members and leader.
        graph: of the communication.
        p_set_kw: set-points of the units.
        zip_p: shares of the loads; constant impedance at V0 = 1 by default.
        more: other keys of the scenario.
    """
    shares = CONSTANT_Z if zip_p is None else zip_p
    loads = {"zip_p": shares, "zip_q": shares, **({"v0_pu": 1.0} if shares == CONSTANT_Z else {})}
    units = {
        name: {"type": "inverter", "bus": str(row + 1), "s_rated_kva": RATED_KVA[row], "p_set_kw": p_set_kw[row]}
        for row, name in enumerate(UNITS)
    }
    whole = {
        "schema": 1, "name": "case-a", "step_ms": 5, "until_s": 10,
        "grid": {"net": "case9", "base": {"s_mva": 100, "v_kv": 345}, "f_nom_hz": 60, "loads": loads},
        "start": "droop",
        "defaults": {
            "inverter": {"control": "droop", "droop_p_percent": 2, "droop_q_percent": 5, "filter_hz": 5},
        },
        "units": units,
        "control": {"members": list(UNITS), "leader": UNITS[0], "voltage": NONE, **control},
        "comms": {"graph": graph},
    }  # fmt: skip
    return load(whole | more)
