"""What only several keys together show to be wrong with dispatch: its units, their types, its requests."""

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from gridloop.scenarios.dispatch_parts import Dispatch
from gridloop.scenarios.event_parts import SetEvent, UnitEvent
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario


def dispatch_problems(scenario: Scenario, dispatch: Dispatch, broken: Collection[Path]) -> Iterator[Problem]:
    """Units and requests; what is at the paths `broken` has been reported already."""
    here: Path = ("market", "dispatch")
    seen: dict[str, str] = {}
    given: list[tuple[Path, str, str, str]] = [
        (("generators", row), unit, "Inverter", "a generator") for row, unit in enumerate(dispatch.generators)
    ]
    given += [(("svcs", unit), unit, "Following", "a compensator") for unit in dispatch.svcs]
    buyers = dict.fromkeys(asked.buyer for asked in dispatch.requests)
    first = {name: next(i for i, a in enumerate(dispatch.requests) if a.buyer == name) for name in buyers}
    given += [(("requests", first[unit], "buyer"), unit, "Following", "a buyer") for unit in buyers]
    for place, unit, wanted, what in given:
        path: Path = (*here, *place)
        if unit not in scenario.units:
            yield Problem(path, f"there is no unit {unit!r}{did_you_mean(unit, list(scenario.units))}")
        elif ("units", unit) not in broken and _model(scenario, unit) != wanted:
            control = "droop" if wanted == "Inverter" else "following"
            yield Problem(path, f"{what} is an inverter with `control: {control}`; {unit} is none")
        elif unit in seen:
            yield Problem(path, f"{unit} is {seen[unit]} already")
        elif scenario.units[unit].source is not None and wanted == "Following":
            yield Problem(path, f"{unit} has a source of its own: it cannot be {what}")
        seen.setdefault(unit, what)
    if scenario.grid.base is not None:
        yield Problem(("grid", "base"), "dispatch takes the net as it is: leave `base` away")
    if scenario.pcc is not None:
        yield Problem(("pcc",), "dispatch needs a generator at each generator's bus of the net: an island")
    yield from _overlaps(dispatch)
    yield from _told_by_others(scenario, dispatch)


def _model(scenario: Scenario, unit: str) -> str | None:
    try:
        model = scenario.model_of(unit)
    except ValueError:  # reported where the units are checked
        return None
    return None if model is None else str(model.name)


def _overlaps(dispatch: Dispatch) -> Iterator[Problem]:
    """A buyer asks for one thing at a time: what it draws settles its trade."""
    for row, asked in enumerate(dispatch.requests):
        for other in dispatch.requests[:row]:
            if other.buyer == asked.buyer and max(other.slots[0], asked.slots[0]) < min(other.slots[1], asked.slots[1]):
                yield Problem(
                    ("market", "dispatch", "requests", row, "slots"), f"{asked.buyer} has asked for these already"
                )
                break


def _told_by_others(scenario: Scenario, dispatch: Dispatch) -> Iterator[Problem]:
    """A set-point that the operator gives is nobody else's."""
    told: dict[str, tuple[str, ...]] = {unit: ("v_set_pu", "p_set_kw") for unit in dispatch.generators}
    told |= {unit: ("q_set_kvar",) for unit in dispatch.svcs}
    told |= {asked.buyer: ("p_set_kw",) for asked in dispatch.requests}
    assert scenario.market is not None
    for unit in sorted(told.keys() & scenario.market.offers.keys()):
        yield Problem(("market", "offers", unit), f"{unit} is told its set-points by market.dispatch")
    for row, event in enumerate(scenario.events):
        if isinstance(event, UnitEvent) and event.unit in dispatch.generators:
            yield Problem(("events", row, "unit"), f"dispatch needs all of its generators: {event.unit} must stay")
        if not isinstance(event, SetEvent):
            continue
        pattern, _, key = event.path.removeprefix("units.").rpartition(".")
        for unit, keys in told.items():
            if key in keys and fnmatchcase(unit, pattern):
                yield Problem(("events", row, "path"), f"{unit} is told its {key} by market.dispatch")
