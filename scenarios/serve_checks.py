"""What of the parts of a scenario that are served does not fit together."""

from collections.abc import Collection, Iterator

from gridloop.hil.registers import load_map
from gridloop.hil.urls import parse
from gridloop.scenarios.comms_checks import fed_by
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario

RAMPED = ("Omega[rad_per_s]", "v[pu]")


def serve_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Addresses, maps and names that cannot be."""
    seen: dict[str, str] = {}
    for name, served in scenario.serve.items():
        path: Path = ("serve", name)
        if path in broken:
            continue
        if scenario.mode == "steady":
            yield Problem(path, "mode: steady goes at no pace that a controller outside could keep; use mode: rms")
            continue
        if name in scenario.units and scenario.units[name].device is not None:
            yield Problem(path, f"{name} has a device that stands in for it: serve another unit, or delete `device:`")
        try:
            url = parse(served.url)
            if url.scheme != "modbus":
                yield Problem(
                    (*path, "url"), f"is served over Modbus only, not {url.scheme}: modbus+tcp://127.0.0.1:5021"
                )
            elif "map" not in url.options:
                yield Problem((*path, "url"), "needs a register map: add ?map=generic_inverter or a file of your own")
            else:
                load_map(url.options["map"], scenario.folder_of("serve", name, "url"))
        except ValueError as error:
            yield Problem((*path, "url"), str(error))
            continue
        if url.bus in seen:
            yield Problem((*path, "url"), f"{seen[url.bus]} is served there already: take another port")
        seen[url.bus] = name


def unknown_parts(scenario: Scenario, buses: Collection[str]) -> list[Problem]:
    """Names that are of no unit, meter or bus."""
    known = [*scenario.units, *scenario.meters, *buses]
    return [
        Problem(("serve", name), f"there is no unit, meter or bus {name!r}{did_you_mean(name, known)}")
        for name in scenario.serve if name not in known
    ]  # fmt: skip


def fed_elsewhere(scenario: Scenario, unit: str) -> set[str]:
    """Inputs of a unit that others in the scenario feed: nobody outside may write them."""
    signals = {} if scenario.comms is None else scenario.comms.signals
    told = {signal.to_attr for name, signal in signals.items() if name.partition("->")[2] == unit}
    if unit not in scenario.units:
        return told
    candidates = (*RAMPED, "P_set[MW]", "P_max[MW]", "P_min[MW]", "P_avail[MW]")
    return told | {attr for attr in candidates if fed_by(scenario, unit, attr)}
