"""Devices that stand in for units: three droop inverters on the 9-bus network, and the microgrid with everything.

The device is in the process (no wire): the unit's own model, with the same or other parameters, or a given power.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gridloop.hil.emulator import Emulator
from gridloop.hil.policy import FAULT, GOOD, Snapshot
from gridloop.hil.registers import load_map
from gridloop.scenarios import RunFailed, load, open_run, run
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan

EMULATED = {"url": "emulated:"}
STEP_S = 0.005
OUT = {"t_s": 0, "do": "unswap", "unit": "inv2"}
Run = Callable[..., Any]


@pytest.fixture
def runs(tmp_path: Path) -> Run:
    """Run a scenario into a folder of its own."""
    count = iter(range(100))

    def go(scenario: Any, **options: Any) -> Any:
        return run(scenario, folder=tmp_path / str(next(count)), **options)

    return go


def ieee9(until_s: float = 2.0, *events: Any, **more: Any) -> Any:
    """The nine-bus case with a load step at 0.5 s, an opened line at 1 s and the given events."""
    scenario = load("ieee9")
    own = scenario.to_dict()["events"]
    own[0]["t_s"], own[1]["t_s"] = 0.5, 1.0
    return scenario.with_overrides({"until_s": until_s, "events": [*events, *own], **more})


def with_device(*events: Any, until_s: float = 2.0, **keys: Any) -> Any:
    return ieee9(until_s, *events, **{"units.inv2.device": EMULATED | keys})


def largest(one: Any, other: Any, attr: str) -> float:
    """Largest difference of an attribute over all entities that have it in both runs."""
    common = [
        name for name, entity in one.entities.items()
        if attr in entity.attributes and attr in other.entities[name].attributes
    ]  # fmt: skip
    assert common
    return max(float(np.abs(_at(one, name, attr) - _at(other, name, attr)[: len(_at(one, name, attr))]).max())
               for name in common)  # fmt: skip


def _at(result: Any, name: str, attr: str) -> Any:
    return result.series(name, attr)[1]


def same_to_the_bit(one: Any, other: Any) -> bool:
    """Whether every series of the first run is the same in the other."""
    for name, entity in one.entities.items():
        for attr in entity.attributes:
            (t, values), (t_other, others) = one.series(name, attr), other.series(name, attr)
            if not (np.array_equal(t, t_other) and np.array_equal(values, others, equal_nan=True)):
                return False
    return True


class GivenPower:
    """A device that feeds in what it was made with, silent in a stretch of simulated time."""

    role = "power"

    def __init__(self, p_mw: float, q_mvar: float, silent: tuple[float, float] = (np.inf, np.inf)) -> None:
        self.values, self.silent = {"P_gen[MW]": p_mw, "Q_gen[MVar]": q_mvar}, silent
        self.t_s = self.count = 0.0
        self.safes = 0

    def post(self, values: dict[str, float]) -> None:
        self.t_s, self.count = values["t[s]"], self.count + 1

    def snapshot(self) -> Snapshot:
        silent = self.silent[0] <= self.t_s < self.silent[1]
        return Snapshot(self.values, 0.0, int(self.count), FAULT if silent else GOOD, "silent" if silent else "", 0.0)

    def cycle(self, timeout_s: float) -> Snapshot:
        return self.snapshot()

    def safe(self) -> None:
        self.safes += 1


class Silent(EmulatedDevice):
    """The emulated inv2 that does not answer from one time to another."""

    def __init__(self, scenario: Any, start_s: float, end_s: float = np.inf) -> None:
        what = plan(scenario)
        super().__init__(what.groups[0], 1, what.case.network.s_base_mva, what.scenario.step_ms)
        self._start_s, self._end_s = start_s, end_s

    def post(self, values: dict[str, float]) -> None:
        self.fault = "no answer for too long" if self._start_s <= values["t[s]"] < self._end_s else ""
        super().post(values)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The nine-bus case without a device."""
    return run(ieee9(), folder=tmp_path_factory.mktemp("ieee9") / "plain")


# --- nothing changes ---


def test_an_adapter_that_never_drives_changes_nothing_to_the_bit(runs: Run, plain: Any) -> None:
    assert same_to_the_bit(plain, runs(with_device(OUT)))


def test_a_power_device_that_never_drives_changes_nothing_to_the_bit(runs: Run, plain: Any) -> None:
    wired = runs(ieee9(2.0, OUT, **{"units.inv2.device": EMULATED}), swap={"inv2": GivenPower(163, 0)})
    assert same_to_the_bit(plain, wired)


@pytest.fixture(scope="module")
def microgrid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Battery, diesel set, photovoltaics, agents and links for 3 s, and their run without devices."""
    scenario = load("microgrid9").with_overrides({"until_s": 3, "events.0.t_s": 1, "events.1.t_s": 2})
    return scenario, run(scenario, folder=tmp_path_factory.mktemp("microgrid") / "plain")


UNITS = ("batt1", "diesel1", "pv1")


def test_three_wired_devices_change_nothing_to_the_bit(runs: Run, microgrid: tuple[Any, Any]) -> None:
    scenario, plain = microgrid
    out = [{"t_s": 0, "do": "unswap", "unit": unit} for unit in UNITS]
    devices = {f"units.{unit}.device": EMULATED for unit in UNITS}
    wired = runs(scenario.with_overrides({**devices, "events": [*out, *scenario.to_dict()["events"]]}))
    assert same_to_the_bit(plain, wired)


# --- a device that is as its model ---


def test_a_device_equal_to_the_model_swaps_in_and_out_without_a_trace(runs: Run, plain: Any) -> None:
    times = ((0.52, "swap"), (0.8, "unswap"), (1.01, "swap"), (1.5, "unswap"), (1.7, "swap"))
    swaps = [{"t_s": t_s, "do": do, "unit": "inv2"} for t_s, do in times]
    moved = runs(with_device(OUT, *swaps))
    active = dict(zip(*moved.series("inv2", "active[1]"), strict=True))
    assert (active[0.515], active[0.52], active[0.8], active[1.01], active[2.0]) == (0, 1, 0, 1, 1)
    s_base_mva = 100
    assert largest(plain, moved, "P_gen[MW]") < 1e-12 * s_base_mva
    assert largest(plain, moved, "f[Hz]") < 1e-12 * 60
    assert largest(plain, moved, "Vm[pu]") < 1e-12
    assert [event.kind for event in moved.events].count("swap") == 3 and moved.status == "done"


def test_three_devices_equal_to_their_models_leave_the_microgrid_as_it_is(
    runs: Run, microgrid: tuple[Any, Any]
) -> None:  # fmt: skip
    scenario, plain = microgrid
    moved = runs(scenario, swap=dict.fromkeys(UNITS, "emulated:"))
    assert all(moved.series(unit, "active[1]")[1].all() for unit in UNITS)
    for attr in ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Omega[Hz]", "v[pu]", "fuel[L]", "SoC[%]"):
        assert largest(plain, moved, attr) < 1e-12
    assert largest(plain, moved, "f[Hz]") < 1e-12 * 60


def test_a_swap_off_the_macro_grid_gets_a_tick(runs: Run, plain: Any) -> None:
    moved = runs(with_device(OUT, {"t_s": 0.7012, "do": "swap", "unit": "inv2"}))
    active = dict(zip(*moved.series("inv2", "active[1]"), strict=True))
    assert (active[0.7], active[0.7012]) == (0, 1)
    assert largest(plain, moved, "Vm[pu]") > 0  # the tick itself is one more


# --- a device that is not ---


def test_five_percent_other_droop_begins_without_a_step(runs: Run, plain: Any) -> None:
    swap = {"t_s": 0.7, "do": "swap", "unit": "inv2"}
    what = plan(ieee9())
    droops = {"droop_p_percent": 2.1, "droop_q_percent": 5.25}
    other = EmulatedDevice(what.groups[0], 1, what.case.network.s_base_mva, 5.0, parameters=droops)
    moved = runs(with_device(OUT, swap), swap={"inv2": other})
    t, p = plain.series("inv2", "P_gen[MW]")
    step = np.flatnonzero(t == 0.7)[0]
    change_pu = np.abs(moved.series("inv2", "P_gen[MW]")[1] - p) / 100
    assert change_pu[step - 1] == 0 and change_pu[step : step + 2].max() < 2e-3
    assert change_pu[-1] > 1e-3  # it has another droop line, after all


def test_power_in_place_of_an_emf_is_recorded_as_the_units(runs: Run) -> None:
    swap = {"t_s": 0.2, "do": "swap", "unit": "inv2"}
    start_mw, start_mvar = 163.0, 14.460119531123167
    moved = runs(with_device(OUT, swap, until_s=0.45), swap={"inv2": GivenPower(start_mw + 2, start_mvar)})
    t, p = moved.series("inv2", "P_gen[MW]")
    assert p[t < 0.2] == pytest.approx(start_mw)
    expected = start_mw + 2 * (1 - np.exp(-(t[t >= 0.2] - 0.2 + STEP_S) / 0.5))  # no step: it decays in half a second
    assert p[t >= 0.2] == pytest.approx(expected, abs=1e-6)
    assert (moved.series("inv2", "connected[1]")[1] == 1).all()
    assert np.abs(moved.series("grid", "mismatch[MW]")[1]).max() < 1e-6


def test_agents_and_records_take_the_frequency_that_was_applied(runs: Run) -> None:
    what = plan(ieee9())
    other = EmulatedDevice(what.groups[0], 1, what.case.network.s_base_mva, 5.0, parameters={"droop_p_percent": 4})
    moved = runs(with_device(), swap={"inv2": other})
    t, angle = moved.series("inv2", "Va_emf[deg]")
    f = moved.series("inv2", "f[Hz]")[1]
    from_angle = 60 + np.diff(np.unwrap(np.radians(angle))) / np.diff(t) / (2 * np.pi)
    calm = (t[1:] > 0.6) & (t[1:] < 1.0)
    assert from_angle[calm] == pytest.approx((f[1:][calm] + f[:-1][calm]) / 2, abs=1e-4)
    assert abs(moved.series("inv2", "residual_P[MW]")[1][t == 0.9]) > 1  # the model's row says something else


# --- loss ---


def test_a_lost_device_holds_and_then_the_model_takes_over_without_a_bump(runs: Run, plain: Any) -> None:
    scenario = with_device(on_loss={"hold_ms": 100, "then": "model"})
    moved = runs(scenario, swap={"inv2": Silent(scenario, 1.6)})
    assert moved.status == "degraded" and moved.record["message"] == "inv2: no answer for too long"
    lost = [event for event in moved.events if event.kind == "device_lost"]
    assert [(e.t_s, e.target, e.outcome) for e in lost] == [(1.7, "inv2", "no answer for too long; the model drives")]
    t, active = moved.series("inv2", "active[1]")
    assert (active[t < 1.7] == 1).all() and (active[t >= 1.7] == 0).all()
    quality = moved.series("inv2", "quality[1]")[1]
    assert (quality[t < 1.6] == 0).all() and (quality[t >= 1.6] == 2).all()
    p, p_plain = (result.series("inv2", "P_gen[MW]")[1] for result in (moved, plain))
    around = (t >= 1.695) & (t <= 1.72)
    assert np.abs(np.diff(p[around])).max() < 2e-3 * 100  # what the settling held f and E for 0.1 s leaves
    assert np.abs(p - p_plain)[t == 2.0] < 0.5


def test_in_a_settled_grid_hold_and_fallback_leave_no_trace(runs: Run) -> None:
    scenario = with_device(until_s=0.45, on_loss={"hold_ms": 100, "then": "model"})
    moved = runs(scenario, swap={"inv2": Silent(scenario, 0.1)})
    assert moved.status == "degraded"
    assert largest(moved, runs(ieee9(0.45)), "P_gen[MW]") < 1e-9


def test_a_device_that_comes_back_drives_again(runs: Run) -> None:
    scenario = with_device(on_loss={"hold_ms": 50, "then": "model"})
    moved = runs(scenario, swap={"inv2": Silent(scenario, 0.3, 0.6)})
    kinds = [(event.t_s, event.kind) for event in moved.events if event.target == "inv2"]
    assert kinds == [(0.0, "swap"), (0.35, "device_lost"), (1.1, "device_back")]
    assert moved.status == "degraded"


def test_stop_ends_the_run_by_name_and_keeps_the_results(runs: Run) -> None:
    scenario = with_device(on_loss={"hold_ms": 50, "then": "stop"})
    with pytest.raises(RunFailed) as failure:
        runs(scenario, swap={"inv2": Silent(scenario, 0.3)})
    text = (
        "Devices.inv2 at t = 0.35 s: DeviceLost: the device at emulated: is lost: no answer for too long; "
        "on_loss: {then: stop}"
    )
    assert str(failure.value) == text
    result = failure.value.result
    assert result.status == "failed" and result.series("inv2", "f[Hz]")[0][-1] == pytest.approx(0.345)
    assert [event.kind for event in result.events][-1] == "device_lost"


def test_safe_feeds_in_the_safe_set_point(runs: Run) -> None:
    keys = {
        "role": "power",
        "on_loss": {"hold_ms": 50, "then": "safe"},
        "safe": {"p_set_kw": 150000, "q_set_kvar": 20000},
    }
    device = GivenPower(163, 14.46, (0.2, np.inf))
    moved = runs(with_device(until_s=0.45, **keys), swap={"inv2": device})
    t, p = moved.series("inv2", "P_gen[MW]")
    assert p[t >= 0.25] == pytest.approx(150.0) and device.safes >= 1
    assert moved.series("inv2", "Q_gen[MVar]")[1][-1] == pytest.approx(20.0)


# --- over a wire ---


def test_a_device_behind_modbus_tcp_drives_and_its_death_is_survived(runs: Run) -> None:
    def answer(t_s: float, told: Any) -> dict[str, float]:
        return {"f[Hz]": 60.0, "E[pu]": 1.0, "quality[1]": 0.0}

    law = load_map("generic_controller")
    with Emulator("modbus+tcp://127.0.0.1:0/1?map=generic_controller", law, answer) as served:
        url = f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_controller"
        keys = {"period_ms": 20, "deadline_ms": 20, "on_loss": {"hold_ms": 100, "then": "model"}}
        scenario = ieee9(0.45, **{"units.inv2.device": {"url": url, **keys}})
        alive = runs(scenario)
        served.kill()
        dead = runs(scenario)
    assert 0 < alive.metrics["rtt_p99.inv2"].value < 1000 and alive.metrics["device_age_p95.inv2"].value > 0
    assert dead.metrics["device_fallback_time.inv2"].value == pytest.approx(0.35)
    assert dead.metrics["device_lost.down.inv2"].value > 0
    assert alive.status == "done" and alive.series("inv2", "active[1]")[1].all()
    with (alive.path / "writes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {row["attribute"] for row in rows} >= {"P_gen[MW]", "Vm[pu]", "heartbeat[1]"}
    assert dead.status == "degraded" and not dead.series("inv2", "active[1]")[1].any()
    assert [event.kind for event in dead.events] == ["device_lost"]


def test_without_leave_nothing_is_written_and_the_model_drives(runs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(t_s: float, told: Any) -> dict[str, float]:
        return {"f[Hz]": 60.0, "E[pu]": 1.0, "quality[1]": 0.0}

    law = load_map("generic_controller")
    monkeypatch.setattr("gridloop.scenarios.device_roles.LOOPBACK", ())  # as if it were elsewhere
    with Emulator("modbus+tcp://127.0.0.1:0/1?map=generic_controller", law, answer) as served:
        url = f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_controller"
        shadow = runs(ieee9(0.3, **{"units.inv2.device": {"url": url}}))
        assert not any(served.written.values())
    assert shadow.status == "done" and not shadow.series("inv2", "active[1]")[1].any()
    assert "nothing may be written" in shadow.events[0].outcome
    assert same_to_the_bit(runs(ieee9(0.3)), shadow)
    with (shadow.path / "writes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert rows and {row["done"] for row in rows} == {"0"} and rows[0]["trouble"] == "writes are not allowed"


# --- files and the command ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units.inv2.device": {}}, "units.inv2.device: url is missing"),
        ({"units.inv2.device": {"url": "emulatd:"}}, "unknown kind 'emulatd'; did you mean emulated:?"),
        ({"units.inv2.device": {"url": "replay:///x"}}, "/x holds no recording of a device"),
        ({"units.inv2.device": {"url": "modbus+tcp://h:502/1"}}, "needs a register map: add ?map=generic_inverter"),
        ({"units.inv2.device": {"url": "modbus+tcp://h:502/1?map=generic_invertor"}}, "generic_inverter"),
        ({"units.inv2.device": EMULATED | {"period": 3}}, "inv2.device.period: unknown key; did you mean period_ms"),
        ({"units.inv2.device": EMULATED | {"on_loss": {"hold": 3}}}, "on_loss.hold: unknown key; did you mean hold_ms"),
        ({"units.inv2.device": EMULATED | {"deadline_ms": 60}}, "deadline_ms = 60 is longer than period_ms = 50"),
        ({"units.inv2.device": EMULATED | {"max_age_ms": 10}}, "max_age_ms = 10 is shorter than period_ms = 50"),
        ({"units.inv2.device": EMULATED | {"limits": {"p_set_kw": [2, 1]}}}, "the first is the lowest: 2 is above 1"),
        ({"units.inv2.device": EMULATED | {"on_loss": {"then": "safe"}}}, "safe is a set-point of power"),
        (
            {"units.inv2.device": {"url": "modbus+tcp://h/1?map=generic_inverter", "role": "controller"}},
            "units.inv2.device.role: the map generic_inverter is of role power: write role: power",
        ),
        (
            {"units.inv2": {"type": "inverter", "bus": 2, "control": "following", "s_rated_kva": 200000,
                            "device": {"url": "modbus+tcp://h/1?map=generic_controller"}}},
            "a controller gives f and E, but this unit injects power",
        ),
        ({"events": [{"t_s": 1, "do": "swap", "unit": "inv2"}]}, "inv2 has no device that could stand in for it"),
        ({"events": [{"t_s": 1, "do": "unswap", "unit": "inv7"}]}, "there is no unit 'inv7'; did you mean inv"),
        ({"units.inv2.device": EMULATED, "mode": "steady"}, "mode: steady has no devices"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load("ieee9").with_overrides(changes)
    assert words in str(error.value)
    assert len(error.value.problems) == 1


def test_an_emulated_device_has_the_role_of_its_model(runs: Run) -> None:
    with pytest.raises(ScenarioError, match="the model of inv2 as a device has role controller: delete this key"):
        runs(with_device(role="power"))


def test_a_swap_of_nobody_is_refused(runs: Run) -> None:
    with pytest.raises(ValueError, match="swap: there is no unit 'inv9'; did you mean inv"):
        runs(ieee9(), swap={"inv9": "emulated:"})


def test_a_swap_keeps_what_the_file_says_of_the_device(runs: Run) -> None:
    scenario = with_device(on_loss={"hold_ms": 70, "then": "model"}, until_s=0.05)
    device = runs(scenario, swap={"inv2": "emulated:"}).record["scenario"]["units"]["inv2"]["device"]
    assert device["on_loss"]["hold_ms"] == 70


def test_the_command_swaps_by_one_option(tmp_path: Path) -> None:
    from gridloop.scenarios.cli import app

    words = ["run", "ieee9", "--until", "0.1", "--out", str(tmp_path / "r"), "--swap", "inv2=emulated:"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    wrong = CliRunner().invoke(app, ["run", "ieee9", "--swap", "inv2"])
    assert wrong.exit_code == 2 and "write UNIT=URL" in wrong.output
    nobody = CliRunner().invoke(app, ["run", "ieee9", "--swap", "inv9=emulated:"])
    assert nobody.exit_code == 2 and "there is no units.inv9; did you mean inv" in nobody.output


def test_a_file_with_swaps_and_no_device_runs_with_the_option_and_its_settings_follow(tmp_path: Path) -> None:
    from gridloop.scenarios.cli import app

    case = tmp_path / "case.yaml"
    case.write_text("extends: ieee9\nuntil_s: 0.1\nevents:\n  - {t_s: 0.05, do: unswap, unit: inv2}\n")
    alone = CliRunner().invoke(app, ["check", str(case)])
    assert alone.exit_code == 2 and "run with --swap inv2=URL" in alone.output
    words = ["--swap", "inv2=emulated:", "--set", "units.inv2.device.comms.delay_ms=7", "--out", str(tmp_path / "r")]
    done = CliRunner().invoke(app, ["run", str(case), *words])
    assert done.exit_code == 0, done.output
    result = open_run(tmp_path / "r")
    assert result.record["scenario"]["units"]["inv2"]["device"] == {"url": "emulated:", "comms": {"delay_ms": 7}}
    assert [(event.kind, event.t_s) for event in result.events] == [("swap", 0.0), ("unswap", 0.05)]
