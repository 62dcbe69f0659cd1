"""The commands `hil`: find, read, write and stop a device, emulate one, and prove the chain without a lab."""

import json
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gridloop.scenarios.console import EXIT, AsJson, Debug, err, line, out, show_table, user_errors
from gridloop.scenarios.scanning import number, scanned, show_unit

if TYPE_CHECKING:
    from gridloop.hil.agent_emulator import AgentEmulator
    from gridloop.hil.emulator import Emulator
    from gridloop.hil.points import Point
    from gridloop.hil.probe import Set
    from gridloop.hil.registers import RegisterMap
    from gridloop.hil.urls import DeviceUrl

T = TypeVar("T")
FOLLOW_S = 0.2  # between two looks at what was written to an emulated device

hil = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, name="hil",
    help="Devices: scan, read, write, stop, emulate, selftest.",
)  # fmt: skip

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="modbus+tcp://HOST:502/UNIT?map=NAME, sunspec+tcp://HOST:502/UNIT, +rtu:///dev/ttyUSB0/1...",
    ),
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

        if where.startswith("serial"):
            from gridloop.scenarios.cli_hil_agents import scan_agent

            with _only_errors_of("gridloop.hil"):
                answers = scan_agent(where, count, deadline_ms * 1e-3, as_json)
            raise typer.Exit(EXIT["done" if answers else "failed"])
        url = modbus_url(where if ":/" in where else f"modbus+tcp://{where}")
        asked = units_of(units) if units else [url.unit] if "://" in where and names_unit(where) else list(range(1, 11))
        found = _run(scanned(url, asked, count, deadline_ms * 1e-3))
        if as_json:
            print(json.dumps({"url": where, "asked": asked, "units": found}))
        elif found:
            for unit in found:
                show_unit(unit)
        else:
            does = "shows SunSpec models" if url.scheme == "sunspec" else "answers"
            line(out, "nobody", f"of units {in_words(asked)} {does} at {url.bus} within {deadline_ms:g} ms", "red")
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

        at, known = device_of(url)

        def asked(map: "RegisterMap") -> "Sequence[Point]":
            return [point_of(map, name) for name in names or []] or map.points

        if known is not None:
            asked(known)  # what is wrong with the names is wrong before anybody is asked

        async def read_all() -> list[probe.Found]:
            async with probe.connected_device(at, known, deadline_ms * 1e-3) as (link, map):
                return await probe.read_points(link, at.unit, asked(map), map, deadline_ms * 1e-3)

        found = _run(read_all())
        rows = [
            {"name": one.point.name, "quantity": one.point.attr, "value": one.point.text(one.value),
             "register": f"{one.point.function} {one.point.address}", "note": one.trouble}
            for one in found
        ]  # fmt: skip
        if as_json:
            print(json.dumps([
                {**row, "value": number(one.value)} for row, one in zip(rows, found, strict=True)
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

        at, known = device_of(url)

        def sets(map: "RegisterMap") -> "list[Set]":
            wanted = values_of(map, values)
            return probe.settings(map, wanted if known else probe.with_enables(map, wanted))

        _put((at, known), sets, deadline_ms * 1e-3, dry=not allow_writes, as_json=as_json)


@hil.command()
def stop(
    url: Annotated[str, typer.Argument(metavar="URL|SCENARIO", help="A device URL, or a scenario: all its devices.")],
    deadline_ms: Deadline = 300.0, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Write the safe values of a device, or of all devices of a scenario, now, and read them back."""
    with user_errors(debug):
        from gridloop.hil import probe
        from gridloop.scenarios.device_words import device_of, devices_in

        if "://" in url:
            _put(device_of(url), probe.safe_sets, deadline_ms * 1e-3, dry=False, as_json=as_json)
        worst = 0
        for unit, device, safe in devices_in(url):
            line(err if as_json else out, "device", unit)
            try:
                _put(device, partial(probe.safe_sets, safe=safe), deadline_ms * 1e-3, dry=False, as_json=as_json)
            except typer.Exit as end:  # the others are stopped all the same
                worst = max(worst, end.exit_code)
        raise typer.Exit(worst)


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
        from gridloop.scenarios.emulated_unit import served

        broken = [Fault.from_text(text) for text in faults or []]
        if url.startswith("serial"):
            from gridloop.scenarios.agent_served import served_agent
            from gridloop.scenarios.cli_hil_agents import serve

            made, told = served_agent(what, url, scenario, broken, anywhere=anywhere)
            serve(made, told, partial(follow, for_s=for_s, quiet=as_json), as_json)
            return
        map, law, told, words = served(what, url, scenario)
        with Emulator(url, map, law, broken, words=words, anywhere=anywhere) as emulator:
            where = _for_clients(emulator.url, map, what)
            if as_json:
                print(json.dumps({"url": where, "map": map.name, "role": map.role}), flush=True)
            else:
                line(out, "emulating", told)
                line(out, "serves", where, "green")
                line(out, "try", f"gridloop hil read '{where}'")
            follow(emulator, for_s, quiet=as_json)


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


# ---- writing
def _put(
    device: "tuple[DeviceUrl, RegisterMap | None]", sets: "Callable[[RegisterMap], list[Set]]", deadline_s: float, *,
    dry: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write or say what would be written; ends with the exit code."""
    from gridloop.hil import probe
    from gridloop.hil.points import unit_of

    url, known = device
    to_known = None if known is None else sets(known)  # what is wrong with them is wrong before anybody is asked

    async def put() -> "list[Set]":
        async with probe.connected_device(url, known, deadline_s) as (link, map):
            wanted = to_known or sets(map)
            return wanted if dry else await probe.write_points(link, url.unit, wanted, map, deadline_s)

    done = to_known if dry and to_known is not None else _run(put())
    verdicts = ["not written" if dry else "written" if probe.holds(one) else "FAILED" for one in done]
    if as_json:
        print(json.dumps([
            {"name": one.point.name, "quantity": one.point.attr, "wanted": one.wanted, "value": one.value,
             "cut": one.is_cut, "registers": list(one.registers), "written": one.done,
             "read_back": number(one.read_back), "verdict": verdict, "note": one.trouble}
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
def follow(emulator: "Emulator | AgentEmulator", for_s: float | None, quiet: bool) -> None:
    """Show what is written to the device, until the time is over or Ctrl-C."""
    from gridloop.hil.bank import HEARTBEAT

    shown: dict[str, float] = {}
    end_s = math.inf if for_s is None else time.monotonic() + for_s
    try:
        while time.monotonic() < end_s:
            written = {attr: value for attr, value in emulator.written.items() if attr != HEARTBEAT}
            changed = {attr: value for attr, value in written.items() if shown.get(attr, 0.0) != value}
            if changed and not quiet:
                line(out, "set", "  ".join(f"{attr} = {value:.6g}" for attr, value in changed.items()))
            shown = written
            time.sleep(min(FOLLOW_S, max(end_s - time.monotonic(), 0.0)))
    except KeyboardInterrupt:
        pass
    if not quiet:
        line(out, "ended", f"{emulator.requests} requests were answered")


def _for_clients(at: "DeviceUrl", map: "RegisterMap", what: str) -> str:
    """The URL by which the emulated device is found; certificates of its own are the client's matter."""
    from urllib.parse import quote

    from gridloop.hil.registers import shipped_maps

    named = at.options.get("map") or (map.name if map.name in shipped_maps() else what)
    own = {} if at.scheme == "sunspec" else {"map": named}
    own |= {key: at.options[key] for key in ("base", "baud", "parity", "ca") if key in at.options}
    options = "&".join(f"{key}={quote(value, safe='/')}" for key, value in own.items())
    place = at.path if at.path else at.bus.partition("://")[2]
    return f"{at.kind}://{place}/{at.unit}" + f"?{options}" * bool(options)


def _show(rows: Sequence[Mapping[str, str]]) -> None:
    """A table of texts, without the columns that are empty."""
    full = [key for key in rows[0] if any(row[key] for row in rows)]
    show_table([{key: row[key] for key in full} for row in rows])


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
