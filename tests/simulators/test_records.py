"""Records of simulators in other processes: what is told comes out at the other end to the bit."""

import json
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.case import Case
from gridloop.simulators.events import Event
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid import GridSimulator
from gridloop.simulators.grid_series import grid_columns
from gridloop.simulators.models.inverter import Outputs
from gridloop.simulators.records import GridTaker, UnitsTaker, left_in
from gridloop.simulators.wire import to_lists

UNITS = ("inv1", "inv2", "inv3")
EVENTS = (Event(0.01, "fault", "6", r_pu=0.05), Event(0.01, "unit_trip", "inv2"), Event(0.02, "line_open", "6-7"))


def case9() -> Case:
    s_start = np.zeros(9, complex)
    s_start[:3] = case_a.power_flow_start().s_pu
    return Case(
        case_a.case9().network, case_a.loads(), ("load5", "load7", "load9"), {4: 0, 6: 1, 8: 2},
        case_a.case9_voltages(), s_start,
    )  # fmt: skip


def grid_with(emf_form: Any, **given: Any) -> tuple[GridSimulator, Any]:
    """A grid of three sources behind impedances and one injection, and what takes it through its steps."""
    grid = GridSimulator(case9(), EVENTS, **given)
    grid.init("Grid", 1e-6, step_ms=5)
    grid.create(1, "Terminals", units=UNITS, bus=["1", "2", "3"], z=[[0.01, 0.1]] * 3, i_max=[2.0, None, None])
    grid.create(1, "Terminals", units=["pv"], bus=["5"], source="power", i_max=[0.5])
    grid.setup_done()
    start = case_a.power_flow_start().emf_pu

    def step(k: int) -> None:
        emf = start * np.exp(1j * k * np.array([0.02, -0.01, 0.03]))
        p, q = np.array([0.2 + 0.01 * k]), np.array([0.1])
        grid.step(k * 5000, {
            "Terminals-0": {"EMF[pu]": {"Inverter.Inverters": emf_form(emf)}},
            "Terminals-1": {"P_gen[pu]": {"Pv.Pvs": emf_form(p)}, "Q_gen[pu]": {"Pv.Pvs": emf_form(q)}},
        }, 0)  # fmt: skip

    return grid, step


def test_rows_and_log_of_a_grid_come_out_to_the_bit() -> None:
    rows, log, far_rows, far_log = (list[Any]() for _ in range(4))
    _, step = grid_with(
        lambda values: values, sink=lambda _, row: rows.append(row), log=lambda *entry: log.append(entry)
    )  # fmt: skip
    far, far_step = grid_with(to_lists, json=True)
    taker = GridTaker(case9(), lambda _, row: far_rows.append(row), lambda *entry: far_log.append(entry))
    topologies = []
    for k in range(6):
        step(k), far_step(k)
        record = json.loads(json.dumps(far.get_data({"Grid": ["record[1]"]})))["Grid"]["record[1]"]
        topologies.append(record["topology"] is not None)
        for time in (k * 5000, k * 5000 + 100):  # at a tick of the units only, the old record comes again
            taker(time, "record[1]", record)
    assert topologies == [True, False, True, False, True, False]
    assert len(far_rows) == 6 and far_log == log and len(log) >= 3
    columns = [grid_columns(case9(), (*UNITS, "pv"), taken) for taken in (rows, far_rows)]
    assert columns[0].keys() == columns[1].keys()
    for name, values in columns[0].items():
        assert values.tobytes() == columns[1][name].tobytes(), name


def test_a_failure_brings_the_log_of_its_step_along() -> None:
    grid, step = grid_with(to_lists, json=True)
    step(0)
    bad = {"Terminals-0": {"EMF[pu]": {"Inverter.Inverters": [[1, 0], [float("nan"), 0], [1, 0]]}}}
    with pytest.raises(SimulatorFailure, match="EMF of source 2 is not finite") as caught:
        grid.step(10_000, bad, 0)
    (note,) = caught.value.__notes__
    assert [entry[1] for entry in left_in(["Traceback ...\n", note + "\n"])] == ["fault", "unit_trip"]


def test_outputs_of_units_come_out_to_the_bit() -> None:
    rng, taken = np.random.default_rng(1), list[Any]()
    fields = [
        rng.standard_normal(3) + (1j * rng.standard_normal(3) if "emf" in name else 0) for name in Outputs._fields
    ]
    record = {"log": [(0.1, "set", "a.p_set_kw", "now 3")], "outputs": [to_lists(field) for field in fields]}
    taker = UnitsTaker(Outputs, lambda time, row: taken.append((time, row)), lambda *entry: taken.append(entry))
    taker(5000, "record[1]", json.loads(json.dumps(record)))
    entry, (time, row) = taken
    assert entry == (0.1, "set", "a.p_set_kw", "now 3") and time == 5000 and isinstance(row, Outputs)
    for one, other in zip(fields, row, strict=True):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()
