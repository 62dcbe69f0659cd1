"""Units, buses and meters that are served to controllers outside, in the mosaik world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gridloop.hil.registers import RegisterMap, load_map
from gridloop.hil.urls import parse
from gridloop.scenarios.device_plan import set_points_of
from gridloop.scenarios.links import Start, link
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.serve_checks import fed_elsewhere
from gridloop.scenarios.start import Plan
from gridloop.simulators.meter import measured
from gridloop.simulators.operation import Log

SERVER = "Server"  # name of the simulator
OF_TERMINALS = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]")
OF_BUSES = ("Vm[pu]", "Va[deg]")


@dataclass(frozen=True)
class _Part:
    """What is served: `shown` are attributes that are read, `set_points` those that may be written."""

    name: str
    map: RegisterMap
    shown: tuple[str, ...]
    set_points: Mapping[str, float]


def add_server(
    plan: Plan, world: Any, start: Start, entities: Mapping[str, Any], shown_by: Callable[[str, str], Any],
    log: Log | None,
) -> None:  # fmt: skip
    """Start the server and connect what is served."""
    scenario = plan.scenario
    if not scenario.serve:
        return
    from gridloop.hil.server import PlantServer

    parts = [_part(plan, name) for name in scenario.serve]
    server = start(
        SERVER, PlantServer(log), step_ms=scenario.step_ms, extra_ticks_s=plan.event_times_s,
        attrs=sorted({attr for part in parts for attr in (*part.shown, *part.set_points)}),
        changes=[(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit in scenario.serve],
    )  # fmt: skip
    for part in parts:
        its = scenario.serve[part.name]
        served = server.Served(
            name=part.name, url=its.url, map=part.map, anywhere=its.anywhere, set_points=dict(part.set_points)
        )
        for attr in part.shown:
            if part.name in scenario.meters:
                link(world, entities[part.name], served, (measured(attr), attr))
            else:
                link(world, shown_by(part.name, attr), served, attr)
        for attr, value in part.set_points.items():
            link(world, served, entities[part.name], attr, time_shifted=True, initial_data={attr: value})


def _part(plan: Plan, name: str) -> _Part:
    """What a map and an entity have in common."""
    scenario = plan.scenario
    map = served_map(scenario, name)
    known, inputs = _attributes(plan, name)
    shown = tuple(dict.fromkeys(p.attr for p in map.points if not p.is_written and p.attr in known))
    written = {point.attr for point in map.written_points} & inputs
    points = dict.fromkeys(written, 0.0) | {
        attr: value for group in plan.groups if name in group.ids
        for attr, value in set_points_of(group, group.ids.index(name)).items() if attr in written
    }  # fmt: skip
    elsewhere = fed_elsewhere(scenario, name)
    return _Part(name, map, shown, {attr: points[attr] for attr in sorted(points) if attr not in elsewhere})


def _attributes(plan: Plan, name: str) -> tuple[set[str], set[str]]:
    """What an entity shows, and what it takes."""
    if name in plan.scenario.meters:
        return set(plan.scenario.meters[name].attr), set()
    for group in plan.groups:
        if name in group.ids:
            model = group.model
            if model is None:
                return set(OF_TERMINALS), set()
            outputs = {port.attr for port in model.outputs if port.scalar}
            return outputs | set(OF_TERMINALS), {port.attr for port in model.inputs if port.scalar}
    return set(OF_BUSES), set()


def served_map(scenario: Scenario, name: str) -> RegisterMap:
    """The register map of what is served.

    Raises:
        ValueError: there is no such map.
    """
    url = parse(scenario.serve[name].url)
    return load_map(url.options["map"], scenario.folder_of("serve", name, "url"))
