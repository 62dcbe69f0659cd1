"""What `hil scan` and `hil emulate` do with serial agents."""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gridloop.scenarios.console import line, out
from gridloop.scenarios.scanning import latency_json, show_latency

if TYPE_CHECKING:
    from gridloop.hil.agent_emulator import AgentEmulator
    from gridloop.hil.urls import DeviceUrl


def serve(made: "AgentEmulator", told: str, follow: Callable[[Any], None], as_json: bool) -> None:
    """Serve a unit or its agent until the time is over."""
    with made as emulator:
        where = in_words(emulator.url)
        if as_json:
            print(json.dumps({"url": where}), flush=True)
        else:
            line(out, "emulating", told)
            line(out, "serves", where, "green")
            if emulator.url.host:
                line(out, "try", f"gridloop hil scan '{where}'")
        follow(emulator)


def in_words(url: "DeviceUrl") -> str:
    """The URL of an agent."""
    place = f"{url.host}:{url.port}" if url.host else url.path
    return f"{url.kind}://{place}?codec={url.options.get('codec', 'cobs')}"


def scan_agent(where: str, count: int, deadline_s: float, as_json: bool) -> bool:
    """Say who answers, how fast, and what its clock is apart; whether anybody does. The agent begins anew."""
    from gridloop.hil.urls import parse

    url = parse(where)
    found = asyncio.run(_asked(url, count, deadline_s))
    if as_json:
        print(json.dumps({"url": where, **found}))
    elif "trouble" in found:
        line(out, "nobody", found["trouble"], "red")
    else:
        period = f", a tick every {found['period_ms']:g} ms" if found["period_ms"] else ""
        words = f"{found['role']}{period}; protocol {found['version']}, codec {found['codec']}"
        line(out, "agent", words, "green")
        show_latency(found["latency"])
        if "clock_offset_ms" in found:
            line(out, "clock", f"{found['clock_offset_ms']:.3f} ms from ours, within {found['clock_error_ms']:.3f} ms")
            line(out, "one way", f"to it {found['to_device_ms']:.3f} ms, back {found['to_host_ms']:.3f} ms (medians)")
    return "trouble" not in found


async def _asked(url: "DeviceUrl", count: int, deadline_s: float) -> dict[str, Any]:
    from gridloop.hil.agent_link import AgentLink
    from gridloop.hil.links import LinkError, Timeout
    from gridloop.hil.probe import Latency

    link, lost = AgentLink(url), 0
    await link.open()
    try:
        who = await link.hello(deadline_s)
        link.statistics.rtt_s.clear()
        for _ in range(count):
            try:
                await link.sync(deadline_s)
            except LinkError:
                lost += 1
    except Timeout as error:
        return {"trouble": f"{error}; does it speak {url.options.get('codec', 'cobs')}, and at this baud rate?"}
    except LinkError as error:
        return {"trouble": str(error)}
    finally:
        await link.close()
    latency = Latency(tuple(link.statistics.rtt_s), lost, "exchange of stamps")
    return {
        "version": who.version, "role": who.role, "period_ms": who.period_ms,
        "codec": url.options.get("codec", "cobs"), "latency": latency_json(latency), **link.statistics.more(),
    }  # fmt: skip
