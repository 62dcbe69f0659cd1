"""The adapter by itself: who drives a unit, what it gives then, and what becomes of a device that is lost."""

import cmath
import math
from typing import Any

import pytest

from gridloop.hil.adapter import META, RECORDS, HilSimulator, columns
from gridloop.hil.policy import FAULT, GOOD, STALE, Snapshot
from gridloop.simulators.failure import SimulatorFailure

STEP = 5_000  # us
H_S = 0.005


class Fake:
    """A device that shows what a test puts into it."""

    def __init__(self, **values: float) -> None:
        self.values = dict(values)
        self.quality, self.cause, self.age_s = GOOD, "", 0.0
        self.posted: list[dict[str, float]] = []
        self.cycles: list[float] = []
        self.safes = 0

    def post(self, values: dict[str, float]) -> None:
        self.posted.append(values)

    def snapshot(self) -> Snapshot:
        return Snapshot(dict(self.values), 0.0, len(self.posted), self.quality, self.cause, self.age_s)

    def cycle(self, timeout_s: float) -> Snapshot:
        self.cycles.append(timeout_s)
        return self.snapshot()

    def safe(self) -> None:
        self.safes += 1

    def lose(self, cause: str = "silent") -> None:
        self.quality, self.cause = STALE, cause


def controller(f_hz: float = 50.0, e_pu: float = 1.0) -> Fake:
    return Fake(**{"f[Hz]": f_hz, "E[pu]": e_pu})


def power(p_mw: float = 1.0, q_mvar: float = 0.25) -> Fake:
    return Fake(**{"P_gen[MW]": p_mw, "Q_gen[MVar]": q_mvar})


class Bench:
    """An adapter with one row, stepped by hand; the grid applies what the row gives, or the model's EMF."""

    def __init__(self, device: Fake, role: str = "controller", commands: Any = (), **spec: Any) -> None:
        self.device, self.role = device, role
        self.log: list[tuple[float, str, str, str]] = []
        self.rows: list[Any] = []
        self.adapter = HilSimulator(
            {"u": device}, lambda time, row: self.rows.append(row), lambda *entry: self.log.append(entry)
        )
        self.adapter.init("Devices", 1e-6, step_ms=5.0, f_nom_hz=50.0, commands=commands)
        self.adapter.create(1, "Device", unit="u", role=role, **spec)
        self.time = -STEP
        self.model_pu = cmath.rect(1.02, 0.3)  # EMF of the model's row
        self.used_pu = self.model_pu
        self.s_mva = 1 + 0.25j
        self.model_s_mva = 0.9 + 0.2j

    def step(self, count: int = 1) -> dict[str, Any]:
        """Step; what the row gives."""
        for _ in range(count):
            self.time += STEP
            told = {
                "P_gen[MW]": self.s_mva.real, "Q_gen[MVar]": self.s_mva.imag, "Vm[pu]": 1.0, "Va[deg]": 0.0,
                "E_used[pu]": abs(self.used_pu), "Va_used[deg]": math.degrees(cmath.phase(self.used_pu)),
                "events[1]": 0, "f_model[Hz]": 49.9, "E_model[pu]": abs(self.model_pu),
                "Va_model[deg]": math.degrees(cmath.phase(self.model_pu)), "P_model[MW]": self.model_s_mva.real,
                "P_set[MW]": 0.7,
            }  # fmt: skip
            following = self.adapter.step(self.time, {"u": {attr: {"x": v} for attr, v in told.items()}}, 0)
            assert following == self.time + STEP
            (shown,) = self.adapter.get_data({"u": self.attrs}).values()
            if self.role == "controller":
                self.used_pu = self.given(shown) if shown["active[1]"] else self.model_pu
            else:
                s = complex(shown["P_gen[MW]"], shown["Q_gen[MVar]"])
                self.s_mva = s if shown["active[1]"] else self.model_s_mva
        return dict(shown)

    @property
    def attrs(self) -> list[str]:
        own = ["f[Hz]", "E[pu]", "Va_emf[deg]"] if self.role == "controller" else ["P_gen[MW]", "Q_gen[MVar]"]
        return [*own, *RECORDS]

    @staticmethod
    def given(shown: dict[str, Any]) -> complex:
        return cmath.rect(shown["E[pu]"], math.radians(shown["Va_emf[deg]"]))

    @property
    def kinds(self) -> list[tuple[float, str]]:
        return [(t_s, kind) for t_s, kind, *_ in self.log]


def test_a_controllers_angle_is_the_integral_of_its_frequency() -> None:
    bench = Bench(controller(50.1, 1.02))
    first = bench.step()
    assert first["active[1]"] == 1
    assert Bench.given(first) == pytest.approx(bench.model_pu, abs=1e-12)  # no step at the swap
    bench.device.values["f[Hz]"] = 50.3
    second = bench.step()
    turned = cmath.phase(Bench.given(second) / Bench.given(first))
    assert turned == pytest.approx(math.pi * (0.1 + 0.3) * H_S, abs=1e-12)  # trapezoidal rule


def test_a_device_that_gives_its_angle_needs_no_integration() -> None:
    bench = Bench(controller(50.1, 1.02))
    bench.device.values["Va_emf[deg]"] = 179.0
    first = bench.step()
    bench.device.values["Va_emf[deg]"] = -178.0  # 3 degrees further, whatever f is
    turned = cmath.phase(Bench.given(bench.step()) / Bench.given(first))
    assert math.degrees(turned) == pytest.approx(3.0, abs=1e-9)


def test_another_magnitude_is_taken_over_and_decays_in_half_a_second() -> None:
    bench = Bench(controller(50.0, 0.97))
    assert bench.step()["E[pu]"] == pytest.approx(1.02)
    assert bench.step(100)["E[pu]"] == pytest.approx(0.97 + 0.05 * math.exp(-1))


def test_a_row_that_is_not_in_charge_follows_what_the_grid_applies() -> None:
    bench = Bench(controller(50.0, 0.97), swapped=False)
    bench.step(3)
    bench.model_pu = bench.used_pu = cmath.rect(1.05, -2.0)
    bench.step()
    bench.adapter.command("u", "swap")
    shown = bench.step()
    assert Bench.given(shown) == pytest.approx(cmath.rect(0.97 + 0.08 * math.exp(-0.01), -2.0), abs=1e-12)
    assert shown["f[Hz]"] == 50.0


def test_the_models_own_values_pass_to_the_bit_while_it_drives() -> None:
    bench = Bench(controller(51.0, 0.5), swapped=False)
    shown = bench.step(2)
    assert (shown["f[Hz]"], shown["E[pu]"]) == (49.9, abs(bench.model_pu))
    assert shown["Va_emf[deg]"] == math.degrees(cmath.phase(bench.model_pu))
    assert bench.log == []


def test_a_unit_that_is_off_is_followed_while_its_device_is_in_charge() -> None:
    bench = Bench(controller(50.0, 1.02))
    bench.step(2)
    bench.used_pu = cmath.rect(0.9, 1.0)  # its breaker is open: the voltage of its bus
    assert Bench.given(bench.step()) == pytest.approx(cmath.rect(1.02 - 0.12 * math.exp(-0.01), 1.0), abs=1e-12)


def test_commands_swap_both_ways_and_are_logged_once() -> None:
    bench = Bench(controller(), commands=[(0.0, "u", "unswap"), (0.02, "u", "swap"), (0.03, "u", "unswap")])
    active = [bench.step()["active[1]"] for _ in range(8)]
    assert active == [0, 0, 0, 0, 1, 1, 0, 0]
    assert bench.kinds == [(0.0, "unswap"), (0.02, "swap"), (0.03, "unswap")]


def test_commands_that_change_nothing_say_so() -> None:
    bench = Bench(controller())
    bench.step()
    bench.adapter.command("u", "swap")
    bench.step()
    assert bench.log[-1][3] == "nothing to do: the device drives"
    with pytest.raises(ValueError, match="swop u: the commands are swap and unswap of u"):
        bench.adapter.command("u", "swop")


def test_a_lost_device_holds_then_the_model_takes_over_where_it_stood() -> None:
    bench = Bench(controller(50.2, 1.02), hold_ms=20.0)
    before = bench.step(3)
    bench.device.lose("no answer for too long")
    held = bench.step(4)  # 0.015 to 0.030
    assert held["active[1]"] == 1
    assert cmath.phase(Bench.given(held) / Bench.given(before)) == pytest.approx(2 * math.pi * 0.2 * 4 * H_S)
    shown = bench.step()
    assert (shown["active[1]"], shown["quality[1]"]) == (0, STALE)
    assert bench.log[-1] == (0.035, "device_lost", "u", "no answer for too long; the model drives")
    assert bench.adapter.lost == {"u": "no answer for too long"}


def test_a_short_silence_is_no_loss() -> None:
    bench = Bench(controller(), hold_ms=20.0)
    bench.step(2)
    for _ in range(5):
        bench.device.lose()
        assert bench.step(3)["active[1]"] == 1
        bench.device.quality = GOOD
        assert bench.step()["active[1]"] == 1
    assert bench.adapter.lost == {} and bench.kinds == [(0.0, "swap")]


def test_a_device_that_is_back_drives_again_after_half_a_second_of_answers() -> None:
    bench = Bench(controller(), hold_ms=0.0)
    bench.step()
    bench.device.lose()
    bench.step(2)
    bench.device.quality = GOOD
    assert bench.step(60)["active[1]"] == 0
    bench.device.lose()  # the half second begins anew
    bench.step()
    bench.device.quality = GOOD
    assert bench.step(100)["active[1]"] == 0
    assert bench.step()["active[1]"] == 1
    assert bench.log[-1][:2] == (0.82, "device_back")


def test_a_device_that_never_answered_leaves_the_unit_to_its_model() -> None:
    bench = Bench(controller(), hold_ms=10.0)
    bench.device.lose("no answer yet")
    assert bench.step(2)["active[1]"] == 0
    assert bench.log == []
    bench.step()
    assert bench.log == [(0.01, "device_lost", "u", "no answer yet; the model drives")]


def test_stop_ends_the_run_and_names_the_device() -> None:
    bench = Bench(controller(), hold_ms=10.0, then="stop", where="the device at X")
    bench.step()
    bench.device.lose("unplugged")
    bench.step(2)
    with pytest.raises(SimulatorFailure) as failure:
        bench.step()
    text = "Devices.u at t = 0.015 s: DeviceLost: the device at X is lost: unplugged; on_loss: {then: stop}"
    assert str(failure.value) == text
    assert bench.device.safes == 1
    assert bench.log[-1][3] == "unplugged; the run stops"


def test_safe_feeds_in_the_safe_power_and_leaves_the_device_there() -> None:
    bench = Bench(power(), "power", hold_ms=5.0, then="safe", safe=0.1 - 0.05j)
    bench.step()
    bench.device.lose()
    bench.step()
    shown = bench.step()
    assert (shown["active[1]"], shown["P_gen[MW]"], shown["Q_gen[MVar]"]) == (1, 0.1, -0.05)
    assert bench.device.safes == 1
    posted = len(bench.device.posted)
    bench.step(3)
    assert len(bench.device.posted) == posted  # a post would end the safe state
    bench.device.quality = GOOD
    bench.step(2)
    assert len(bench.device.posted) == posted + 1
    assert bench.step(100)["active[1]"] == 1
    assert bench.log[-1][1] == "device_back"


def test_power_is_taken_over_without_a_step() -> None:
    bench = Bench(power(1.4, 0.0), "power", swapped=False)
    bench.s_mva = bench.model_s_mva
    bench.step(2)
    bench.adapter.command("u", "swap")
    shown = bench.step()
    assert shown["P_gen[MW]"] == pytest.approx(1.4 - 0.5 * math.exp(-0.01))
    assert shown["Q_gen[MVar]"] == pytest.approx(0.2 * math.exp(-0.01))
    bench.device.values["P_gen[MW]"] = 1.5
    assert bench.step()["P_gen[MW]"] == pytest.approx(1.5 - 0.5 * math.exp(-0.02))


def test_what_a_device_is_told() -> None:
    bench = Bench(power(), "power", set_points={"P_set[MW]": 0.5, "Q_set[MVar]": 0.1})
    bench.step()
    told = bench.device.posted[-1]
    assert told["t[s]"] == 0.0 and told["P_set[MW]"] == 0.7 and told["Q_set[MVar]"] == 0.1
    assert (told["P_gen[MW]"], told["Vm[pu]"], told["f[Hz]"], told["events[1]"]) == (1.0, 1.0, 49.9, 0)


def test_set_points_change_when_the_scenario_says_so() -> None:
    device = power()
    adapter = HilSimulator({"u": device})
    adapter.init("Devices", 1e-6, step_ms=5.0, changes=[(0.005, "u", "q_set_kvar", 300.0)])
    adapter.create(1, "Device", unit="u", role="power", set_points={"Q_set[MVar]": 0.1})
    given = {"u": {"P_gen[MW]": {"x": 0.0}, "Q_gen[MVar]": {"x": 0.0}}}
    for k in range(3):
        adapter.step(k * STEP, given, 0)
    assert [told["Q_set[MVar]"] for told in device.posted] == [0.1, 0.3, 0.3]


@pytest.mark.parametrize(
    ("values", "age_s", "quality", "cause"),
    [
        ({"f[Hz]": 50.0, "E[pu]": math.nan}, 0.0, FAULT, "it gives no E[pu]"),
        ({"E[pu]": 1.0}, 0.0, FAULT, "it gives no f[Hz]"),
        ({"f[Hz]": 0.0, "E[pu]": 1.0}, 0.0, FAULT, "its frequency of 0 Hz is too far from 50 Hz"),
        ({"f[Hz]": 50.0, "E[pu]": 0.0}, 0.0, FAULT, "its EMF of 0 pu is none"),
        ({"f[Hz]": 50.0, "E[pu]": 230.0}, 0.0, FAULT, "its EMF of 230 pu is none"),
        ({"f[Hz]": 50.0, "E[pu]": 1.0}, 0.3, STALE, "its values are 300 ms old"),
    ],
)
def test_what_is_no_data(values: dict[str, float], age_s: float, quality: int, cause: str) -> None:
    bench = Bench(controller(50.0, 1.02), hold_ms=5.0)
    before = bench.step(2)
    bench.device.values, bench.device.age_s = values, age_s
    held = bench.step()
    assert (held["active[1]"], held["quality[1]"], held["E[pu]"]) == (1, quality, pytest.approx(before["E[pu]"]))
    bench.step()
    assert bench.log[-1][1:] == ("device_lost", "u", f"{cause}; the model drives")


def test_a_power_beyond_any_rating_is_no_data() -> None:
    bench = Bench(power(), "power", most_mva=3.0)
    bench.step()
    bench.device.values["P_gen[MW]"] = 1000.0
    shown = bench.step()
    assert shown["quality[1]"] == FAULT and shown["P_gen[MW]"] == pytest.approx(1.0)


def test_a_shadow_never_drives_and_is_compared_all_the_same() -> None:
    bench = Bench(power(1.5), "power", shadow=True, where="the device at X")
    bench.s_mva = bench.model_s_mva
    shown = bench.step(3)
    assert shown["active[1]"] == 0
    assert shown["residual_P[MW]"] == pytest.approx(1.5 - 0.9)
    assert [kind for _, kind in bench.kinds] == ["swap"]
    assert bench.log[0][3] == "shadow only, the model drives: nothing may be written to the device at X"
    bench.device.lose()
    assert bench.step(1000)["active[1]"] == 0 and bench.adapter.lost == {}


def test_a_controllers_residual_is_what_its_droop_line_stands_off() -> None:
    bench = Bench(controller(49.95), mw_per_hz=20.0)
    assert bench.step()["residual_P[MW]"] == pytest.approx(20.0 * (49.95 - 49.9))


def test_lockstep_waits_for_the_cycle_free_does_not() -> None:
    bench = Bench(controller(), mode="lockstep", deadline_ms=8.0)
    bench.step(2)
    assert bench.device.cycles == [0.008, 0.008]
    bench = Bench(controller())
    bench.step(2)
    assert bench.device.cycles == []


def test_the_pacer_is_asked_before_every_step() -> None:
    waited: list[float] = []
    adapter = HilSimulator({}, wait=waited.append)
    adapter.init("Devices", 1e-6, step_ms=5.0, extra_ticks_s=[0.007])
    time = 0
    while time < 12_000:
        time = adapter.step(time, {}, 0)
    assert waited == [0.0, 0.005, 0.007, 0.01]


def test_what_is_recorded_has_names() -> None:
    bench = Bench(controller())
    bench.step(2)
    assert bench.adapter.columns == columns({"u": "controller"})
    assert len(bench.rows[-1]) == len(bench.adapter.columns)
    row = dict(zip(bench.adapter.columns, bench.rows[-1], strict=True))
    assert row["u.f[Hz]"] == 50.0 and row["u.active[1]"] == 1.0 and row["u.P_meas[MW]"] == 1.0
    assert set(RECORDS) <= set(META["models"]["Device"]["attrs"])


def test_every_device_is_left_in_its_safe_state() -> None:
    bench = Bench(controller())
    bench.step()
    bench.adapter.finalize()
    assert bench.device.safes == 1


def test_wrong_rows_are_refused() -> None:
    adapter = HilSimulator({"u": controller()})
    adapter.init("Devices", 1e-6)
    with pytest.raises(ValueError, match="'w': every device has one handle and one row"):
        adapter.create(1, "Device", unit="w", role="power")
    with pytest.raises(ValueError, match="Device: create one at a time"):
        adapter.create(2, "Device", unit="u", role="power")
    adapter.create(1, "Device", unit="u", role="power")
    with pytest.raises(ValueError, match="'u': every device has one handle and one row"):
        adapter.create(1, "Device", unit="u", role="power")
    with pytest.raises(ValueError, match="Devices: unknown parameter speed"):
        HilSimulator({}).init("Devices", 1e-6, speed=1)
