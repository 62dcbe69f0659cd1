"""The grid of gridloop, driven by a simulator of your own: `python examples/own_simulator.py`.

`Droop` knows mosaik and nothing of gridloop: it takes the power that the grid took from it and gives an EMF.
"""

from math import exp, pi

import mosaik
import mosaik_api_v3

from gridloop.simulators import SIM_CONFIG

ATTRS = ["P_gen[MW]", "Q_gen[MVar]", "E[pu]", "Va_emf[deg]"]
META = {"type": "time-based", "models": {"Droop": {"public": True, "params": ["rated_mw", "start"], "attrs": ATTRS}}}


class Droop(mosaik_api_v3.Simulator):
    """Sources with 2 % frequency droop and 5 % voltage droop behind power filters of 5 Hz, stepped every 1 ms."""

    def __init__(self):
        super().__init__({"api_version": "3.0", **META})
        self.units, self.last = {}, 0

    def create(self, num, model, rated_mw, start):
        eid = f"droop{len(self.units) + 1}"
        unit = {"rated": rated_mw, "set": start, "p": start["P_gen[MW]"], "q": start["Q_gen[MVar]"], "f_hz": 60.0}
        unit["emf"] = {"E[pu]": start["E_used[pu]"], "Va_emf[deg]": start["Va_used[deg]"]}
        self.units[eid] = unit
        return [{"eid": eid, "type": model}]

    def step(self, time, inputs, max_advance):
        dt_s, self.last = (time - self.last) * 1e-6, time
        keep = exp(-2 * pi * 5 * dt_s)
        for eid, unit in self.units.items():
            (p,), (q,) = (inputs[eid][attr].values() for attr in ("P_gen[MW]", "Q_gen[MVar]"))
            unit["p"], unit["q"] = p + keep * (unit["p"] - p), q + keep * (unit["q"] - q)
            unit["f_hz"] = 60 * (1 - 0.02 * (unit["p"] - unit["set"]["P_gen[MW]"]) / unit["rated"])
            unit["emf"]["Va_emf[deg]"] += 360 * (unit["f_hz"] - 60) * dt_s
            reactive = (unit["q"] - unit["set"]["Q_gen[MVar]"]) / unit["rated"]
            unit["emf"]["E[pu]"] = unit["set"]["E_used[pu]"] - 0.05 * reactive
        return time + 1000

    def get_data(self, outputs):
        return {eid: {attr: self.units[eid]["emf"][attr] for attr in attrs} for eid, attrs in outputs.items()}

    def finalize(self):
        for eid, unit in self.units.items():
            print(eid, f"{unit['f_hz']:.5f} Hz")


def main():
    config = SIM_CONFIG | {"Droop": {"python": f"{__name__}:Droop"}}
    options = {"cache": False, "time_resolution": 1e-6, "skip_greetings": True, "configure_logging": False}
    events = [{"t_s": 1.0, "do": "load_step", "bus": "5", "p_kw": 300, "q_kvar": 100}]
    with mosaik.World(config, **options) as world:
        grid = world.start("Grid", net="case9", base={"s_mva": 1, "v_kv": 11}, events=events, step_ms=1)
        droop = world.start("Droop")
        for bus, rated_mw in (("1", 1.0), ("2", 2.0), ("3", 1.25)):
            terminal = grid.Terminal(unit=f"source{bus}", bus=bus)
            start = grid.initial(terminal.eid)
            unit = droop.Droop(rated_mw=rated_mw, start=start)
            world.connect(unit, terminal, "E[pu]", "Va_emf[deg]")
            world.connect(terminal, unit, "P_gen[MW]", "Q_gen[MVar]", time_shifted=True, initial_data=start)
        world.run(until=2_000_001, print_progress=False)  # microseconds


if __name__ == "__main__":
    main()
