"""Generated feeders: sparse factors, the dense inverse and compiled kernels are three ways to one run.

Topology: a 20 kV trunk, in each area a transformer and three low-voltage cables with 5 inverters and 15 houses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import case_a
from feeder import Loads, write_feeder
from gridloop.scenarios import Result, load, run
from gridloop.scenarios.build import build, open_world
from gridloop.scenarios.start import LONGEST_H_LAMBDA, Plan, plan
from gridloop.simulators.grid_series import current_limited
from gridloop.simulators.models import compiled
from gridloop.simulators.models import solve as solve_module
from gridloop.simulators.models.loads import demand
from gridloop.simulators.models.nodal import Sources, reduce
from gridloop.simulators.models.solve import solve
from gridloop.simulators.models.sparse_solve import nodal

with_numba = pytest.mark.peers(packages=["numba"])
AREAS = 7  # 175 buses, 35 inverters, 105 houses: enough for sparse factors
KINDS: tuple[Loads, ...] = ("power", "impedance")
kinds = pytest.mark.parametrize("loads", KINDS)


@pytest.fixture
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "ENABLED", False)
    yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Loads, Path]:
    made: dict[Loads, Path] = {}
    for loads in KINDS:
        made[loads] = write_feeder(tmp_path_factory.mktemp(loads), loads, AREAS, until_s=0.4)
    return made


def planned(file: Path, **overrides: Any) -> Plan:
    return plan(load(str(file)).with_overrides(overrides))


def states(what: Plan) -> tuple[Any, list[Any]]:
    """EMFs and powers of the inverters at every step, and the rows of the grid."""
    rows: dict[str, list[Any]] = {"Grid": [], "Inverter": []}
    with open_world() as world:
        built = build(what, world, {name: taker(rows[name]) for name in rows})
        world.run(until=built.until, print_progress=False, lazy_stepping=False)
    emf = np.array([row.emf_pu for row in rows["Inverter"]])
    return np.stack((emf, [row.s_source for row in rows["Grid"]])), rows["Grid"]


def taker(rows: list[Any]) -> Any:
    return lambda time, row: rows.append(row)


def event() -> dict[str, Any]:
    # a workshop of 20 kW, and one cable without its last houses
    return {"events": [
        {"t_s": 0.1, "do": "load_step", "bus": "h3-4", "p_kw": 20, "q_kvar": 5},
        {"t_s": 0.2, "do": "line_open", "line": "h1-14-h1-17"},
    ]}  # fmt: skip


@kinds
def test_start_is_settled_and_the_step_short_enough(loads: Loads, files: dict[Loads, Path], in_numpy: None) -> None:
    what = planned(files[loads])
    assert what.case.network.n_bus == 25 * AREAS
    assert [len(group.ids) for group in what.groups] == ([35, 105] if loads == "power" else [35])
    assert what.h_lambda < LONGEST_H_LAMBDA
    assert np.abs(what.case.v_start).min() > 0.9 and np.abs(what.case.v_start).max() < 1.1
    _, rows = states(what)
    s = np.array([row.s_source for row in rows])
    if loads == "impedance":  # nothing moves
        assert np.abs(s - s[0]).max() < 1e-9
    else:
        assert np.abs(np.diff(s, axis=0)).max(1).min() > 1e-9  # everything moves at every step


@kinds
def test_sparse_equals_dense(
    loads: Loads, files: dict[Loads, Path], in_numpy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = planned(files[loads], **event())
    monkeypatch.setattr(solve_module, "LARGE", 1)
    sparse, _ = states(what)
    monkeypatch.setattr(solve_module, "LARGE", 10_000)
    dense, _ = states(what)
    assert sparse == pytest.approx(dense, abs=1e-9)
    assert np.ptp(np.abs(dense[1]), axis=0).max() > 1e-4  # something happened


@kinds
def test_quiet_grid_takes_few_iterations(loads: Loads, files: dict[Loads, Path], in_numpy: None) -> None:
    _, rows = states(planned(files[loads]))
    iterations = [row.iterations for row in rows[10:]]
    assert max(iterations) == 1 if loads == "impedance" else np.mean(iterations) < 2.5


@with_numba
@kinds
@pytest.mark.parametrize("limit_percent", [None, 55], ids=["no limit", "two at their limit"])
def test_compiled_equals_numpy(
    loads: Loads, limit_percent: float | None, files: dict[Loads, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # inverters 15 and 16 stand beside the workshop
    limits = {} if limit_percent is None else {f"units.inv{i}.i_max_percent": limit_percent for i in (15, 16)}
    what = planned(files[loads], **event(), **limits)
    assert compiled.kernels() is not None
    fast, rows = states(what)
    monkeypatch.setattr(compiled, "ENABLED", False)
    slow, others = states(what)
    assert fast == pytest.approx(slow, abs=1e-12)
    assert rows[-1].x == pytest.approx(others[-1].x, abs=1e-12)
    assert max(current_limited(row.epoch, row.x).sum() for row in rows) == len(limits)


@with_numba
def test_compiled_is_used(files: dict[Loads, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls, fast = [], compiled.kernels()
    chord = fast.chord

    def counted(*given: Any) -> Any:
        calls.append(given)
        return chord(*given)

    monkeypatch.setattr(fast, "chord", counted)
    states(planned(files["power"]))
    assert len(calls) >= 75
    monkeypatch.setattr(compiled, "ENABLED", False)
    assert compiled.kernels() is None


@pytest.mark.parametrize("fast", [False, pytest.param(True, marks=with_numba)], ids=["numpy", "compiled"])
@pytest.mark.parametrize(
    ("factor", "zip_shares", "whole", "most_chords"),
    [
        pytest.param(1.3, (0, 0, 1), True, 2, id="heavy"),  # each simple step gains too little
        pytest.param(1.9, (0.2, 0.3, 0.5), True, 4, id="heavy mix"),
        pytest.param(1.9, (0, 0, 1), False, 1, id="across the knees"),  # of one load after the other, near 0.7 pu
        pytest.param(0.1, (0, 0, 1), False, 1, id="light"),
    ],
)
def test_iteration_that_goes_on_finds_what_a_fresh_one_finds(
    factor: float, zip_shares: Any, whole: bool, most_chords: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve_module, "LARGE", 0)
    monkeypatch.setattr(compiled, "ENABLED", fast)
    case = case_a.case9()
    sources = Sources(np.array([0, 1, 2]), np.full(3, 0.01 + 0.1j), np.ones(3, bool))
    net = reduce(case.network, case.network.closed, sources, case.loads.bus)
    loads = case_a.loads(zip_shares)
    need = demand(loads._replace(p0_pu=factor * loads.p0_pu, q0_pu=factor * loads.q0_pu))
    t = np.arange(0, 0.5, 0.005)[:, None]
    swing = (1 + 0.03 * np.sin(t * np.array([7.0, 29.0, 13.0]))) * np.exp(0.2j * np.sin(t * np.array([11, 17, 23])))
    last, chords = None, []
    for emf in case_a.power_flow_start().emf_pu * swing:
        last, fresh = solve(net, need, emf, last), solve(net, need, emf, None)
        assert last.s_source == pytest.approx(fresh.s_source, abs=1e-9)
        chords.append(last.chord)  # kept, so that none gets the id of another
    assert nodal(net).whole == whole
    assert len({id(chord) for chord in chords}) <= most_chords


def test_run_is_recorded(files: dict[Loads, Path], tmp_path: Path) -> None:
    result: Result = run(load(str(files["power"])), folder=tmp_path)
    t, _ = result.series("grid", "P_gen[MW]")
    assert len(t) == 5
    assert result.series("house7", "P_gen[MW]")[1] == pytest.approx(
        -given_power_mw(files["power"].parent, 7, t), abs=1e-9
    )


def given_power_mw(folder: Path, house: int, t: Any) -> Any:
    """A house's profile, read off its file."""
    table = np.genfromtxt(folder / "houses.csv", delimiter=",", skip_header=1)
    return np.interp(t, np.arange(len(table)), table[:, 1 + 2 * house]) / 1e3
