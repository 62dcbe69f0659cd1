"""Write a scenario like `neighbourhood` on a feeder of simbench, with its loads and arrays of 2016.

    pip install simbench
    python examples/simbench_feeder.py feeder && gridloop run feeder/feeder.yaml

The series are simbench's (ODbL 1.0, https://simbench.de); nothing of them is part of gridloop.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandapower
import simbench

GRID = "1-LV-rural1--0-sw"
YEAR = datetime.fromisoformat("2016-01-01T00:00:00+01:00")  # begin of the series
FIRST, DAYS = datetime.fromisoformat("2016-06-24T00:00:00+01:00"), 14  # of the run
HISTORY = 63  # days before it that forecasts learn from
SLOT = timedelta(minutes=15)

SCENARIO = """\
schema: 1
name: feeder
title: Two weeks of {grid} of simbench, negotiated every quarter of an hour
mode: steady
step_ms: 900000
until_s: {until_s}
seed: 1
clock: {clock}
grid: {{net: feeder-net.json}}
pcc: {{bus: "{source}", r_pu: 0.005, x_pu: 0.02}}
start: droop
profiles:
  power: {{file: feeder-power.csv, columns: {columns}}}
units:
{units}
  batt1: {{type: inverter, bus: "{middle}", control: following, s_rated_kva: 25, p_set_kw: 0, q_set_kvar: 0,
          source: {{type: battery, e_rated_kwh: 40, soc_init_percent: 50, soc_min_percent: 10, soc_max_percent: 90}}}}
  chp1: {{type: inverter, bus: "{end}", control: following, s_rated_kva: 30, p_set_kw: 5, q_set_kvar: 0}}
market:
  beside: [central, standby]
  offers:
    batt1: {{b_ct_per_kwh: 22, c_ct_per_kw2h: 0.35, p_kw: [-20, 20]}}
    chp1: {{b_ct_per_kwh: 18, c_ct_per_kw2h: 0.3, p_kw: [5, 30]}}
    tie: {{b_ct_per_kwh: 25, c_ct_per_kw2h: 0.1, p_kw: [-200, 200]}}
  comms: {{delay_ms: 200, loss_percent: 1}}
  trades: {{}}
record: {{every_ms: 900000}}
events:
  - {{t_s: 280740, do: agent_fail, agent: controller}}      # day 3 from 6 to 12 h
  - {{t_s: 302340, do: agent_recover, agent: controller}}
"""


def write(folder: Path) -> None:
    """Net, series and scenario."""
    net: Any = simbench.get_simbench_net(GRID)
    net.bus["name"] = [name.replace(".", "-") for name in net.bus.name]  # names of entities have no dots
    series: Any = simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)
    units: dict[str, tuple[str, str, Any]] = {}  # by name: bus, key, power [kW]
    for table, key in (("load", "p_load"), ("sgen", "p_gen")):
        for index in net[table].index:
            name, bus = f"{'home' if key == 'p_load' else 'pv'}{index + 1}", net.bus.name[net[table].bus[index]]
            units[name] = bus, key, 1e3 * series[table, "p_mw"][index].to_numpy()
    folder.mkdir(parents=True, exist_ok=True)
    begin = FIRST - timedelta(days=HISTORY)
    row = round((begin - YEAR) / SLOT)
    lines = ["time," + ",".join(f"{name}[kW]" for name in units)]
    for slot in range(round(timedelta(days=HISTORY + DAYS) / SLOT) + 1):
        values = ",".join(f"{power[row + slot]:.4f}" for _, _, power in units.values())
        lines.append(f"{(begin + slot * SLOT).isoformat()},{values}")
    (folder / "feeder-power.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    buses = [net.bus.name[bus] for bus in net.load.bus]
    source = net.bus.name[net.ext_grid.bus.iloc[0]]
    net.load, net.sgen = net.load.iloc[:0], net.sgen.iloc[:0]
    net.profiles, net.std_types = {}, {kind: {} for kind in net.std_types}
    pandapower.to_json(net, str(folder / "feeder-net.json"))
    columns = "{" + ", ".join(f'{name}: "{name}[kW]"' for name in units) + "}"
    text = SCENARIO.format(
        grid=GRID, until_s=DAYS * 86400, clock=FIRST.isoformat(), source=source, columns=columns,
        units="\n".join(
            f'  {name}: {{type: profile, bus: "{bus}", {key}: power.{name}}}' for name, (bus, key, _) in units.items()
        ),
        middle=buses[len(buses) // 2], end=buses[-1],
    )  # fmt: skip
    (folder / "feeder.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
