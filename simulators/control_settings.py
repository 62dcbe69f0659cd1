"""Settings of secondary control from the plain values of a scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from gridloop.simulators.models.agents import Control
from gridloop.simulators.models.balancing import Balancing
from gridloop.simulators.models.exchange import HANDLINGS
from gridloop.simulators.models.secondary import FREQUENCY_LAWS, TWO_PI, VOLTAGE_LAWS, Gains, Law

# key of a scenario -> the gain, and the factor to its unit
FREQUENCY_KEYS = {
    "c2_per_s": ("c2_per_s", 1.0), "c0_per_s": ("c0_per_s", 1.0), "k_i_per_s": ("k_i_per_s", 1.0),
    "limit_hz": ("omega_limit_rad_per_s", TWO_PI),
}  # fmt: skip
VOLTAGE_KEYS = {
    "c3_per_s": ("c3_per_s", 1.0), "c0_per_s": ("c0v_per_s", 1.0), "k_v_per_s": ("k_v_per_s", 1.0),
    "beta_per_s": ("beta_per_s", 1.0), "v_ref_pu": ("v_ref_pu", 1.0), "limit_pu": ("v_limit_pu", 1.0),
}  # fmt: skip
KICK = ("omega_rad_per_s", "v_pu")
EVENTS: dict[str, tuple[str, ...]] = {"agent_fail": (), "agent_recover": (), "agent_kick": KICK}


def law_named(name: str, known: Mapping[str, Law]) -> Law:
    """A law by its name, or a user's own by `module:FUNCTION`.

    Raises:
        ValueError: there is none of that name.
    """
    if name in known:
        return known[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"law = {name!r}: there are {', '.join(known)}, and MODULE:FUNCTION for one of your own")
    try:
        law: Law = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"law = {name!r}: {error}") from error
    return law


def refuse_event(event: Mapping[str, Any]) -> None:
    """Raise ValueError for an event that agents do not know, or that has not what it needs."""
    kind = event.get("do")
    if kind not in EVENTS:
        raise ValueError(f"Secondary: unknown event {kind!r}; there are {', '.join(EVENTS)}")
    missing = {"t_s", "agent"} - event.keys()
    strange = event.keys() - {"t_s", "do", "agent", *EVENTS[kind]}
    if missing or strange:
        words = f"needs {', '.join(sorted(missing))}" if missing else f"has no {', '.join(sorted(strange))}"
        raise ValueError(f"Secondary: the event {dict(event)} {words}")


def _gains(what: str, given: Mapping[str, Any], keys: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    unknown = sorted(set(given) - set(keys) - {"law"})
    if unknown:
        raise ValueError(f"Secondary: {what} has no {', '.join(unknown)}; there are law, {', '.join(keys)}")
    return {keys[key][0]: float(value) * keys[key][1] for key, value in given.items() if key != "law"}


def refuse_other(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise ValueError for a word that is not one of `known`."""
    if value not in known:
        raise ValueError(f"Secondary: {name} = {value!r}: there are {', '.join(known)}")


def settings(given: dict[str, Any], period_us: int) -> Control:
    """Take what the agents have in common off `given`; `SecondarySimulator.init` says what there is.

    Raises:
        ValueError: a key or a law that is not known, a value out of its range.
    """
    frequency, voltage = dict(given.pop("frequency", {})), dict(given.pop("voltage", {}))
    gains = _gains("frequency", frequency, FREQUENCY_KEYS) | _gains("voltage", voltage, VOLTAGE_KEYS)
    laws = frequency.get("law", "F"), voltage.get("law", "V")
    central = given.pop("central", ["mgcc"] if "C" in laws else [])
    balancing, max_age_ms = given.pop("balancing", None), given.pop("max_age_ms", None)
    on_fail, handling = given.pop("on_fail", "hold"), given.pop("delay_handling", "matched")
    refuse_other("on_fail", on_fail, ("hold", "drop"))
    refuse_other("delay_handling", handling, HANDLINGS)
    try:
        balance = Balancing(**balancing) if balancing is not None else None
    except TypeError as error:
        names = ", ".join(field.name for field in fields(Balancing))
        raise ValueError(f"Secondary: balancing takes {names}, gain is obligatory") from error
    return Control(
        period_us, given.pop("f_nom_hz", 50.0),
        law_named(laws[0], FREQUENCY_LAWS), law_named(laws[1], VOLTAGE_LAWS),
        Gains(**gains, more=dict(given.pop("more", {}))), laws[0] == "C", laws[1] == "C",
        {name: rank for rank, name in enumerate(central)}, handling,
        None if max_age_ms is None else round(1e3 * max_age_ms), round(1e3 * given.pop("takeover_ms", 500.0)),
        balance, on_fail,
    )  # fmt: skip
