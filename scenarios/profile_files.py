"""The profiles of a scenario, read and checked for the whole run."""

from pathlib import Path as FilePath

from gridloop.scenarios.problems import Path, Problem
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.profile_table import Profile, ProfileError, Source, read_profile
from gridloop.simulators.weather import typical_year


def sources(scenario: Scenario) -> dict[str, Source]:
    """Where each profile that has a file comes from; files stand beside the scenario file that names them."""
    return {
        name: Source(_file(scenario, name), profile.columns, profile.time, profile.time_zone)
        for name, profile in scenario.profiles.items() if profile.columns is not None
    }  # fmt: skip


def read_profiles(scenario: Scenario) -> dict[str, Profile]:
    """The rows of every profile that the run needs.

    Raises:
        ScenarioError: with everything that is wrong in all of them.
    """
    read, problems = dict[str, Profile](), list[Problem]()
    if scenario.profiles and scenario.clock is None:  # the schema asks for it where there are profiles
        raise ValueError("profiles need a clock")
    for name, profile in scenario.profiles.items():
        if profile.typical_year is not None and scenario.clock is not None:
            read[name] = typical_year(profile.typical_year, scenario.clock, scenario.until_s)
    for name, source in sources(scenario).items():
        assert scenario.clock is not None
        try:
            read[name] = read_profile(source, scenario.clock, scenario.until_s)
        except ProfileError as error:
            problems += [Problem(_path(scenario, name, message), message) for message in error.problems]
    if problems:
        raise scenario.error(*problems)
    return read


def _file(scenario: Scenario, name: str) -> FilePath:
    return scenario.folder_of("profiles", name, "file") / str(scenario.profiles[name].file)


def _path(scenario: Scenario, name: str, message: str) -> Path:
    """The key that a message about a profile is about: the column that it names, or the file."""
    profile = scenario.profiles[name]
    if profile.time is not None and f"has no column {profile.time!r}" in message:
        return ("profiles", name, "time")
    for key, column in (profile.columns or {}).items():
        if f"column {column!r}" in message or f"columns {column!r}" in message:
            return ("profiles", name, "columns", key)
    return ("profiles", name, "file")
