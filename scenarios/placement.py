"""Does everything that a scenario names exist in its network?"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gridloop.scenarios.communication import ends_of
from gridloop.scenarios.event_parts import FaultEvent, LineEvent, LoadEvent, PccCloseEvent
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.models.network import Network, islands
from gridloop.simulators.pandapower_net import ImportedNet

# what may be measured, by kind of entity; a unit shows what its model gives beside these
OF_UNIT = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]")
OF_BUS = ("Vm[pu]", "Va[deg]")
OF_BRANCH = ("P_from[MW]", "Q_from[MVar]", "loading[%]")
OF_LOAD = ("P_load[MW]", "Q_load[MVar]")


def placement_problems(scenario: Scenario, net: ImportedNet) -> list[Problem]:
    """Everything that does not fit between a scenario and its network."""
    network = net.network
    wrong = [*_unknown_names(scenario, network), *_taken_names(scenario, network)]
    known = set(network.bus_names)
    rows = {name: network.row_of_bus(unit.bus) for name, unit in scenario.units.items() if unit.bus in known}
    wrong += [*_generators_without_unit(scenario, net, set(rows.values())), *_two_ideal_sources(scenario, rows)]
    return wrong or stranded_problems(scenario, network)


def _unknown_names(scenario: Scenario, network: Network) -> Iterator[Problem]:
    """Buses and lines that the network has not, in the order of the scenario."""
    buses: list[tuple[Path, str]] = [(("units", name, "bus"), unit.bus) for name, unit in scenario.units.items()]
    if scenario.pcc is not None:
        buses.append((("pcc", "bus"), scenario.pcc.bus))
    if scenario.control is not None and scenario.control.pilot_bus is not None:
        buses.append((("control", "pilot_bus"), scenario.control.pilot_bus))
    for i, stage in enumerate(scenario.load_shedding):
        buses += [(("load_shedding", i, "buses", k), bus) for k, bus in enumerate(stage.buses or ())]
    for path, bus in buses:
        yield from _unknown_bus(scenario, network, path, bus)
    for i, event in enumerate(scenario.events):
        if isinstance(event, LoadEvent | FaultEvent):
            yield from _unknown_bus(scenario, network, ("events", i, "bus"), event.bus)
        elif isinstance(event, LineEvent):
            try:
                network.row_of_branch(event.line)
            except ValueError:
                hint = did_you_mean(event.line, network.branch_names)
                yield Problem(("events", i, "line"), f"{scenario.grid.net} has no line {event.line!r}{hint}")


def _unknown_bus(scenario: Scenario, network: Network, path: Path, bus: str) -> Iterator[Problem]:
    if bus not in network.bus_names:
        yield Problem(path, f"{scenario.grid.net} has no bus {bus!r}{did_you_mean(bus, network.bus_names)}")


def _taken_names(scenario: Scenario, network: Network) -> Iterator[Problem]:
    taken = {*network.bus_names, *network.branch_names}
    taken |= {f"{kind}{bus}" for bus in network.bus_names for kind in ("load", "fixed")}
    named: list[tuple[Path, str]] = [(("units", name), name) for name in scenario.units]
    named += [(("meters", name), name) for name in scenario.meters]
    if scenario.control is not None:
        named += [(("control", "central", k), name) for k, name in enumerate(scenario.control.central_names)]
    for path, name in named:
        if name in taken:
            yield Problem(path, f"{name!r} is the name of a bus, line or load already")


def _generators_without_unit(scenario: Scenario, net: ImportedNet, rows: set[int]) -> Iterator[Problem]:
    network, generators = net.network, net.generators
    if scenario.pcc is not None and scenario.pcc.bus in network.bus_names:
        rows = rows | {network.row_of_bus(scenario.pcc.bus)}
    for row, kind in zip(generators.bus, generators.kind, strict=True):
        if row not in rows:
            name, article = bus_name(network, int(row)), "an" if kind == "ext_grid" else "a"
            yield Problem(
                ("units",), f"bus {name!r} has {article} {kind} in {scenario.grid.net} but no unit; "
                "add a unit there or take the generator out of the net",
            )  # fmt: skip


def _two_ideal_sources(scenario: Scenario, rows: Mapping[str, int]) -> Iterator[Problem]:
    ideal = {
        name: row for name, row in rows.items()
        if scenario.units[name].z_pu in (None, (0.0, 0.0)) and _is_ideal(scenario, name)
    }  # fmt: skip
    for name, row in ideal.items():
        if list(ideal.values()).count(row) > 1:
            bus = scenario.units[name].bus
            yield Problem(("units", name), f"two ideal sources at bus {bus}: give this one a z_pu")


def _forms_the_grid(scenario: Scenario, unit: str) -> bool:
    model = scenario.model_of(unit)
    return model is not None and model.source == "emf"


def _is_ideal(scenario: Scenario, unit: str) -> bool:
    """Whether a unit without z_pu holds the voltage of its bus; a machine has an impedance of its own."""
    model = scenario.model_of(unit)
    return model is not None and model.source == "emf" and not hasattr(model.params, "impedance_pu")


def bus_name(network: Network, row: int) -> str:
    """The first name of a bus by its row."""
    return network.bus_names[int(np.flatnonzero(network.bus_row == row)[0])]


def meter_problems(scenario: Scenario, network: Network, load_names: Sequence[str]) -> list[Problem]:
    """Meters and signals of entities that do not exist, or of what these do not show."""
    problems = list(_signal_problems(scenario, network, load_names))
    for name, meter in scenario.meters.items():
        shown = _shown(scenario, network, load_names, meter.of)
        if not shown:
            known = [*scenario.units, *network.bus_names, *network.branch_names, *load_names]
            message = f"there is no unit, bus, line or load {meter.of!r}{did_you_mean(meter.of, known)}"
            problems.append(Problem(("meters", name, "of"), message))
            continue
        for k, attr in enumerate(meter.attr):
            if attr not in shown:
                message = f"{meter.of} does not show {attr}{did_you_mean(attr, shown)}"
                problems.append(Problem(("meters", name, "attr", k), message))
    return problems


def _signal_problems(scenario: Scenario, network: Network, load_names: Sequence[str]) -> Iterator[Problem]:
    for name, signal in ({} if scenario.comms is None else scenario.comms.signals).items():
        sender, _ = ends_of(name)
        if sender in scenario.meters:
            shown = list(scenario.meters[sender].attr)
        else:
            shown = _shown(scenario, network, load_names, sender)
        if not shown:
            known = [*scenario.units, *scenario.meters, *network.bus_names, *network.branch_names, *load_names]
            message = f"there is no unit, meter, bus, line or load {sender!r}{did_you_mean(sender, known)}"
            yield Problem(("comms", "signals", name), message)
        elif signal.attr not in shown:
            message = f"{sender} does not show {signal.attr}{did_you_mean(signal.attr, shown)}"
            yield Problem(("comms", "signals", name, "attr"), message)


def _shown(scenario: Scenario, network: Network, load_names: Sequence[str], of: str) -> list[str]:
    """Attributes of an entity; none if there is no such entity."""
    if of in scenario.units:
        model = scenario.model_of(of)
        own = [] if model is None else [port.attr for port in model.outputs if port.scalar]
        return list(dict.fromkeys([*own, *OF_UNIT]))
    for names, attributes in ((network.bus_names, OF_BUS), (network.branch_names, OF_BRANCH), (load_names, OF_LOAD)):
        if of in names:
            return list(attributes)
    return []


def unreached(scenario: Scenario, network: Network) -> list[tuple[str, ...]]:
    """Islands of buses, as they are at t = 0, that no forming unit and no utility grid feeds."""
    label = islands(network, network.closed)
    forming = [network.row_of_bus(unit.bus) for name, unit in scenario.units.items() if _forms_the_grid(scenario, name)]
    if scenario.pcc is not None and scenario.pcc.closed:
        forming.append(network.row_of_bus(scenario.pcc.bus))
    fed = set(label[forming].tolist())
    island = label[network.bus_row]
    return [
        tuple(network.bus_names[i] for i in np.flatnonzero(island == which))
        for which in dict.fromkeys(island.tolist()) if which not in fed
    ]  # fmt: skip


def stranded_problems(scenario: Scenario, network: Network) -> list[Problem]:
    """Units that could only follow or feed a grid which is not there, in a scenario that never closes a switch."""
    closes = any(
        isinstance(event, PccCloseEvent) or (isinstance(event, LineEvent) and event.do == "line_close")
        for event in scenario.events
    )
    dark = {bus for island in unreached(scenario, network) for bus in island}
    return [] if closes else [
        Problem(
            ("units", name),
            f"no grid-forming unit and no closed pcc reaches bus {unit.bus}: {name} cannot feed a dead grid; "
            "give a unit of this island control: droop, or close a line to it",
        )
        for name, unit in scenario.units.items() if unit.bus in dark
    ]  # fmt: skip
