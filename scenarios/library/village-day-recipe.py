"""Recipe of the data of `village-day`: a feeder of twelve houses and what they consume in a day.

    python scenarios/library/village-day-recipe.py

writes village-day-net.json and village-day-homes.csv beside this file, the same to the byte on every machine with the
same numpy and pandapower. Consumption is no measurement: each house has a base load, a refrigerator that runs a third
of the time, and things that are switched on in the morning, at noon and in the evening.
"""

from pathlib import Path

import numpy as np

HOUSES = 12
MINUTES = 1440
STEP_MIN = 15
SEED = 2026
# minute of the day around which people are busy, its spread, how many things are switched on, their power [kW]
BUSY = ((420, 50, 2, (0.8, 2.0)), (735, 40, 2, (0.8, 2.2)), (1155, 90, 4, (0.4, 2.4)))


def consumption_kw(random: np.random.Generator) -> np.ndarray:
    """Power of one house, mean of every quarter of an hour and the first again at the end; (97,)."""
    minute = np.arange(MINUTES)
    power = random.uniform(0.06, 0.14) + 0.12 * ((minute + random.integers(60)) % 60 < 20)
    for middle, spread, count, (least, most) in BUSY:
        for _ in range(count):
            begin = int(np.clip(random.normal(middle, spread), 0, MINUTES - 1))
            power[begin : begin + int(random.integers(10, 60))] += random.uniform(least, most)
    quarters = power.reshape(-1, STEP_MIN).mean(1)
    return np.append(quarters, quarters[0])


def write_homes(folder: Path) -> None:
    """The table of all houses."""
    random = np.random.default_rng(SEED)
    columns = [consumption_kw(random) for _ in range(HOUSES)]
    lines = ["time," + ",".join(f"home{house}[kW]" for house in range(1, HOUSES + 1))]
    for row in range(MINUTES // STEP_MIN + 1):
        day, minute = divmod(row * STEP_MIN, MINUTES)
        stamp = f"2026-06-{21 + day}T{minute // 60:02}:{minute % 60:02}:00-05:00"
        lines.append(f"{stamp}," + ",".join(f"{column[row]:.3f}" for column in columns))
    (folder / "village-day-homes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_net(folder: Path) -> None:
    """Two branches of six houses each, 80 m of 50 mm2 aluminium cable between them, and a street lamp at the bar."""
    import pandapower

    net = pandapower.create_empty_network(name="village", f_hz=50.0, sn_mva=0.1)
    bar = pandapower.create_bus(net, 0.4, name="bar", geodata=(0.0, 0.0))
    pandapower.create_ext_grid(net, bar)
    pandapower.create_load(net, bar, p_mw=0.0003, name="lamps")
    for branch, up in enumerate((1, -1)):
        before = bar
        for place in range(1, HOUSES // 2 + 1):
            house = branch * HOUSES // 2 + place
            bus = pandapower.create_bus(net, 0.4, name=f"h{house}", geodata=(float(place), 0.5 * up))
            pandapower.create_line(net, before, bus, 0.08, "NAYY 4x50 SE", name=f"cable{house}")
            before = bus
    net.std_types = {kind: {} for kind in net.std_types}  # two thirds of the file, and of no use here
    pandapower.to_json(net, str(folder / "village-day-net.json"))


if __name__ == "__main__":
    here = Path(__file__).parent
    write_homes(here)
    write_net(here)
