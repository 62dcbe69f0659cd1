"""However a run ends, no device is left with its last set-points.

inv2 of the 9-bus network is a device with set-points of power, emulated over Modbus TCP. It takes 163 MW while the run
lasts; its safe state is 0 MW.
"""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mosaik_api_v3
import pytest
from typer.testing import CliRunner

from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.scenarios import RunFailed, load, run
from gridloop.scenarios.cli import app
from gridloop.scenarios.keys import on_key
from gridloop.scenarios.steering import Steering
from in_course import at

P_SET = "P_set[MW]"
P_MW = 163.0
DEVICE = {"period_ms": 10, "deadline_ms": 10, "allow_writes": True}


class Served:
    """An emulated inverter that feeds in what it is told."""

    most_mw = 0.0  # that it was told

    def __init__(self) -> None:
        def answer(t_s: float, told: Any) -> dict[str, float]:
            self.most_mw = max(self.most_mw, told[P_SET])
            shown = {"P_gen[MW]": told[P_SET], "Q_gen[MVar]": told["Q_set[MVar]"], "f[Hz]": 60.0, "Vm[pu]": 1.0}
            return shown | {"quality[1]": 0.0}

        self.emulator = Emulator("modbus+tcp://127.0.0.1:0/1", load_map("generic_inverter"), answer)

    @property
    def url(self) -> str:
        return f"modbus+tcp://127.0.0.1:{self.emulator.url.port}/1?map=generic_inverter"

    @property
    def p_set_mw(self) -> float:
        return self.emulator.written[P_SET]

    def was_steered_and_is_safe(self) -> bool:
        return self.most_mw == pytest.approx(P_MW, abs=0.1) and self.p_set_mw == 0.0


@pytest.fixture
def served() -> Any:
    device = Served()
    with device.emulator:
        yield device


def scenario(url: str, until_s: float = 5.0) -> Any:
    unit = {"type": "inverter", "bus": 2, "control": "following", "s_rated_kva": 200000, "p_set_kw": P_MW * 1e3}
    changes = {"until_s": until_s, "events": [], "units.inv2": unit | {"device": DEVICE | {"url": url}}}
    return load("ieee9").with_overrides(changes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "a supervisor's stop"])
def test_a_stop_from_outside_leaves_the_safe_state_and_the_results(
    served: Served, tmp_path: Path, number: signal.Signals
) -> None:  # fmt: skip
    watch, before = at((0.2, lambda: signal.raise_signal(number))), signal.getsignal(number)
    result = run(scenario(served.url), folder=tmp_path / "run", watch=watch)
    assert result.status == "interrupted" and served.was_steered_and_is_safe()
    assert 0.2 <= result.series("inv2", "P_gen[MW]")[0][-1] < 2
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_before_the_first_row_leaves_the_safe_state_too(
    served: Served, tmp_path: Path, number: signal.Signals
) -> None:  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run(scenario(served.url), folder=tmp_path / "run", extend=lambda built: signal.raise_signal(number))
    assert served.p_set_mw == 0.0


class Broken(mosaik_api_v3.Simulator):
    """A user's own law with a mistake in it."""

    def __init__(self) -> None:
        super().__init__({  # type: ignore[no-untyped-call]
            "api_version": "3.0", "type": "time-based",
            "models": {"Law": {"public": True, "params": [], "attrs": ["f[Hz]"]}},
        })  # fmt: skip

    def create(self, num: int, model: str, **params: Any) -> Any:
        return [{"eid": "law", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        if time >= 200_000:
            raise ZeroDivisionError("share of nothing")
        return time + 5000

    def get_data(self, outputs: Any) -> Any:
        return {}


@pytest.mark.parametrize("in_step", [True, False])  # with the grid, or ahead of everybody: before the grid's first row
def test_a_mistake_in_a_users_law_leaves_the_safe_state(served: Served, tmp_path: Path, in_step: bool) -> None:
    from mosaik.starters import PythonStarter

    def extend(built: Any) -> None:
        starter: Any = PythonStarter(Broken)
        law = built.world.start(starter, "Own").Law()
        if in_step:
            built.world.connect(built.entities["inv1"], law, "f[Hz]")

    with pytest.raises(RunFailed, match="share of nothing"):
        run(scenario(served.url), folder=tmp_path / "run", extend=extend)
    assert served.p_set_mw == 0.0 and (served.most_mw > P_MW - 1 or not in_step)


def test_an_emergency_stop_acts_at_once_and_the_model_takes_over(served: Served, tmp_path: Path) -> None:
    steering, found = Steering(), list[float]()

    def stop() -> None:
        steering.stop()
        threading.Thread(target=look).start()

    def look() -> None:
        end_s = time.monotonic() + 0.5  # the run goes on for longer
        while served.p_set_mw and time.monotonic() < end_s:
            time.sleep(0.005)
        found.append(served.p_set_mw)

    result = run(scenario(served.url, 1.2), folder=tmp_path / "run", watch=at((0.2, stop)), steering=steering)
    assert found == [0.0] and served.most_mw == pytest.approx(P_MW, abs=0.1)
    assert result.status == "degraded" and "all devices were stopped" in result.record["message"]
    t, active = result.series("inv2", "active[1]")
    assert not active[t > 0.5].any()
    assert result.series("inv2", "P_gen[MW]")[1][-1] == pytest.approx(P_MW, abs=0.5)


def test_a_killed_process_leaves_the_devices_own_timer_to_act(served: Served, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_safe_ends import run, scenario\n"
        "run(scenario(sys.argv[2], 60), folder=sys.argv[3])"
    )
    words = (sys.executable, "-c", program, str(Path(__file__).parent), served.url, str(tmp_path / "run"))
    process = subprocess.Popen(words)
    try:
        end_s = time.monotonic() + 60
        while served.most_mw < P_MW - 1 and time.monotonic() < end_s and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    assert served.p_set_mw == pytest.approx(P_MW, abs=0.1)  # nobody could write the safe state
    end_s = time.monotonic() + 5
    while served.p_set_mw and time.monotonic() < end_s:
        time.sleep(0.05)
    assert served.p_set_mw == 0.0
    rows = (tmp_path / "run" / "writes.csv").read_text().splitlines()
    assert len(rows) > 4 and rows[-1].count(",") == rows[0].count(",")  # up to the last line


# --- the key ---


def test_a_key_in_the_terminal_acts_at_once_and_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    ours, theirs = pty.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda terminal: os.getpgrp())  # a terminal of this process
    pressed = threading.Event()
    with open(theirs, closefd=False) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(theirs)
        with on_key("s", pressed.set) as heard:
            assert heard
            os.write(ours, b"x")
            assert not pressed.wait(0.15)
            os.write(ours, b"S")
            assert pressed.wait(5)
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_without_a_terminal_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with on_key("s", lambda: None) as heard:
            assert not heard


# --- by hand, with no run ---


def test_the_command_stops_all_devices_of_a_scenario(served: Served, tmp_path: Path) -> None:
    lines = ["extends: ieee9", "units:"]
    for unit, url in (("inv1", "modbus+tcp://127.0.0.1:1/1?map=generic_inverter"), ("inv2", served.url)):
        lines += [f"  {unit}:", f"    device: {{url: '{url}', role: power, safe: {{p_set_kw: 20000}}}}"]
    (tmp_path / "two.yaml").write_text("\n".join(lines))
    told = CliRunner().invoke(app, ["hil", "write", served.url, "P_set=50", "--allow-writes"])
    assert told.exit_code == 0 and served.p_set_mw == 50.0
    ended = CliRunner().invoke(app, ["hil", "stop", str(tmp_path / "two.yaml"), "--deadline-ms", "100"])
    assert ended.exit_code == 1  # nobody is there at inv1's address; inv2 is stopped all the same
    assert served.p_set_mw == 20.0
    none = CliRunner().invoke(app, ["hil", "stop", "ieee9"])
    assert none.exit_code == 2 and "has no unit with a device" in none.stderr
