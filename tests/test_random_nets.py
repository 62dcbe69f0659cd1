"""Random small nets with random units: they start at rest, stay balanced, and converge or say that they collapse."""

from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandapower
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridloop.scenarios import RunFailed, load, run, start
from gridloop.scenarios.problems import ScenarioError

number = st.floats(0, 1, width=32)
Net = dict[str, Any]


@st.composite
def nets(draw: st.DrawFn) -> Net:
    """A tree of 3 to 12 buses with up to three lines more; loads anywhere."""
    count = draw(st.integers(3, 12))
    lines = [(draw(st.integers(0, bus - 1)), bus) for bus in range(1, count)]
    for _ in range(draw(st.integers(0, 3))):
        ends = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
        lines.append((ends[0], ends[1]))
    km = [0.02 + 0.15 * draw(number) for _ in lines]  # 0.04 pu and more: the step is short enough for that
    at_loads = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
    loads = [(bus, 0.02 + 0.2 * draw(number), 0.1 * draw(number), draw(st.sampled_from([0, 40, 100])))
             for bus in at_loads]  # fmt: skip
    return {"count": count, "lines": lines, "km": km, "loads": loads}


@st.composite
def units(draw: st.DrawFn, count: int) -> dict[str, Any]:
    """One or more that form the grid (ideal ones at different buses), some that follow, some profiles."""
    found: dict[str, Any] = {}
    buses = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
    for k, bus in enumerate(buses):
        unit: dict[str, Any] = {
            "type": "inverter",
            "bus": f"b{bus}",
            "s_rated_kva": 500 + 1500 * draw(number),
            "droop_p_percent": 1.0,
        }
        unit |= {"p_set_kw": 600 * draw(number), "q_set_kvar": 200 * draw(number) - 100}
        if draw(st.booleans()):
            unit |= {"z_pu": [0.02 * draw(number), 0.05 + 0.15 * draw(number)]}
            if draw(st.booleans()):
                unit |= {"i_max_percent": 150 + 50 * draw(number)}
        found[f"form{k}"] = unit
    for k in range(draw(st.integers(0, 2))):
        found[f"pv{k}"] = {
            "type": "inverter", "control": "following", "bus": f"b{draw(st.integers(0, count - 1))}",
            "s_rated_kva": 100 + 400 * draw(number), "p_set_kw": 300 * draw(number),
            "q_set_kvar": 100 * draw(number) - 50, "p_max_kw": 500 * draw(number),
        }  # fmt: skip
    for k in range(draw(st.integers(0, 2))):
        found[f"given{k}"] = {
            "type": "profile", "bus": f"b{draw(st.integers(0, count - 1))}", "p_gen": 400 * draw(number) - 200,
            "q_load": 50 * draw(number),
        }  # fmt: skip
    return found


@st.composite
def events(draw: st.DrawFn, net: Net, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        at = {"t_s": round(0.03 + 0.1 * draw(number), 4)}
        bus = f"b{draw(st.integers(0, net['count'] - 1))}"
        start, end = net["lines"][draw(st.integers(0, len(net["lines"]) - 1))]
        what: list[dict[str, Any]] = [
            {"do": "load_step", "bus": bus, "p_kw": 600 * draw(number) - 100, "q_kvar": 300 * draw(number)},
            {"do": "line_open", "line": f"b{start}-b{end}"},
            {"do": "line_close", "line": f"b{start}-b{end}"},
            {"do": "fault", "bus": bus, "r_pu": 0.01 + draw(number), "x_pu": draw(number), "for_s": 0.04},
            {"do": "unit_trip", "unit": draw(st.sampled_from(names))},
            {"do": "unit_start", "unit": draw(st.sampled_from(names))},
        ]
        found.append(at | draw(st.sampled_from(what)))
    return found


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[Net, dict[str, Any]]:
    net = draw(nets())
    own = draw(units(net["count"]))
    laws: list[dict[str, Any]] = [{}, {"k_pf": 1.5, "k_qf": -1.0}, {"k_pf": 1.5, "frequency": "bus"}]
    law = draw(st.sampled_from(laws))
    # an ideal source has no limit; a net of loads alone has no dispatch: everything starts on its droop lines
    return net, {
        "schema": 1, "name": "random", "start": "droop", "until_s": 0.15, "step_ms": 2.5, "units": own,
        "grid": {"net": "case9", "loads": {"v0_pu": 1} | law}, "events": draw(events(net, list(own))),
    }  # fmt: skip


def made_of(net: Net) -> Any:
    made = pandapower.create_empty_network(f_hz=50, sn_mva=1)
    buses = [pandapower.create_bus(made, 0.4, name=f"b{k}") for k in range(net["count"])]
    for (one, other), km in zip(net["lines"], net["km"], strict=True):
        pandapower.create_line_from_parameters(made, buses[one], buses[other], km, 0.3, 0.35, 100, max_i_ka=0.4)
    for bus, p, q, z in net["loads"]:
        pandapower.create_load(made, buses[bus], p, q, const_z_p_percent=z, const_z_q_percent=z)
    return made


def assert_sound(result: Any, first_event_s: float) -> None:
    """No series has a nan, all power is accounted for, and nothing moves before the first event."""
    assert result.series("grid", "mismatch[MW]")[1].max() < 1e-8
    p_gen, p_load, p_loss = (result.series("grid", f"P_{what}[MW]")[1] for what in ("gen", "load", "loss"))
    assert np.abs(p_gen - p_load - p_loss).max() < 1e-8
    for name, entity in result.entities.items():
        for attribute in entity.attributes:
            t, values = result.series(name, attribute)
            assert np.isfinite(values).all(), (name, attribute)
            if attribute in ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "E[pu]"):
                assert np.ptp(values[t < first_event_s]) < 1e-7, (name, attribute)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(scenarios())
def test_random_net_starts_at_rest_and_stays_balanced_or_says_that_it_collapses(
    given_: tuple[Net, dict[str, Any]],
) -> None:
    net, what = given_
    first_event_s = min((event["t_s"] for event in what["events"]), default=1.0)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "load_net", lambda *_: made_of(net))  # a file takes pandapower a second
        try:
            result = run(load(what), folder=folder)
        except ScenarioError as error:
            assert "start: droop: " in str(error), str(error)
            return
        except RunFailed as failed:
            assert "no network solution" in str(failed), str(failed)
            result = failed.result
        if "grid" in result.entities:  # else there is no solution from the beginning on
            assert_sound(result, first_event_s)
