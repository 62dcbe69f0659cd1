"""Figures of communication: messages, age of information at use, and how far the agents agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridloop.scenarios.plant import read_trace
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.spans import Stretch, Trace

AGE, LOST, OMEGA, CONNECTED = "age[ms]", "lost[1]", "Omega[Hz]", "connected[1]"
COUNTS = {
    "messages_sent": ("sent", "1", "messages sent"),
    "messages_delivered": ("delivered", "1", "messages that arrived"),
    "messages_lost": ("lost", "1", "messages lost"),
    "bytes_sent": ("bytes", "1", "bytes sent"),
}
AGES = {
    "age_mean": "mean age of the information at use, of all links",
    "age_p95": "age that the information at use exceeds 5 % of the time, of the worst link",
    "age_max": "greatest age of the information at use",
}


@dataclass(frozen=True)
class Comms:
    """What was recorded of links and agents.

    Args:
        statistics: of each link over the whole run: sent, delivered, lost, bytes, age_mean, age_p95, age_max.
        age_ms, lost: series of the links that have them.
        omega_hz: frequency correction of each agent, with 1 where its unit is connected.
    """

    statistics: Mapping[str, Mapping[str, float]]
    age_ms: Mapping[str, Trace]
    lost: Mapping[str, Trace]
    omega_hz: Mapping[str, tuple[Trace, Trace]]


def read_comms(result: Result) -> Comms:
    """Links and agents of a run; nothing of what it has not."""
    links = [name for name, entity in result.entities.items() if entity.kind == "link"]
    traces = {attribute: {name: read_trace(result, name, attribute) for name in links} for attribute in (AGE, LOST)}
    agents = {}
    for name, entity in result.entities.items():
        if entity.kind == "unit" and OMEGA in entity.attributes:
            omega, connected = read_trace(result, name, OMEGA), read_trace(result, name, CONNECTED)
            if omega is not None and connected is not None:
                agents[name] = (omega, connected)
    known = {key: {name: trace for name, trace in found.items() if trace is not None} for key, found in traces.items()}
    return Comms(result.record.get("link_statistics") or {}, known[AGE], known[LOST], agents)


def whole_metrics(comms: Comms, stretch: Stretch) -> dict[str, Metric]:
    """Figures of a whole run, from the links' own statistics."""
    found: dict[str, Metric] = {}
    links = list(comms.statistics.values())
    if links:
        for key, (name, unit, text) in COUNTS.items():
            found[key] = Metric(float(sum(link.get(name, 0.0) for link in links)), unit, text)
        of_links = {key: [link[key] for link in links if key in link] for key in AGES}
        found |= _ages(of_links)
    return found | _disagreement(comms, stretch)


def window_metrics(comms: Comms, stretch: Stretch) -> dict[str, Metric]:
    """Figures between two events, from the recorded series: how many were sent is not among them."""
    found: dict[str, Metric] = {}
    if comms.lost:
        lost = sum(trace.change(stretch) for trace in comms.lost.values())
        found["messages_lost"] = Metric(lost, "1", COUNTS["messages_lost"][2])
    ages = [trace.states(stretch).values for trace in comms.age_ms.values()]
    ages = [known for age in ages if len(known := age[np.isfinite(age)])]
    if comms.age_ms:
        found |= _ages(
            {
                "age_mean": [float(age.mean()) for age in ages],
                "age_p95": [float(np.percentile(age, 95)) for age in ages],
                "age_max": [float(age.max()) for age in ages],
            }
        )
    return found | _disagreement(comms, stretch)


def _ages(of_links: Mapping[str, Sequence[float]]) -> dict[str, Metric]:
    """The mean of the means, the worst of the others; undefined where nothing has arrived."""
    value = {key: float(np.mean(ages) if key == "age_mean" else max(ages)) for key, ages in of_links.items() if ages}
    return {key: Metric(value.get(key, float("nan")), "ms", text) for key, text in AGES.items()}


def _disagreement(comms: Comms, stretch: Stretch) -> dict[str, Metric]:
    last = [
        float(omega.states(stretch).values[-1])
        for omega, connected in comms.omega_hz.values()
        if connected.states(stretch).values[-1] == 1
    ]
    if len(comms.omega_hz) < 2:
        return {}
    value = max(last) - min(last) if last else float("nan")
    return {
        "consensus_disagreement": Metric(
            value, "Hz", "largest difference of two agents' frequency correction at the end"
        )
    }
