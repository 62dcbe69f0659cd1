"""Three droop inverters on the IEEE 9-bus network, in nothing but mosaik: `python examples/plain_mosaik.py`.

Every connection stands here. Units show their EMF, the grid answers with the power that it took; the answer is
time-shifted, which closes the loop. A load step at 1 s makes the frequency fall.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import mosaik

from gridloop.simulators import SIM_CONFIG
from gridloop.simulators.recorder import read_columns

UNITS = {"inv1": ("1", 1000), "inv2": ("2", 2000), "inv3": ("3", 1250)}  # bus, rating [kVA]
EVENTS = [{"t_s": 1.0, "do": "load_step", "bus": "5", "p_kw": 300, "q_kvar": 100}]


def main(folder: str) -> None:
    # cache=False: with its cache mosaik gives wrong data over time-shifted connections
    options = {"cache": False, "time_resolution": 1e-6, "skip_greetings": True, "configure_logging": False}
    with mosaik.World(SIM_CONFIG, **options) as world:
        grid = world.start("Grid", net="case9", base={"s_mva": 1, "v_kv": 11}, f_nom_hz=60, events=EVENTS, step_ms=5)
        inverter = world.start("Inverter", step_ms=5)
        recorder = world.start("Recorder", folder=folder, step_ms=200).Recorder()

        terminals = [grid.Terminal(unit=unit, bus=bus) for unit, (bus, _) in UNITS.items()]
        start = [grid.initial(terminal.eid) for terminal in terminals]  # the net's own power flow
        group = inverter.Inverters(
            ids=list(UNITS),
            start=start,
            params={
                "s_rated_kva": [rating for _, rating in UNITS.values()],
                "p_set_kw": [1e3 * shown["P_gen[MW]"] for shown in start],
                "q_set_kvar": [1e3 * shown["Q_gen[MVar]"] for shown in start],
                "v_set_pu": [shown["E_used[pu]"] for shown in start],
                "f_nom_hz": 60,
            },
        )
        for unit, terminal, shown in zip(group.children, terminals, start, strict=True):
            world.connect(unit, terminal, "E[pu]", "Va_emf[deg]")
            answers = ("P_gen[MW]", "Q_gen[MVar]", "events[1]")
            world.connect(terminal, unit, *answers, time_shifted=True, initial_data=shown)
            world.connect(unit, recorder, "f[Hz]")
        world.run(until=2_000_001, print_progress=False)  # microseconds; the end itself is not stepped

    columns = read_columns(Path(folder), "Recorder-0", [f"Inverter-0.{unit}.f[Hz]" for unit in UNITS])
    for t_s, *f_hz in zip(*columns.values(), strict=True):
        print(f"{t_s:4.1f} s", *(f"{f:9.5f} Hz" for f in f_hz))


if __name__ == "__main__":
    with TemporaryDirectory() as results:
        main(results)
