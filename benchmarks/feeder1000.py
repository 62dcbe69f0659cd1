"""Speed on the generated feeder of 1000 buses, 200 inverters and 600 loads: simulated time to processor time.

Counted is the mosaik run, every 100 ms a row recorded. What comes before is left out (the plan, the world,
compiling); so is what comes after, apart from the time that it takes to write the 8000 series, which is told.
Processor time is what one core works: on a machine that others use too wall time means nothing. For the same
reason the best of some runs counts.
"""

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from feeder import Loads, write_feeder
from gridloop.scenarios.build import build, open_world
from gridloop.scenarios.reading import load
from gridloop.scenarios.recording import Recording
from gridloop.scenarios.start import Plan, plan
from gridloop.simulators import recorder
from gridloop.simulators.models import compiled

SIMULATED_S = 20.0
REACH = {("power", False): 8.0, ("power", True): 10.0, ("impedance", False): 15.0, ("impedance", True): 15.0}
NAMES: dict[Loads, str] = {"power": "constant P", "impedance": "constant Z"}


def processor_s(planned: Plan, fast: bool) -> tuple[float, float]:
    """Processor seconds of one run of a plan, and of writing its series."""
    with (
        TemporaryDirectory() as folder, open_world() as world,
        patch.object(compiled, "ENABLED", fast), patch.object(recorder, "CHECKPOINT_S", math.inf),
    ):  # fmt: skip
        recording = Recording(planned, Path(folder), lambda t_s, outputs: None)
        built = build(planned, world, recording.sinks, recording.log)
        began = time.process_time()
        world.run(until=built.until, print_progress=False, lazy_stepping=False)
        ran = time.process_time()
        for stream in recording._streams.values():
            stream.close()
        return ran - began, time.process_time() - ran


def rates(repeats: int) -> list[tuple[str, float, float, float]]:
    """What was run, how many times real time it reached and has to reach, and seconds of writing."""
    found = []
    for loads, name in NAMES.items():
        with TemporaryDirectory() as folder:
            scenario = load(str(write_feeder(Path(folder), loads, until_s=SIMULATED_S)))
            planned = plan(scenario)
            for fast in (False, True) if compiled.kernels() is not None else (False,):
                processor_s(plan(scenario.with_overrides({"until_s": 0.1})), fast)  # compiles
                ran, written = np.min([processor_s(planned, fast) for _ in range(repeats)], axis=0)
                words = f"1000 buses, {name}, {'numba' if fast else 'numpy'}"
                found.append((words, SIMULATED_S / ran, REACH[loads, fast], written))
    return found
