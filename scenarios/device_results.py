"""What a result says of its devices in words, for a terminal and for a report."""

from collections.abc import Iterator

from gridloop.scenarios.display import number
from gridloop.scenarios.result import Result


def device_lines(result: Result) -> Iterator[tuple[str, str]]:
    """One line a device: (label, text)."""
    for unit in result.devices:
        parts = [words for words in (requests(result, unit), timing(result, unit), fallback(result, unit)) if words]
        if parts:
            yield "device", f"{unit}: {', '.join(parts)}"


def metric(result: Result, key: str, unit: str) -> float:
    """A metric of a device; nan if it has none."""
    found = result.metrics.get(f"{key}.{unit}")
    return float("nan") if found is None else found.value


def requests(result: Result, unit: str) -> str:
    """How many requests were answered, and why others were not; '' without a wire."""
    counts = result.devices[unit]
    if "requests" not in counts:
        return ""
    refused = {f"exception {code}": count for code, count in counts.get("exceptions", {}).items()}
    lost = ", ".join(f"{count} {cause}" for cause, count in (counts["lost"] | refused).items() if count)
    return f"{counts['answers']} of {counts['requests']} requests answered{f' ({lost})' if lost else ''}"


def timing(result: Result, unit: str) -> str:
    """Round trips and age of the values."""
    p50, p99, age = (metric(result, key, unit) for key in ("rtt_p50", "rtt_p99", "device_age_p95"))
    words = [] if p50 != p50 else [f"round trip {number(p50)} ms (99 % below {number(p99)} ms)"]
    return ", ".join(words + ([] if not age > 0 else [f"95 % of the values younger than {number(age)} ms"]))


def fallback(result: Result, unit: str) -> str:
    """How long it was lost."""
    lost_s = metric(result, "device_fallback_time", unit)
    return f"lost for {number(lost_s)} s" if lost_s > 0 else ""
