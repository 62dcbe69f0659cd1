"""Values of links that do not go together, at the start or after an event; the channel's own checks say so."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gridloop.scenarios.comms_parts import LinkKeys, changed
from gridloop.scenarios.communication import (
    ALL,
    device_links,
    is_of_links,
    key_of,
    link_names,
    link_targets,
    settings_of,
)
from gridloop.scenarios.event_parts import SetEvent
from gridloop.scenarios.problems import Path as Keys
from gridloop.scenarios.problems import Problem, did_you_mean
from gridloop.scenarios.schema import Scenario


class _TraceError(ValueError):
    """A file of measured delays that cannot be used."""


def settings_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with the settings of all links, or if nothing is, with those of single ones."""
    comms, parts = scenario.comms, dict[Keys, tuple[str, LinkKeys]]()
    if comms is not None:
        parts[("comms",)] = ALL, comms
        parts |= {("comms", "links", name): (name, link) for name, link in comms.links.items()}
        parts |= {("comms", "signals", name): (name, link) for name, link in comms.signals.items()}
    for name, (unit, keys) in device_links(scenario).items():
        parts.setdefault(("units", unit, "device", "comms"), (name, keys))
    for path, (name, part) in parts.items():
        try:
            _refuse(settings_of(scenario, name))
        except _TraceError as error:
            yield Problem((*path, "jitter", "trace") if part.jitter is not None else path, str(error))
        except ValueError as error:
            about = str(error).partition(" ")[0].strip(":")
            told = str(error).removeprefix(f"{about}: ") if about in part.given else str(error)
            yield Problem((*path, about) if about in part.given else path, told)
        else:
            continue
        if name == ALL:
            return


def change_problems(scenario: Scenario) -> Iterator[Problem]:
    """Events that give a link values which do not go with the others that it has by then."""
    now = {name: settings_of(scenario, name) for name in link_names(scenario)}
    for i in sorted(range(len(scenario.events)), key=lambda k: scenario.events[k].t_s):
        event = scenario.events[i]
        if not isinstance(event, SetEvent) or not is_of_links(event):
            continue
        try:
            targets = link_targets(scenario, event)
        except ValueError:  # reported with the events
            continue
        after = {name: changed(now[name], key_of(event), event.value) for name in now if {name, ALL} & {*targets}}
        wrong = next(filter(None, (_problem(i, name, after[name], key_of(event)) for name in after)), None)
        if wrong is None:
            now |= after
        else:
            yield wrong


def _problem(event: int, name: str, settings: Mapping[str, Any], key: str) -> Problem | None:
    """What is wrong with one link after an event."""
    head, _, part = key.partition(".")
    if part and len(settings[head]) == 1:
        return Problem(("events", event, "path"), f"link {name} has no {head} that could change: give it one")
    try:
        _refuse(settings)
    except ValueError as error:
        return Problem(("events", event, "value"), f"link {name}: {error}")
    return None


def _refuse(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for settings that no link can have."""
    from gridloop.simulators.comms import OF_LINK, link_params

    plain = {key: value for key, value in settings.items() if key not in OF_LINK}
    if isinstance(plain.get("jitter", {}).get("trace"), str):
        plain["jitter"] = {**plain["jitter"], "trace": _read_trace(plain["jitter"]["trace"])}
    link_params(plain)


def _read_trace(file: str) -> list[float]:
    import numpy as np

    try:
        return list(np.loadtxt(file, ndmin=1).tolist())
    except FileNotFoundError:
        folder = Path(file).parent
        near = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        hint = did_you_mean(Path(file).name, near)
        raise _TraceError(f"there is no file {file}{hint if 'did you mean' in hint else ''}") from None
    except (ValueError, OSError) as error:
        raise _TraceError(f"{file} must hold one number a line, milliseconds: {error}") from error
