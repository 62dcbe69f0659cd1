"""The single-line diagram of a network as SVG text, with what a run did to it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gridloop.scenarios import diagram_symbols as draw
from gridloop.scenarios.diagram_layout import DEVICE_SPACING, SMALL_NET, Bus, Labels, Record, samples, sheet
from gridloop.scenarios.display import number, quantity

LOADING_STEPS = (50, 80, 100)  # of the rating [%]
FLOW_STEPS = (25, 50, 75)  # of the largest flow in the net [%]

Range = tuple[float, float]


@dataclass(frozen=True)
class Marks:
    """What a run did to its network, by id; whatever is missing is not shown.

    Args:
        loading_percent: highest loading of a branch [%].
        flow_mw: greatest active power through a branch, either way [MW].
        v_pu: lowest and highest voltage of a bus [pu].
        p_gen_mw: lowest and highest active power of a unit, into the bus [MW].
        p_load_mw: lowest and highest active power of a load [MW].
        opened_s: branches that are open at the end, and since when [s].
        stopped_s: units that are off at the end, and since when [s].
        colours: number of a unit's colour, that of its curves; the palette starts again at its end.
    """

    loading_percent: Mapping[str, float] = field(default_factory=dict)
    flow_mw: Mapping[str, float] = field(default_factory=dict)
    v_pu: Mapping[str, Range] = field(default_factory=dict)
    p_gen_mw: Mapping[str, Range] = field(default_factory=dict)
    p_load_mw: Mapping[str, Range] = field(default_factory=dict)
    opened_s: Mapping[str, float] = field(default_factory=dict)
    stopped_s: Mapping[str, float] = field(default_factory=dict)
    colours: Mapping[str, int] = field(default_factory=dict)


def network_svg(network: Mapping[str, Any], marks: Marks | None = None) -> str:
    """Draw a network.

    Args:
        network: as in a run's record: `buses` (id, x, y, v_kv), `branches` (id, from, to, kind),
            `units` (id, type, bus, s_rated_kva), `loads` (id, bus) and, in new runs, `pcc` (id, type, bus).
        marks: what to show of a run; without it the bare network.

    Returns:
        One <svg> element; the same input gives the same text.
    """
    return Drawing(network, marks or Marks()).svg()


class Drawing:
    """One diagram in the making: shapes and texts collected from the bottom to the top."""

    def __init__(self, network: Mapping[str, Any], marks: Marks) -> None:
        self.buses, self.marks = network["buses"], marks
        known = {bus["id"] for bus in self.buses}  # what ends at an unnamed bus has no place in the picture
        self.branches = [b for b in network["branches"] if {b["from"], b["to"]} <= known]
        feeders = [*network["units"], *network.get("pcc", [])]
        self.units = [unit for unit in feeders if unit["bus"] in known]
        self.loads = [load for load in network["loads"] if load["bus"] in known]
        devices = Counter(device["bus"] for device in [*self.units, *self.loads])
        self.sheet = sheet(self.buses, self.branches, devices)
        self.size, self.small = self.sheet.size, len(self.buses) <= SMALL_NET
        self.font = 12.5 if self.small else 10.5
        self.labels = Labels(self.sheet.width, self.sheet.height)
        self.largest_mw = max((abs(v) for v in marks.flow_mw.values()), default=0.0)
        self.texts: list[str] = []

    def svg(self) -> str:
        """The whole picture. Labels are placed by weight: open branches, units, buses, flows."""
        branches = [self.branch(record, shift) for record, shift in self.shifted()]
        bars = [self.bus(record) for record in self.buses]
        devices = [self.device(record, at) for record, at in self.standing()]
        self.label_branches(opened=True)
        self.label_units()
        self.label_buses()
        if self.small:
            self.label_branches(opened=False)
        legend, depth = self.legend()
        width, height = self.sheet.width, self.sheet.height + depth
        head = f'<svg class="network" viewBox="0 0 {width:.0f} {height:.0f}" xmlns="{draw.NAMESPACE}" role="img"'
        about = f' aria-label="Single-line diagram, {len(bars)} buses, {len(branches)} branches">'
        parts = [f"<style>{draw.STYLE}</style>", *branches, *devices, *bars, *self.texts, legend]
        return head + about + "\n".join(parts) + "</svg>"

    def shifted(self) -> list[tuple[Record, float]]:
        """Branches with their shift across [px], which keeps parallel ones apart."""
        pairs = [frozenset((b["from"], b["to"])) for b in self.branches]
        total, seen, found = Counter(pairs), Counter[frozenset[str]](), []
        for record, pair in zip(self.branches, pairs, strict=True):
            found.append((record, (seen[pair] - (total[pair] - 1) / 2) * 10 * self.size))
            seen[pair] += 1
        return found

    def ends(self, record: Record, shift: float) -> tuple[complex, complex]:
        """Where a branch meets its two bars."""
        a, b = self.sheet.buses[record["from"]], self.sheet.buses[record["to"]]
        first, last = sorted((record["from"], record["to"]))  # parallel branches may differ in direction
        across = self.sheet.buses[last].at - self.sheet.buses[first].at
        across *= 1j * shift / (abs(across) or 1)
        return port(a, b.at - a.at) + across, port(b, a.at - b.at) + across

    def branch(self, record: Record, shift: float) -> str:
        """A line or transformer in the colour of its highest loading or flow."""
        a, b = self.ends(record, shift)
        opened, middle = record["id"] in self.marks.opened_s, (a + b) / 2
        classes = "open" if opened else self.level(record["id"])
        shapes = [draw.line(a, b, f"branch {classes}"), draw.line(a, b, "hit")]
        if record["kind"] == "trafo" and a != b:
            shapes += draw.transformer_symbol(middle, (b - a) / abs(b - a), self.size, classes)
            self.labels.take(middle, 12 * self.size * (1 + 1j))
        if opened:
            shapes.append(draw.open_symbol(middle, self.size))
            self.labels.take(middle, 6 + 6j)
        self.labels.lines += samples([a, b])
        return draw.group(shapes, self.branch_words(record))

    def level(self, branch: str) -> str:
        """Style class of a branch by its highest loading, or by its share of the net's largest flow."""
        loading = self.marks.loading_percent.get(branch)
        if self.marks.loading_percent:
            if loading is None:
                return "level0"
            return f"level{sum(loading > s for s in LOADING_STEPS)}" + (" over" if loading > 100 else "")
        share = 100 * abs(self.marks.flow_mw.get(branch, 0)) / (self.largest_mw or 1)
        return f"level{sum(share > step for step in FLOW_STEPS)}"

    def branch_words(self, record: Record) -> str:
        """The tooltip of a branch."""
        words, name = [f"{record['kind']} {record['id']}: {record['from']} to {record['to']}"], record["id"]
        if name in self.marks.loading_percent:
            words.append(f"highest loading {number(self.marks.loading_percent[name])} %")
        if name in self.marks.flow_mw:
            words.append(f"greatest flow {quantity(self.marks.flow_mw[name], 'MW')}")
        if name in self.marks.opened_s:
            words.append(f"open since {number(self.marks.opened_s[name])} s")
        return ", ".join(words)

    def bus(self, record: Record) -> str:
        """A busbar."""
        bus = self.sheet.buses[record["id"]]
        a, b = bus.at - bus.bar * bus.half, bus.at + bus.bar * bus.half
        words = f"bus {record['id']}, {number(record['v_kv'])} kV"
        if record["id"] in self.marks.v_pu:
            low, high = self.marks.v_pu[record["id"]]
            words += f", {number(low, 'pu')} to {number(high, 'pu')} pu"
        self.labels.take(bus.at, abs((b - a).real) / 2 + 3 + 1j * (abs((b - a).imag) / 2 + 3))
        return draw.group([draw.line(a, b, "bar", max(2.4, 5 * self.size))], words)

    def standing(self) -> list[tuple[Record, complex]]:
        """Units and loads with the point of the bar they stand on, spread along it."""
        total, seen, found = Counter(d["bus"] for d in [*self.units, *self.loads]), Counter[str](), []
        for record in [*self.units, *self.loads]:
            bus, name = self.sheet.buses[record["bus"]], record["bus"]
            offset = (seen[name] - (total[name] - 1) / 2) * DEVICE_SPACING * self.size
            found.append((record, bus.at + bus.bar * offset))
            seen[name] += 1
        return found

    def device(self, record: Record, at: complex) -> str:
        """A unit's circle or a load's arrow."""
        side, name = self.sheet.buses[record["bus"]].side, record["id"]
        if "type" not in record:
            self.labels.take(at + 16 * self.size * side, 14 * self.size * (1 + 1j))
            words = f"load {name} at bus {record['bus']}" + between(self.marks.p_load_mw.get(name))
            return draw.group(draw.load_symbol(at, side, self.size), words, "load")
        centre = at + 34 * self.size * side
        self.labels.take(centre, 16 * self.size * (1 + 1j))
        shapes = [draw.line(at, at + 20 * self.size * side, "line", 0.8 + self.size)]
        shapes += draw.unit_symbol(centre, record["type"], self.size)
        rated = record.get("s_rated_kva")
        words = f"{record['type']} {name} at bus {record['bus']}" + (f", {quantity(rated, 'kVA')}" if rated else "")
        words += between(self.marks.p_gen_mw.get(name))
        if name in self.marks.stopped_s:
            shapes.append(draw.open_symbol(centre, 2 * self.size))
            words += f", off since {number(self.marks.stopped_s[name])} s"
        colour = self.marks.colours.get(name)
        return draw.group(shapes, words, "" if colour is None else f"c{colour % len(draw.PALETTE)}")

    def label(self, at: complex, rows: list[str], ways: list[complex], classes: str = "") -> None:
        """Write beside a point if there is room; what is marked is written in any case."""
        extent = draw.text_extent(rows, self.font)
        centre = self.labels.place(at, extent, ways, needed=classes == "mark")
        if centre is not None:
            self.texts.append(draw.text_rows(centre, rows, self.font, classes))

    def label_branches(self, opened: bool) -> None:
        """Since when a branch is open, or its highest loading or flow."""
        for record, shift in self.shifted():
            name, (a, b) = record["id"], self.ends(record, shift)
            if (name in self.marks.opened_s) is not opened or a == b:
                continue
            away = (11 if opened else 6) * 1j * (b - a) / abs(b - a)
            if opened:
                words, kind = f"open since {number(self.marks.opened_s[name])} s", "mark"
            elif name in self.marks.loading_percent:
                words, kind = f"{self.marks.loading_percent[name]:.0f} %", "soft"
            elif name in self.marks.flow_mw:
                words, kind = quantity(float(f"{self.marks.flow_mw[name]:.3g}"), "MW"), "soft"
            else:
                continue
            self.label((a + b) / 2, [words], [away, -away], kind)

    def label_units(self) -> None:
        """Name and rating of each unit."""
        for record, at in self.standing():
            if "type" not in record:
                continue
            side = self.sheet.buses[record["bus"]].side
            rated = record.get("s_rated_kva")
            rows = [record["id"], *([quantity(rated, "kVA")] if rated and self.size > 0.55 else [])]
            ways = [side * way * (17 * self.size + 2) for way in (1 + 0j, 1j, -1j, 1 + 1j, 1 - 1j)]
            self.label(at + 34 * self.size * side, rows, ways)

    def label_buses(self) -> None:
        """Bus names, the best connected first; in large nets without the word that starts them all."""
        degree = Counter(end for b in self.branches for end in (b["from"], b["to"]))
        names = [bus["id"] for bus in self.buses]
        words = {name.partition(" ")[0] for name in names}
        shared = len(words.pop()) + 1 if len(words) == 1 and not self.small else 0
        for name in sorted(names, key=lambda name: -degree[name]):
            bus = self.sheet.buses[name]
            tip, beside = bus.bar * (bus.half + 5), bus.bar * 1j * 7
            corners = [tip + beside, tip - beside, beside - tip, -tip - beside]
            self.label(bus.at, [name[shared:] or name], [tip, -tip, beside, -beside, *corners], "name")

    def legend(self) -> tuple[str, float]:
        """What the symbols mean, only those that occur, and the height it takes [px]."""
        kinds = {b["kind"] for b in self.branches}
        items = [("bus", draw.line(-8j, 8j, "bar", 4))]
        if self.units:
            items.append(("unit", "".join(draw.unit_symbol(0j, self.units[0]["type"], 0.7))))
        if self.loads:
            items.append(("load", "".join(draw.load_symbol(-9j, 1j, 0.6))))
        if "trafo" in kinds:
            items.append(("transformer", "".join(draw.transformer_symbol(0j, 1 + 0j, 0.6, "level0"))))
        if self.marks.opened_s:
            items.append(("open", draw.line(-14 + 0j, 14 + 0j, "branch open") + draw.open_symbol(0j, 0.6)))
        for level, words in enumerate(self.level_words()):
            over = " over" if level == 3 and self.marks.loading_percent else ""
            items.append((words, draw.line(-12 + 0j, 12 + 0j, f"branch level{level}{over}")))
        return draw.legend(items, 12 + 1j * (self.sheet.height + 10), self.sheet.width)

    def level_words(self) -> list[str]:
        """What the colours of the branches stand for."""
        if self.marks.loading_percent:
            low, middle, high = LOADING_STEPS
            return [f"highest loading to {low} %", f"to {middle} %", f"to {high} %", f"above {high} %"]
        if not self.largest_mw:
            return []
        shares = [quantity(float(f"{self.largest_mw * s / 100:.2g}"), "MW") for s in FLOW_STEPS]
        return [f"greatest flow to {shares[0]}", f"to {shares[1]}", f"to {shares[2]}", "more"]


def port(bus: Bus, towards: complex) -> complex:
    """Where a branch in the given direction leaves a bar."""
    direction = towards / (abs(towards) or 1)
    return bus.at + bus.bar * (direction / bus.bar).real * bus.half * 0.8


def between(span_mw: Range | None) -> str:
    """The range of a power, in words."""
    return "" if span_mw is None else f", {quantity(span_mw[0], 'MW')} to {quantity(span_mw[1], 'MW')}"
