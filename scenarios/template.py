"""A scenario to begin with: `gridloop new` writes it, and its comments say what everything is for."""

import re
from pathlib import Path

from gridloop.scenarios.reading import library, library_files

TEXT = """\
# A gridloop scenario. `gridloop check FILE` tells what it holds, `gridloop run FILE` runs it.
# Every number has its unit in its key: _kw, _ms, _percent, ... Powers are three-phase.
# Units: > 0 flows into the bus; loads: > 0 is consumed. Lines that begin with # and no space, or two, are switched
# off: delete the # to use them. Help while you type, in editors that know YAML schemas (VS Code: extension YAML):
# run `gridloop schema --out gridloop.schema.json` and delete the # and the space before the next line's #.
# # yaml-language-server: $schema=gridloop.schema.json
schema: 1                        # version of this format
name: {name}
title: Three droop inverters, a load step and a line trip
step_ms: 5                       # simulation step; `check` says whether it is short enough
until_s: 6                       # end
#grouping: step                  # one simulator for all kinds of units instead of one each: the same, faster
#clock: 2026-06-21T12:00:00+02:00  # date and time at t = 0, with offset; needed by profiles

grid:
  net: case9                     # a name in pandapower.networks, or a .json file saved by pandapower, beside this one
  base: {{s_mva: 1, v_kv: 11}}     # scales the net: its per-unit data stay, 100 MW become 1 MW
  f_nom_hz: 50
  loads: {{k_pf: 1}}               # loads: 1 % more frequency, 1 % more power
start: power_flow                # begin with the net's own power flow, at rest; or droop: with given set-points

# The utility grid behind its short-circuit impedance; opening its switch makes an island.
#pcc: {{bus: 4, r_pu: 0.01, x_pu: 0.1, closed: false}}

defaults:                        # for all units of a type, unless they say otherwise
  inverter: {{droop_p_percent: 2, droop_q_percent: 5}}  # fall of frequency and voltage at rated power
units:                           # bus: its name in the net; s_rated_kva: rating
  inv1: {{type: inverter, bus: 1, s_rated_kva: 1000}}
  inv2: {{type: inverter, bus: 2, s_rated_kva: 2000}}
  # behind a filter's r and x, on its own rating, and therefore able to limit its current
  inv3: {{type: inverter, bus: 3, s_rated_kva: 1250, z_pu: [0.01, 0.1], i_max_percent: 150}}
  # grid-following: injects what it is told to, here 150 kW
#  pv1: {{type: inverter, control: following, bus: 5, s_rated_kva: 300, p_set_kw: 150}}
  # the same with a photovoltaic array, which feeds in all it has, and grid-forming with a battery
#  sun1: {{type: inverter, control: following, bus: 7, s_rated_kva: 250,
#    source: {{type: pv, modules: 800, ghi: sky.ghi, t_air: sky.t_air}}}}
#  batt1: {{type: inverter, bus: 9, s_rated_kva: 500, z_pu: [0.01, 0.1],
#    source: {{type: battery, e_rated_kwh: 500, soc_init_percent: 60}}}}
  # power from a table (see `profiles`) or constant
#  village: {{type: profile, bus: 6, p_load: day.p, q_load: 20}}
  # your own device model: MODEL in my_model.py beside this file
#  mine: {{type: "my_model:MODEL", bus: 8, s_rated_kva: 100, z_pu: [0.01, 0.1]}}

# Secondary control: an agent for each member restores frequency and voltage and shares the powers.
#control:
#  frequency: {{law: F}}           # F: the leader restores it; D: everybody does; C: a central controller; none
#  voltage: {{law: V}}             # V: equal shares of Q; Vprime: a compromise at every bus; C; paper23; none
#  members: [inv1, inv2, inv3]
#  leader: inv1

# Its links: who talks to whom, and what is lost and late on the way. Without `comms` nothing is.
#comms:
#  graph: line                    # line, ring, star, full or a list of pairs
#  delay_ms: 50
#  jitter: {{kind: uniform, percent: 20}}
#  loss_percent: 1
#  links: {{"inv1->inv2": {{delay_ms: 80}}}}

# What `gridloop study` varies, and the metric that it compares.
#study: {{metric: f_settling_time, set: {{comms.delay_ms: "0:200:5"}}}}

# Forecasts, negotiation and trades, slot by slot; the units that have no offer bid what they will need.
#market:
#  slot_s: 4
#  lead_s: 2
#  patience_s: 0.2
#  forecast: persistence          # ridge: with nine weeks of history
#  offers: {{pv1: {{b_ct_per_kwh: 10, c_ct_per_kw2h: 0.02, p_kw: [0, 500]}}}}

# A unit that a controller of yours sees as a Modbus device.
#serve:
#  inv2: {{url: "modbus+tcp://127.0.0.1:5021/1?map=generic_inverter"}}

# What fuel, starts, wear and lost load cost, for the metric `cost`.
#prices: {{fuel_eur_per_l: 1.5}}

# Tables of series: the first column is the time, a column is named by quantity and unit, such as P[kW].
# Weather may also come from a typical year: greensboro (North Carolina) or sand_point (Alaska).
#profiles:
#  day: {{file: day.csv, time_zone: Europe/Berlin, columns: {{p: "P[kW]"}}}}
#  sky: {{typical_year: greensboro}}

# What a meter shows: a sample every 200 ms with 1 % noise.
#meters:
#  m1: {{of: inv1, attr: ["P_gen[MW]", "f[Hz]"], period_ms: 200, noise_percent: 1}}

# Loads that are given up when the frequency stays low.
#load_shedding:
#  - {{below_hz: 49.0, delay_ms: 100, share_percent: 20}}

events:                          # line: from-to
  - {{t_s: 1, do: load_step, bus: 5, p_kw: 300, q_kvar: 100}}
  - {{t_s: 2, do: line_open, line: 6-7}}
#  - {{t_s: 3, do: set, path: units.pv1.p_set_kw, value: 250}}
#  - {{t_s: 3.5, do: fault, bus: 9, r_pu: 0.01, for_s: 0.1}}
#  - {{t_s: 4, do: unit_trip, unit: inv1}}
#  - {{t_s: 4.2, do: link_down, link: "inv1->inv2", for_s: 0.5}}
#  - {{t_s: 4.5, do: set, path: comms.delay_ms, value: 100}}
#  - {{t_s: 4.8, do: agent_fail, agent: inv3}}
#  - {{t_s: 5, do: pcc_close, sync: true}}
"""


def write_new(path: Path, like: str | None = None) -> None:
    """Write a scenario to begin with, or a copy of one that ships.

    Raises:
        FileExistsError: the file is there already.
        ValueError: its name does not end in .yaml, its folder is missing, or no such scenario ships.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(f"{path}: the name of a scenario file ends in .yaml")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another name, it is left as it is")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)
    if not re.match(r"[A-Za-z]", name) or name.lower() in ("null", "true", "false"):  # YAML would read something else
        name = f"scenario-{name}"
    if like is None:
        text = TEXT.format(name=name)
    else:
        known = library()
        if like not in known:
            raise ValueError(f"no scenario {like!r} ships; there are {', '.join(sorted(known))}")
        text = re.sub(r"(?m)^name: .*$", f"name: {name}", known[like].read_text(encoding="utf-8"), count=1)
        for beside in (one for one in library_files() if one.name.startswith(f"{like}-")):  # tables and nets it names
            target = path.parent / beside.name
            if target.exists() and target.read_bytes() != beside.read_bytes():
                raise FileExistsError(f"{target} is there already and is another one: choose another folder")
            target.write_bytes(beside.read_bytes())
    path.write_text(text, encoding="utf-8")
