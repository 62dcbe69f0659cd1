"""What `hil scan` asks the units behind an address, and how it shows what it found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gridloop.scenarios.console import line, out, show_table

if TYPE_CHECKING:
    from gridloop.hil.probe import Latency, SunSpecFound
    from gridloop.hil.urls import DeviceUrl

BAR = 40  # characters of the longest bar


async def scanned(url: "DeviceUrl", asked: Sequence[int], count: int, deadline_s: float) -> list[dict[str, Any]]:
    """The units among `asked` that answer, with what fits them, as plain data; of a SunSpec URL those with models."""
    from gridloop.hil import probe
    from gridloop.hil.registers import load_map

    named, is_sunspec = url.options.get("map"), url.scheme == "sunspec"
    maps = [load_map(named)] if named else [] if is_sunspec else probe.all_maps()
    found = []
    async with probe.connected(url) as link:
        for unit in asked:
            # a SunSpec device may have nothing at register 0, and hang there
            if not (is_sunspec or await probe.is_there(link, unit, deadline_s)):
                continue
            models = None if named else await probe.sunspec(link, unit, url, deadline_s)
            if is_sunspec and models is None:
                continue
            fits = await probe.fits(link, unit, maps, deadline_s)
            best = next((map for map in maps if fits and map.name == fits[0].map and fits[0].plausible), None)
            latency = await probe.latency(link, unit, models.map if models else best, count, deadline_s)
            found.append({
                "unit": unit, "maps": [asdict(fit) for fit in fits], "sunspec": models and _sunspec_json(models),
                "latency": latency_json(latency),
            })  # fmt: skip
    return found


def _sunspec_json(found: "SunSpecFound") -> dict[str, Any]:
    device = found.device
    return {
        "base": device.base, **device.identity, "notes": [*device.notes, *([found.trouble] if found.trouble else [])],
        "models": [
            {"model": id, "name": name, "address": address, "length": length}
            for (id, address, length), name in zip(device.directory, found.names, strict=True)
        ],
        "capabilities": [capability._asdict() for capability in found.capabilities],
    }  # fmt: skip


def latency_json(latency: "Latency") -> dict[str, Any]:
    """Round trips as plain data."""
    from gridloop.hil.io import percentiles_ms

    return {
        "request": latency.request, "requests": len(latency.rtt_s) + latency.lost, "lost": latency.lost,
        "rtt_ms": percentiles_ms(list(latency.rtt_s)),
        "histogram_ms": [[number(edge), count] for edge, count in latency.histogram()],
    }  # fmt: skip


def show_unit(unit: Mapping[str, Any]) -> None:
    """One that was found."""
    latency, models = unit["latency"], unit["sunspec"]
    line(out, f"unit {unit['unit']}", "answers", "green")
    if models:
        _show_sunspec(models)
    maps = [] if models else unit["maps"]  # those of the wrong kind of device fit by chance
    if maps:
        show_table([
            {"map": m["map"], "points": m["points"], "answered": m["answered"], "plausible": m["plausible"],
             "verdict": "fits" if m["plausible"] == m["points"] else "partly" if m["plausible"] else "no"}
            for m in maps
        ])  # fmt: skip
    show_latency(latency, "read")


def show_latency(latency: Mapping[str, Any], verb: str = "") -> None:
    """Percentiles and a histogram of round trips."""
    times = "  ".join(f"{name} {value:.3g} ms" for name, value in latency["rtt_ms"].items())
    what = f"{verb} {latency['request']}".strip()
    line(out, "latency", f"{latency['requests']} x {what}: {times}; {latency['lost']} lost")
    most = max((count for _, count in latency["histogram_ms"]), default=1)
    for edge, count in latency["histogram_ms"]:
        label = "longer" if edge is None else f"<= {edge:g} ms"
        line(out, "", f"{label:>10} {count:>6} {'#' * math.ceil(BAR * count / most)}")


def _show_sunspec(models: Mapping[str, Any]) -> None:
    who = " ".join(filter(None, (models.get(key) for key in ("manufacturer", "model", "version"))))
    line(out, "SunSpec", f"{who}, serial number {models.get('serial_number') or 'not told'}", "green")
    line(out, "models", ", ".join(f"{m['model']} {m['name'] or '(its own)'}" for m in models["models"]))
    show_table([
        {"capability": one["capability"], "by": one["by"] or "-", "finding": one["finding"]}
        for one in models["capabilities"]
    ])  # fmt: skip
    for note in models["notes"]:
        line(out, "note", note, "yellow")


def number(value: float) -> float | None:
    """A number for JSON, which has neither nan nor infinity."""
    return value if math.isfinite(value) else None
