"""Sections of a report about secondary control and its communication."""

from collections.abc import Mapping
from html import escape
from typing import Any

from gridloop.scenarios.display import number

MOST_LINKS = 30  # in a table
LAWS = {
    "F": "consensus of the frequency corrections, with nominal frequency at the leader",
    "D": "every unit restores the frequency it sees, in consensus with its neighbours (DAPI)",
    "C": "a central controller, which broadcasts the correction",
    "V": "consensus of the reactive power shares, with the reference voltage at the leader",
    "Vprime": "consensus of the reactive power shares, every unit drawn to the reference voltage (DAPI)",
    "paper23": "consensus of the voltage corrections as printed in the paper: it does not share reactive power",
    "none": "none",
}
HANDLING = {
    "matched": "an agent compares what a neighbour sent with its own value of that time: averages stay exact, and "
    "there is a greatest delay",
    "neighbour_only": "an agent compares what a neighbour sent with its own value of now: the consensus of frequency "
    "bears any delay, but slows down",
}


def control_section(record: Mapping[str, Any]) -> str:
    """Laws, delay handling and members; nothing without secondary control."""
    control = record.get("control")
    if not control:
        return ""
    leader = control.get("leader")
    members = [f"{name} (leader)" if name == leader else name for name in control.get("members", ())]
    exchange = {"links": "over links with delay"}.get(str(control.get("exchange")), str(control.get("exchange", "")))
    facts = {
        "frequency": law_words(control.get("frequency")),
        "voltage": law_words(control.get("voltage")),
        "delay handling": f"{control.get('delay_handling')}: {HANDLING.get(str(control.get('delay_handling')), '')}",
        "members": ", ".join(members),
        "central controllers": ", ".join(control.get("central") or ()),
        "pilot bus": str(control.get("pilot_bus") or ""),
        "period": f"{number(control['period_ms'])} ms" if control.get("period_ms") else "",
        "exchange": exchange,
        "graph": graph_words(control.get("graph")),
    }
    rows = "".join(f"<tr><th>{key}</th><td>{escape(text)}</td></tr>" for key, text in facts.items() if text)
    return f"<section><h2>Secondary control</h2><table class='facts-table'><tbody>{rows}</tbody></table></section>"


def law_words(law: Any) -> str:
    """A law's name and what it does; a law of the user's own goes by its module."""
    name = str(law or "none")
    return "none" if name == "none" else f"law {name}: {LAWS.get(name, 'a law of your own')}"


def graph_words(graph: Any) -> str:
    """A named graph, or the pairs that talk."""
    if graph is None or isinstance(graph, str):
        return graph or ""
    return ", ".join("-".join(map(str, pair)) for pair in graph)


def link_section(record: Mapping[str, Any]) -> str:
    """Messages and age of information of every link; nothing without links."""
    statistics = record.get("link_statistics")
    if not statistics:
        return ""
    rows, lost_most = [], sorted(statistics, key=lambda name: -statistics[name].get("lost", 0))
    for name in list(statistics) if len(statistics) <= MOST_LINKS else lost_most[:MOST_LINKS]:
        link = statistics[name]
        sent = link.get("sent", 0)
        lost = f"{number(link.get('lost', 0))} ({number(100 * link.get('lost', 0) / sent)} %)" if sent else "0"
        counts = [number(sent), number(link.get("delivered", 0)), lost, number(link.get("bytes", 0) / 1e3)]
        ages = [number(float(link[key])) if key in link else "&ndash;" for key in ("age_mean", "age_p95", "age_max")]
        cells = "".join(f'<td class="n">{cell}</td>' for cell in (*counts, *ages))
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    heads = ("sent", "delivered", "lost", "sent<br>kB", "mean age<br>ms", "95 %<br>ms", "greatest<br>ms")
    columns = "".join(f'<th class="n">{head}</th>' for head in heads)
    head = f"<tr><th>link</th>{columns}</tr>"
    note = "Age of the newest information at hand, whenever the receiver used it."
    if len(statistics) > MOST_LINKS:
        note += f" Of {len(statistics)} links these lost the most messages; run.json has all."
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    return f"<section><h2>Communication</h2>{table}<p class='soft'>{note}</p></section>"
