"""gridloop beside ANDES: the same machines on the same network, with the same events, at the same step.

    python benchmarks/peers.py .venv-andes/bin/python      # or: make bench-peers

Three classical machines on WSCC's nine buses with constant-power loads, a load step and a line trip. Both sides run in
turns, and processor seconds of the integration alone count: neither's set-up, and no compiling of equations. That
both compute the same is told by the largest difference of the machines' frequencies from gridloop's at 1 ms; both fall
with the step squared. ANDES solves machines and network together by the trapezoidal rule, gridloop extrapolates the
network's power over a step: for these hardly damped machines its error is the larger one. The exit code is 1 if a
figure misses what it has to reach.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in run.py

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandapower.networks

from gridloop.scenarios.build import build, open_world
from gridloop.scenarios.reading import load
from gridloop.scenarios.recording import Recording
from gridloop.scenarios.start import Plan, plan

SCRIPT = Path(__file__).parent / "andes_case.py"
UNTIL_S, S_BASE_MVA = 6.0, 100.0
LEAST = 3.0  # times faster than ANDES
FINE_MS = 1.0
CLOSE_HZ = {10.0: (16e-3, 2.5e-3), 5.0: (4e-3, 1e-3)}  # at these steps [ms]: at most that far are gridloop and ANDES
H_S, X_PU, DAMPING_PU = (23.64, 6.4, 3.01), (0.0608, 0.1198, 0.1813), (2.0, 1.0, 1.0)  # on the system base


class Run(NamedTuple):
    """Processor seconds of an integration, and frequencies (T, 3) at times (T,)."""

    took_s: float
    t_s: Any
    f_hz: Any


def scenario(step_ms: float) -> dict[str, Any]:
    """The case as gridloop reads it."""
    units = {
        f"machine{i + 1}": {"type": "machine", "bus": i + 1, "s_rated_kva": 1e3 * S_BASE_MVA, "h_s": H_S[i],
                            "x_pu": X_PU[i], "damping_pu": DAMPING_PU[i]}
        for i in range(3)
    }  # fmt: skip
    return {
        "schema": 1, "name": "classical9", "until_s": UNTIL_S, "step_ms": step_ms, "start": "power_flow",
        "grid": {"net": "case9", "f_nom_hz": 60}, "units": units,
        "events": [
            {"t_s": 1, "do": "load_step", "bus": 5, "p_kw": 30000, "q_kvar": 10000},
            {"t_s": 2, "do": "line_open", "line": "6-7"},
        ],
    }  # fmt: skip


def andes_case(step_ms: float) -> dict[str, Any]:
    """The same for `andes_case.py`, in pu and names of buses."""
    net = pandapower.networks.case9()
    z_base = net.bus.vn_kv.iat[0] ** 2 / S_BASE_MVA
    name = net.bus.name.to_dict()
    lines = [
        {"from": name[line.from_bus], "to": name[line.to_bus], "r": line.r_ohm_per_km / z_base,
         "x": line.x_ohm_per_km / z_base, "b": 2e-9 * np.pi * net.f_hz * line.c_nf_per_km * z_base}
        for line in net.line.itertuples()
    ]  # fmt: skip
    given = [(net.ext_grid.vm_pu.iat[0], 0.0), *zip(net.gen.vm_pu, net.gen.p_mw / S_BASE_MVA, strict=True)]
    machines = [
        {"bus": name[i], "v": v, "p": p, "h_s": H_S[i], "x": X_PU[i], "damping": DAMPING_PU[i]}
        for i, (v, p) in enumerate(given)
    ]
    loads = [
        {"bus": name[load.bus], "p": load.p_mw / S_BASE_MVA, "q": load.q_mvar / S_BASE_MVA}
        for load in net.load.itertuples()
    ]
    events = [
        {"t_s": 1, "do": "load_step", "bus": name[4], "p": 0.3, "q": 0.1},
        {"t_s": 2, "do": "line_open", "line": f"{name[5]}-{name[6]}"},
    ]
    return {
        "f_nom_hz": 60, "s_base_mva": S_BASE_MVA, "v_base_kv": net.bus.vn_kv.iat[0], "step_s": step_ms * 1e-3,
        "until_s": UNTIL_S, "buses": list(name.values()), "lines": lines, "loads": loads, "machines": machines,
        "events": events,
    }  # fmt: skip


def gridloop_run(planned: Plan) -> Run:
    """A run of ours; every step is recorded, as ANDES keeps all of its steps."""
    with TemporaryDirectory() as folder, open_world() as world:
        recording = Recording(planned, Path(folder), lambda t_s, outputs: None)
        rows: list[tuple[int, Any]] = []
        record = recording.sinks["Machine"]

        def both(time_us: int, outputs: Any) -> None:
            rows.append((time_us, outputs.f_hz))
            record(time_us, outputs)

        built = build(planned, world, recording.sinks | {"Machine": both}, recording.log)
        began = time.process_time()
        world.run(until=built.until, print_progress=False, lazy_stepping=False)
        took_s = time.process_time() - began
        for stream in recording._streams.values():
            stream.close()
    t_us, f_hz = zip(*rows, strict=True)
    return Run(took_s, np.array(t_us) * 1e-6, np.array(f_hz))


@contextmanager
def andes_process(python: str) -> Iterator[Any]:
    """A function that runs a case in an ANDES that stays up, so that it compiles its equations once."""
    with subprocess.Popen(
        [python, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def andes_run(case: dict[str, Any]) -> tuple[Run, str]:
            print(json.dumps(case), file=questions, flush=True)
            line = answers.readline()
            if not line:
                raise SystemExit(f"{python} {SCRIPT.name} ended without an answer; what it printed stands above")
            found = json.loads(line)
            return Run(found["took_s"], np.array(found["t_s"]), np.array(found["f_hz"])), found["version"]

        yield andes_run
        questions.close()


def largest_difference_hz(run: Run, exact: Run) -> float:
    """At the times of `run`; ANDES' lie 0.1 ms beside the step's after an event."""
    columns = zip(run.f_hz.T, exact.f_hz.T, strict=True)
    return float(max(np.abs(one - np.interp(run.t_s, exact.t_s, other)).max() for one, other in columns))


def verdict(what: str, figure: str, bound: str, fits: bool) -> bool:
    """Print a line of the table and return whether the figure fits."""
    print(f"  {what:<46} {figure:>7}   {bound:<14} {'ok' if fits else 'MISSED'}")
    return fits


def main() -> int:
    """Run both in turns, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("python", help="interpreter of the virtual environment that has ANDES")
    arguments.add_argument("--repeats", type=int, default=7, help="runs of each side")
    given = arguments.parse_args()
    fits = []
    exact = gridloop_run(plan(load(scenario(FINE_MS))))
    with andes_process(given.python) as andes_run:
        andes_run(andes_case(10.0) | {"until_s": 0.1})  # compiles
        for step_ms, close_hz in CLOSE_HZ.items():
            planned, case = plan(load(scenario(step_ms))), andes_case(step_ms)
            rounds = [(gridloop_run(planned), *andes_run(case)) for _ in range(given.repeats)]
            ours, theirs = (np.array([one[side].took_s for one in rounds]) / UNTIL_S for side in (0, 1))
            ratios = theirs / ours
            print(f"classical9 at {step_ms:g} ms, median of {given.repeats} rounds")
            print(f"  processor seconds a simulated second: gridloop {np.median(ours):.4f}, ANDES {rounds[0][2]} "
                  f"{np.median(theirs):.4f}; ratios {ratios.min():.2f} to {ratios.max():.2f}")  # fmt: skip
            ratio = float(np.median(ratios))
            fits.append(verdict("ANDES / gridloop", f"{ratio:.2f}", f"at least {LEAST:g}", ratio >= LEAST))
            for name, side, most_hz in zip(("gridloop", "ANDES"), (0, 1), close_hz, strict=True):
                apart_hz = largest_difference_hz(rounds[0][side], exact)
                what = f"{name}, from gridloop at {FINE_MS:g} ms, mHz"
                fits.append(verdict(what, f"{1e3 * apart_hz:.3f}", f"at most {1e3 * most_hz:g}", apart_hz <= most_hz))
    return int(not all(fits))


if __name__ == "__main__":
    sys.exit(main())
