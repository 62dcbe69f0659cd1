"""The commands `hil`: find, read, write and stop a device, emulate one, and prove the chain without a lab."""

import json
import logging
import math
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from gridloop.scenarios.console import EXIT, AsJson, Debug, err, line, out, show_table, user_errors

if TYPE_CHECKING:
    from gridloop.hil.emulator import Emulator
    from gridloop.hil.probe import Latency, Set
    from gridloop.hil.registers import RegisterMap
    from gridloop.hil.urls import DeviceUrl

T = TypeVar("T")
BAR = 40  # characters of the longest bar
FOLLOW_S = 0.2  # between two looks at what was written to an emulated device

hil = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, name="hil",
    help="Devices: scan, read, write, stop, emulate, selftest.",
)  # fmt: skip

Url = Annotated[
    str,
    typer.Argument(metavar="URL", help="modbus+tcp://HOST:502/UNIT?map=NAME or modbus+rtu:///dev/ttyUSB0/1?map=NAME"),
]
Deadline = Annotated[float, typer.Option("--deadline-ms", metavar="MS", help="For one answer.")]


@hil.command()
def scan(
    where: Annotated[str, typer.Argument(metavar="URL|HOST", help="A device URL, or a host (Modbus TCP, port 502).")],
    units: Annotated[str, typer.Option("--units", metavar="LIST", help="Units to ask: 1-10,247.")] = "",
    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="Requests for the latency.")] = 100,
    deadline_ms: Deadline = 300.0, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Find the units behind an address, which register map fits them, and how fast they answer. Nothing is written."""
    with user_errors(debug):
        from gridloop.scenarios.device_words import in_words, modbus_url, names_unit, units_of

        url = modbus_url(where if ":/" in where else f"modbus+tcp://{where}")
        asked = units_of(units) if units else [url.unit] if "://" in where and names_unit(where) else list(range(1, 11))
        found = _run(_scan(url, asked, count, deadline_ms * 1e-3))
        if as_json:
            print(json.dumps({"url": where, "asked": asked, "units": found}))
        elif found:
            for unit in found:
                _show_unit(unit)
        else:
            line(out, "nobody", f"of units {in_words(asked)} answers at {url.bus} within {deadline_ms:g} ms", "red")
        raise typer.Exit(0 if found else EXIT["failed"])


@hil.command()
def read(
    url: Url, names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Points of the map.")] = None,
    deadline_ms: Deadline = 300.0, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Read a device's points once, those that are written to as well. Nothing is written."""
    with user_errors(debug):
        from gridloop.hil import probe
        from gridloop.scenarios.device_words import device_of, point_of

        at, map = device_of(url)
        points = [point_of(map, name) for name in names or []] or list(map.points)

        async def read_all() -> list[probe.Found]:
            async with probe.connected(at, map) as link:
                return await probe.read_points(link, at.unit, points, map, deadline_ms * 1e-3)

        found = _run(read_all())
        rows = [
            {"name": one.point.name, "quantity": one.point.attr, "value": one.point.text(one.value),
             "register": f"{one.point.function} {one.point.address}", "note": one.trouble}
            for one in found
        ]  # fmt: skip
        if as_json:
            print(json.dumps([
                {**row, "value": _number(one.value)} for row, one in zip(rows, found, strict=True)
            ]))  # fmt: skip
        else:
            _show(rows)
        raise typer.Exit(EXIT["failed"] if any(one.trouble for one in found) else 0)


@hil.command()
def write(
    url: Url, values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="In the unit of `hil read`.")],
    allow_writes: Annotated[bool, typer.Option("--allow-writes", help="Really write.")] = False,
    deadline_ms: Deadline = 300.0, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Write set-points and read them back; without --allow-writes only say what would be written."""
    with user_errors(debug):
        from gridloop.hil import probe
        from gridloop.scenarios.device_words import device_of, values_of

        at, map = device_of(url)
        sets = probe.settings(map, values_of(map, values))
        _put(at, map, sets, deadline_ms * 1e-3, dry=not allow_writes, as_json=as_json)


@hil.command()
def stop(url: Url, deadline_ms: Deadline = 300.0, as_json: AsJson = False, debug: Debug = False) -> None:
    """Write a device's safe values now, and read them back."""
    with user_errors(debug):
        from gridloop.hil import probe
        from gridloop.scenarios.device_words import device_of

        at, map = device_of(url)
        _put(at, map, probe.safe_sets(map), deadline_ms * 1e-3, dry=False, as_json=as_json)


@hil.command()
def emulate(  # noqa: PLR0913 - the options of a command
    what: Annotated[str, typer.Argument(metavar="UNIT|MAP", help="A register map, or a unit of --scenario.")],
    url: Annotated[str, typer.Option("--as", metavar="URL", help="Where it listens; port 0 takes a free one.")]
    = "modbus+tcp://127.0.0.1:5020/1",
    scenario: Annotated[str, typer.Option("--scenario", metavar="NAME", help="Whose unit it is.")] = "",
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="KIND[:KEY=VALUE,...]", help="nan, silent, late:delay_s=0.3 ..."),
    ] = None,
    for_s: Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="End by itself.")] = None,
    anywhere: Annotated[
        bool, typer.Option("--any-address", help="Also listen where other machines reach it. They can write.")
    ] = False,
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Serve a device that is none, with faults on demand, until Ctrl-C."""
    with user_errors(debug):
        from gridloop.hil.emulator import Emulator
        from gridloop.hil.faults import Fault
        from gridloop.scenarios.emulated_unit import map_and_law

        map, law, told = map_and_law(what, url, scenario)
        with Emulator(url, map, law, [Fault.from_text(text) for text in faults or []], anywhere=anywhere) as emulator:
            at = emulator.url
            where = f"modbus+{at.transport}://{at.bus.partition('://')[2]}/{at.unit}?map={_map_word(url, map, what)}"
            if as_json:
                print(json.dumps({"url": where, "map": map.name, "role": map.role}), flush=True)
            else:
                line(out, "emulating", told)
                line(out, "serves", where, "green")
                line(out, "try", f"gridloop hil read '{where}'")
            _follow(emulator, for_s, quiet=as_json)


@hil.command()
def selftest(as_json: AsJson = False, debug: Debug = False) -> None:
    """Prove the chain on this machine: emulate a device, read, steer, lose and find it again. Takes some seconds."""
    with user_errors(debug):
        from gridloop.hil.selftest import run_checks

        rows = []
        with _only_errors_of("gridloop.hil"):  # links are lost on purpose
            for check in run_checks():
                verdict = "pass" if check.passed else "FAIL"
                rows.append({"check": check.check, "verdict": verdict, "finding": check.finding})
                if not as_json:
                    line(out, verdict, f"{check.check}: {check.finding}", "green" if check.passed else "red")
        if as_json:
            print(json.dumps(rows))
        raise typer.Exit(0 if all(row["verdict"] == "pass" for row in rows) else EXIT["failed"])


# ---- scanning
async def _scan(url: "DeviceUrl", asked: Sequence[int], count: int, deadline_s: float) -> list[dict[str, Any]]:
    from gridloop.hil import probe
    from gridloop.hil.registers import load_map

    maps = [load_map(url.options["map"])] if "map" in url.options else probe.all_maps()
    found = []
    async with probe.connected(url) as link:
        for unit in asked:
            if not await probe.is_there(link, unit, deadline_s):
                continue
            fits = await probe.fits(link, unit, maps, deadline_s)
            best = next((map for map in maps if fits and map.name == fits[0].map and fits[0].plausible), None)
            latency = await probe.latency(link, unit, best, count, deadline_s)
            found.append({"unit": unit, "maps": [asdict(fit) for fit in fits], "latency": _latency_json(latency)})
    return found


def _latency_json(latency: "Latency") -> dict[str, Any]:
    from gridloop.hil.io import percentiles_ms

    return {
        "request": latency.request, "requests": len(latency.rtt_s) + latency.lost, "lost": latency.lost,
        "rtt_ms": percentiles_ms(list(latency.rtt_s)),
        "histogram_ms": [[_number(edge), count] for edge, count in latency.histogram()],
    }  # fmt: skip


def _show_unit(unit: Mapping[str, Any]) -> None:
    latency = unit["latency"]
    line(out, f"unit {unit['unit']}", "answers", "green")
    show_table([
        {"map": m["map"], "points": m["points"], "answered": m["answered"], "plausible": m["plausible"],
         "verdict": "fits" if m["plausible"] == m["points"] else "partly" if m["plausible"] else "no"}
        for m in unit["maps"]
    ])  # fmt: skip
    times = "  ".join(f"{name} {value:.3g} ms" for name, value in latency["rtt_ms"].items())
    line(out, "latency", f"{latency['requests']} x read {latency['request']}: {times}; {latency['lost']} lost")
    most = max((count for _, count in latency["histogram_ms"]), default=1)
    for edge, count in latency["histogram_ms"]:
        label = "longer" if edge is None else f"<= {edge:g} ms"
        line(out, "", f"{label:>10} {count:>6} {'#' * math.ceil(BAR * count / most)}")


# ---- writing
def _put(
    url: "DeviceUrl", map: "RegisterMap", sets: "Sequence[Set]", deadline_s: float, *, dry: bool, as_json: bool
) -> None:  # fmt: skip
    """Write or say what would be written; ends with the exit code."""
    from gridloop.hil import probe
    from gridloop.hil.points import unit_of

    async def put() -> "list[Set]":
        async with probe.connected(url, map) as link:
            return await probe.write_points(link, url.unit, sets, map, deadline_s)

    done = list(sets) if dry else _run(put())
    verdicts = ["not written" if dry else "written" if probe.holds(one) else "FAILED" for one in done]
    if as_json:
        print(json.dumps([
            {"name": one.point.name, "quantity": one.point.attr, "wanted": one.wanted, "value": one.value,
             "cut": one.is_cut, "registers": list(one.registers), "written": one.done,
             "read_back": _number(one.read_back), "verdict": verdict, "note": one.trouble}
            for one, verdict in zip(done, verdicts, strict=True)
        ]))  # fmt: skip
    else:
        _show([
            {"name": one.point.name, "unit": unit_of(one.point.attr), "wanted": f"{one.wanted:.9g}",
             "value": f"{one.value:.9g}" + " (cut)" * one.is_cut, "at": f"{one.point.function} {one.point.address}",
             "registers": " ".join(f"{word:04X}" for word in one.registers),
             "read": "" if math.isnan(one.read_back) else f"{one.read_back:.9g}",
             "verdict": verdict, "note": one.trouble}
            for one, verdict in zip(done, verdicts, strict=True)
        ])  # fmt: skip
        if dry:
            line(out, "dry run", "nothing was written; --allow-writes writes", "yellow")
    raise typer.Exit(EXIT["failed"] if "FAILED" in verdicts else 0)


# ---- emulating
def _follow(emulator: "Emulator", for_s: float | None, quiet: bool) -> None:
    """Show what is written to the device, until the time is over or Ctrl-C."""
    from gridloop.hil.bank import HEARTBEAT

    shown: dict[str, float] = {}
    end_s = math.inf if for_s is None else time.monotonic() + for_s
    try:
        while time.monotonic() < end_s:
            written = {attr: value for attr, value in emulator.written.items() if attr != HEARTBEAT}
            if written != shown and not quiet:
                line(out, "set", "  ".join(f"{attr} = {value:.6g}" for attr, value in written.items()))
            shown = written
            time.sleep(min(FOLLOW_S, max(end_s - time.monotonic(), 0.0)))
    except KeyboardInterrupt:
        pass
    if not quiet:
        line(out, "ended", f"{emulator.requests} requests were answered")


def _map_word(url: str, map: "RegisterMap", what: str) -> str:
    """How a client names the map: as this device's URL does, else as it was given here."""
    from gridloop.hil.registers import shipped_maps

    given = url.partition("map=")[2].partition("&")[0]
    return given or (map.name if map.name in shipped_maps() else what)


def _show(rows: Sequence[Mapping[str, str]]) -> None:
    """A table of texts, in which brackets are brackets, without the columns that are empty."""
    full = [key for key in rows[0] if any(row[key] for row in rows)]
    show_table([{key: escape(row[key]) for key in full} for row in rows])


@contextmanager
def _only_errors_of(name: str) -> Iterator[None]:
    """Keep a part of the program quiet below errors for as long as this lasts."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run(what: Coroutine[Any, Any, T]) -> T:
    """Ask a device; a link that fails is said in one line."""
    import asyncio

    from gridloop.hil.links import LinkError

    try:
        with _only_errors_of("gridloop.hil.links"):  # the error itself says it
            return asyncio.run(what)
    except LinkError as error:
        err.print(f"error: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT["failed"]) from error


def _number(value: float) -> float | None:
    """A number for JSON, which has neither nan nor infinity."""
    return value if math.isfinite(value) else None
