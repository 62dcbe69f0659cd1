"""Recipe of the data of `neighbourhood`: a feeder of ten homes, and what they consume and feed in over eleven weeks.

    python scenarios/library/neighbourhood-recipe.py

writes neighbourhood-net.json and neighbourhood-power.csv beside this file. The powers are no measurement: they are made
by `gridloop.simulators.market.households` with the seed below, in whole watts; the first nine weeks are history that
forecasts learn from.
"""

from datetime import datetime, timedelta
from pathlib import Path

from gridloop.simulators.market.households import Neighbourhood, generate
from gridloop.simulators.market.slots import SLOT_S

SEED = 1
HOMES = 10
PV_KWP = (4.0, 6.0, 5.0)
PV_AT = (2, 5, 8)  # homes with a roof
DAYS = 63 + 14
START = "2026-05-04T00:00:00+02:00"


def generated() -> Neighbourhood:
    """The powers."""
    return generate(SEED, days=DAYS, homes=HOMES, pv_kwp=PV_KWP, start=START)


def write_power(folder: Path) -> None:
    """The table of all homes and roofs, and its first row again at the end."""
    of = generated()
    names = [f"home{i + 1}[W]" for i in range(HOMES)] + [f"pv{home}[W]" for home in PV_AT]
    lines = ["time," + ",".join(names)]
    start = datetime.fromisoformat(START)
    for row in range(len(of.load_kw) + 1):
        values = [*of.load_kw[row % len(of.load_kw)], *of.pv_kw[row % len(of.load_kw)]]
        stamp = (start + timedelta(seconds=row * SLOT_S)).isoformat()
        lines.append(f"{stamp}," + ",".join(str(round(1000 * value)) for value in values))
    (folder / "neighbourhood-power.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_net(folder: Path) -> None:
    """A transformer station and two branches of five homes, 90 m of 50 mm2 aluminium cable between them."""
    import pandapower

    net = pandapower.create_empty_network(name="neighbourhood", f_hz=50.0, sn_mva=0.1)
    bar = pandapower.create_bus(net, 0.4, name="bar", geodata=(0.0, 0.0))
    pandapower.create_ext_grid(net, bar)
    for branch, up in enumerate((1, -1)):
        before = bar
        for place in range(1, HOMES // 2 + 1):
            home = branch * HOMES // 2 + place
            bus = pandapower.create_bus(net, 0.4, name=f"h{home}", geodata=(float(place), 0.5 * up))
            pandapower.create_line(net, before, bus, 0.09, "NAYY 4x50 SE", name=f"cable{home}")
            before = bus
    net.std_types = {kind: {} for kind in net.std_types}  # most of the file, and of no use here
    pandapower.to_json(net, str(folder / "neighbourhood-net.json"))


if __name__ == "__main__":
    beside = Path(__file__).parent
    write_power(beside)
    write_net(beside)
