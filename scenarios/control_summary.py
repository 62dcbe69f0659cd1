"""What a scenario holds of sources, secondary control and communication, as data and in words."""

from typing import Any

from gridloop.scenarios.communication import device_ends, device_links, graph_of, link_names, settings_of
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource, PvSource
from gridloop.scenarios.unit_parts import Unit
from gridloop.simulators.models import graph

MOST_NAMED = 6  # in one line
WORDS = {
    "delay_ms": "delay {:g} ms", "loss_percent": "loss {:g} %", "bandwidth_bit_per_s": "{:,.0f} bit/s",
    "queue_bytes": "queue {:,.0f} bytes", "rto_ms": "sent again after {:g} ms", "message_bytes": "{:g} bytes a message",
}  # fmt: skip


def secondary(scenario: Scenario) -> dict[str, Any] | None:
    """Laws, members and their graph; None without secondary control."""
    control = scenario.control
    if control is None:
        return None
    return {
        **control.laws, "members": list(control.members), "pins": control.pin_gains,
        "central": list(control.central_names), "graph": graph_of(scenario), "period_ms": control.period_ms,
        "delay_handling": control.delay_handling,
    }  # fmt: skip


def links(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Settings of every link by its name."""
    names = device_links(scenario) if scenario.comms is None else link_names(scenario)
    return {name: settings_of(scenario, name) for name in names}


def in_words(scenario: Scenario) -> list[tuple[str, str]]:
    """Labels and lines about sources, control and communication; none where there is nothing of it."""
    sources = [f"{name} {told}" for name, unit in scenario.units.items() if (told := source_in_words(unit))]
    more = ", ..." if len(sources) > MOST_NAMED else ""
    lines = [("sources", ", ".join(sources[:MOST_NAMED]) + more)] if sources else []
    control, comms = scenario.control, scenario.comms
    if control is not None:
        pins = ", ".join(name if gain == 1 else f"{name} ({gain:g})" for name, gain in control.pin_gains.items())
        parts = [
            f"frequency {control.frequency.law}, voltage {control.voltage.law}",
            _named(list(control.members), "members"), f"pinned {pins}" if pins else "",
            f"central {', '.join(control.central_names)}" if control.central_names else "",
            f"every {control.period_ms:g} ms", f"delay handling {control.delay_handling}",
        ]  # fmt: skip
        lines.append(("control", " · ".join(filter(None, parts))))
    for unit in dict(device_links(scenario).values()):
        told = " · ".join(_settings(settings_of(scenario, "->".join(device_ends(unit)[0]))))
        lines.append(("device link", f"{unit} to its device and back: {told}"))
    if comms is None:
        return [*lines, ("comms", "none: agents exchange without delay or loss")] if control is not None else lines
    own = {name: part.given for name, part in (comms.links | comms.signals).items()}
    names = link_names(scenario)
    shape = graph_of(scenario)
    parts = [shape if isinstance(shape, str) else f"{len(shape)} pairs"] if shape else []
    lines.append(("comms", " · ".join([*parts, _named(names, "links"), *_settings(comms.given)])))
    lines += [("", f"{name}: {' · '.join(_settings(given))}") for name, given in own.items() if given]
    return lines


def warnings(scenario: Scenario) -> list[str]:
    """What is allowed and yet seldom meant."""
    control, pairs = scenario.control, graph_of(scenario)
    if control is None or not pairs:
        return []
    edges = graph.edges(pairs, control.members)
    reached = {control.members[0]}
    for _ in control.members:
        reached |= {name for edge in edges if reached & {*edge} for name in edge}
    lost = [name for name in control.members if name not in reached]
    text = f"the communication graph falls apart: no message of {control.members[0]} reaches {', '.join(lost)}"
    return [text] if lost else []


def source_in_words(unit: Unit) -> str:
    """What stands behind an inverter; '' for nothing."""
    if isinstance(unit.source, BatterySource):
        return f"battery {float(unit.source.parameters['e_rated_kwh']):,g} kWh"
    return f"pv {unit.source.modules:,g} modules" if isinstance(unit.source, PvSource) else ""


def _named(names: list[str], what: str) -> str:
    """How many there are, and the first of them."""
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{len(names)} {what} ({', '.join(names[:MOST_NAMED])}{more})"


def _settings(given: dict[str, Any]) -> list[str]:
    """A link's settings; without any it is ideal."""
    told = [WORDS[key].format(value) for key, value in given.items() if key in WORDS]
    if "jitter" in given:
        jitter = given["jitter"]
        spreads = [f"{jitter[key]:g} {unit}" for key, unit in (("percent", "%"), ("ms", "ms")) if key in jitter]
        told.append(" ".join(["jitter", jitter["kind"], *spreads]))
    told += ["losses in bursts"] * ("burst" in given) + ["in order"] * bool(given.get("fifo"))
    return told or ["without delay or loss"]
