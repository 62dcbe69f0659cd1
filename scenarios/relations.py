"""What only several keys together show to be wrong, as far as it can be told without the network."""

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from zoneinfo import available_timezones

from gridloop.scenarios.agent_checks import agent_device_problems
from gridloop.scenarios.comms_checks import comms_problems
from gridloop.scenarios.communication import is_of_links
from gridloop.scenarios.control_checks import agent_event_problems, control_problems
from gridloop.scenarios.courses import Reference
from gridloop.scenarios.device_checks import device_problems
from gridloop.scenarios.event_parts import PccCloseEvent, PccOpenEvent, SetEvent, UnitEvent
from gridloop.scenarios.market_checks import market_problems
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.serve_checks import serve_problems
from gridloop.scenarios.source_parts import PvSource
from gridloop.scenarios.unit_checks import known_keys
from gridloop.scenarios.unit_parts import PROFILE, Unit
from gridloop.simulators.ports import Model
from gridloop.simulators.profile_table import base_unit

SETTABLE = ("p_set_kw", "q_set_kvar", "v_set_pu")  # what a `set` event may change
RESERVED = ("grid", "pcc")  # entities that every run, or every run with a utility grid, has
# names of simulators that are no device models of units
SIMULATORS = ("Grid", "Profile", "Meter", "Secondary", "Comms", "PV", "Battery", "CoulombBattery", "Devices", "Server")
PROFILE_ENDINGS = (".csv", ".parquet")


def relations(scenario: Scenario, broken: Collection[Path] = ()) -> list[Problem]:
    """Everything that does not fit together; parts at the paths `broken` have been reported already."""
    control = list(control_problems(scenario, broken, RESERVED))
    aside = {*broken, *(problem.path[:2] for problem in control)}  # whose echoes in links and events are not told
    return [
        *_times(scenario), *_events(scenario), *_profiles(scenario), *_columns(scenario, broken), *_models(scenario),
        *_meters(scenario), *_defaults(scenario), *_shedding(scenario),
        *control, *agent_event_problems(scenario, aside), *comms_problems(scenario, aside),
        *device_problems(scenario, broken), *serve_problems(scenario, broken),
        *agent_device_problems(scenario, aside), *market_problems(scenario, broken),
    ]  # fmt: skip


def set_targets(scenario: Scenario, event: SetEvent) -> list[str]:
    """Units whose set-point a `set` event changes.

    Raises:
        ValueError: the path is not that of a set-point, or no unit has it.
    """
    head, _, rest = event.path.partition(".")
    pattern, _, key = rest.rpartition(".")
    if head != "units" or not pattern:
        such_as = "units.inv1.p_set_kw, units.*.v_set_pu or comms.delay_ms"
        raise ValueError(f"must be units.UNIT.KEY or comms.KEY, such as {such_as}")
    if key not in SETTABLE:
        raise ValueError(f"{key!r} cannot change during a run{did_you_mean(key, SETTABLE)}")
    named = [name for name in scenario.units if fnmatchcase(name, pattern)]
    if not named:
        raise ValueError(f"there is no unit {pattern!r}{did_you_mean(pattern, list(scenario.units))}")
    able = [name for name in named if key in _keys(scenario, name)]
    if not able or ("*" not in pattern and able != named):
        raise ValueError(f"{named[0]} is of type {_kind(scenario.units[named[0]])}, which has no {key}")
    return able


def _kind(unit: Unit) -> str:
    return f"{unit.type} with control {unit.control}" if unit.type == "inverter" else unit.type


def _keys(scenario: Scenario, name: str) -> list[str]:
    try:
        model = scenario.model_of(name)
    except ValueError:  # reported where the units are checked
        return list(SETTABLE)
    return [] if model is None else known_keys(model)


def _models(scenario: Scenario) -> Iterator[Problem]:
    """Users' models whose name another simulator of the run has."""
    taken: dict[str, Model | None] = dict.fromkeys(SIMULATORS)
    for name in sorted(scenario.units, key=lambda name: ":" in scenario.units[name].type):  # ours first
        try:
            model = scenario.model_of(name)
        except ValueError:  # reported where the units are checked
            continue
        if model is not None and taken.setdefault(model.name, model) is not model:
            message = f"the name {model.name!r} of this model is taken: give it another one, Model(name=...)"
            yield Problem(("units", name, "type"), message)


def _times(scenario: Scenario) -> Iterator[Problem]:
    step_ms, every_ms = scenario.step_ms, scenario.record.every_ms
    periods: list[tuple[Path, float | None]] = [(("step_ms",), step_ms), (("record", "every_ms"), every_ms)]
    periods += [(("meters", name, "period_ms"), meter.period_ms) for name, meter in scenario.meters.items()]
    if scenario.control is not None:
        periods.append((("control", "period_ms"), scenario.control.period_ms))
    signals = {} if scenario.comms is None else scenario.comms.signals
    periods += [(("comms", "signals", name, "period_ms"), signal.period_ms) for name, signal in signals.items()]
    fine = True
    for path, value_ms in periods:
        if value_ms is not None and abs(value_ms * 1e3 - round(value_ms * 1e3)) > 1e-6:
            yield Problem(path, f"must be a multiple of 0.001 ms, got {value_ms:g}")
            fine = fine and path[0] not in ("step_ms", "record")
    shorter, longer = sorted(round(value_ms * 1e3) for value_ms in (step_ms, every_ms or step_ms))
    if fine and longer % max(shorter, 1):
        yield Problem(("record", "every_ms"), f"must be a multiple of step_ms = {step_ms:g}, got {every_ms:g}")


def _events(scenario: Scenario) -> Iterator[Problem]:
    for i, event in enumerate(scenario.events):
        if isinstance(event, UnitEvent) and event.unit not in scenario.units:
            hint = did_you_mean(event.unit, list(scenario.units))
            yield Problem(("events", i, "unit"), f"there is no unit {event.unit!r}{hint}")
        elif isinstance(event, PccOpenEvent | PccCloseEvent) and scenario.pcc is None:
            yield Problem(("events", i, "do"), f"{event.do} needs a utility grid: add `pcc:` to the scenario")
        elif isinstance(event, SetEvent) and not is_of_links(event):
            try:
                set_targets(scenario, event)
            except ValueError as error:
                yield Problem(("events", i, "path"), str(error))


def _profiles(scenario: Scenario) -> Iterator[Problem]:
    if scenario.profiles and scenario.clock is None:
        message = "needs `clock:`, the date and time at t = 0, such as clock: 2026-06-21T12:00:00+02:00"
        yield Problem(("profiles",), message)
    for name, profile in scenario.profiles.items():
        path: Path = ("profiles", name)
        zones = available_timezones() if profile.time_zone is not None else set()
        if profile.time_zone is not None and profile.time_zone not in zones:
            hint = did_you_mean(profile.time_zone, sorted(zones))
            yield Problem((*path, "time_zone"), f"there is no time zone {profile.time_zone!r}{hint}")
        if profile.file is None:
            continue
        file = scenario.folder_of(*path, "file") / profile.file
        if not file.is_file():
            folder = file.parent
            near = [p.name for p in folder.iterdir() if p.suffix in PROFILE_ENDINGS] if folder.is_dir() else []
            yield Problem((*path, "file"), f"there is no file {file}{did_you_mean(file.name, near) if near else ''}")
        elif file.suffix not in PROFILE_ENDINGS:
            yield Problem((*path, "file"), f"must end in .csv or .parquet, got {profile.file!r}")


def _references(scenario: Scenario, broken: Collection[Path]) -> Iterator[tuple[Path, Reference]]:
    """Columns of profiles that units name, with the places where they do."""
    for name, unit in scenario.units.items():
        path: Path = ("units", name)
        if path in broken:
            continue
        if unit.type == PROFILE:
            yield from (((*path, key), reference) for key, reference in unit.given_power.references.items())
        if isinstance(unit.source, PvSource):
            yield from (((*path, "source", key), reference) for key, reference in unit.source.references.items())


# first letter of a key -> base unit of the column that it names, and the units that lead there
COLUMNS = {
    "p": ("MW", "W, kW or MW"), "q": ("MVar", "var, kvar or MVar"), "g": ("W_per_m2", "W_per_m2"),
    "t": ("degC", "degC"),
}  # fmt: skip


def _columns(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Columns that no profile has, or that are in another unit."""
    for path, reference in _references(scenario, broken):
        profile = scenario.profiles.get(reference.profile)
        if ("profiles", reference.profile) in broken:
            continue
        if profile is None:
            known = list(scenario.profiles)
            hint = did_you_mean(reference.profile, known) if known else "; add `profiles:` to the scenario"
            yield Problem(path, f"there is no profile {reference.profile!r}{hint}")
        elif reference.column not in profile.units:
            hint = did_you_mean(reference.column, list(profile.units))
            yield Problem(path, f"profile {reference.profile} has no column {reference.column!r}{hint}")
        else:
            unit_given = profile.units[reference.column]
            wanted = COLUMNS[str(path[-1])[0]]
            if base_unit(unit_given)[0] != wanted[0]:
                yield Problem(path, f"needs a column in {wanted[1]}; {reference.column} is in {unit_given}")


def _meters(scenario: Scenario) -> Iterator[Problem]:
    for name, meter in scenario.meters.items():
        path: Path = ("meters", name)
        if "." in name:
            yield Problem(path, "a meter's name has no dot")
        if name in scenario.units:
            yield Problem(path, f"{name!r} is the name of a unit already")
        if name in RESERVED:
            yield Problem(path, f"{name!r} is the name of an entity of gridloop's own: choose another")
        if meter.of in scenario.meters:
            yield Problem((*path, "of"), f"{meter.of!r} is a meter: name the entity that it measures")
    for name in RESERVED:
        if name in scenario.units:
            yield Problem(("units", name), f"{name!r} is the name of an entity of gridloop's own: choose another")


def _defaults(scenario: Scenario) -> Iterator[Problem]:
    types = {unit.type for unit in scenario.units.values()}
    for kind in scenario.defaults:
        if kind not in types and "" not in types:  # "" stands for a unit that could not be read
            yield Problem(("defaults", kind), "no unit has this type")


def _shedding(scenario: Scenario) -> Iterator[Problem]:
    """Stages that begin too high, or that together shed more than there is: shares are of the load before any."""
    nominal_hz = scenario.grid.f_nom_hz
    everywhere = sum(stage.share_percent for stage in scenario.load_shedding if stage.buses is None)
    totals = {"any bus": everywhere}
    for stage in scenario.load_shedding:
        for bus in stage.buses or ():
            totals[f"bus {bus}"] = totals.get(f"bus {bus}", everywhere) + stage.share_percent
    for place, total in totals.items():
        if total > 100 + 1e-9:
            yield Problem(("load_shedding",), f"all stages for {place} add up to {total:g} percent, more than 100")
            break
    for i, stage in enumerate(scenario.load_shedding):
        if nominal_hz is not None and stage.below_hz >= nominal_hz:
            message = f"must be below the nominal frequency {nominal_hz:g} Hz, got {stage.below_hz:g}"
            yield Problem(("load_shedding", i, "below_hz"), message)
