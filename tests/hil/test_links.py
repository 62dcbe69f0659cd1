"""Links over TCP, TLS, RTU over TCP and a pseudo-terminal: sharing, gaps, reconnection, and what is refused."""

import asyncio
import gc
import logging
import ssl
import time
from typing import Any

import pytest

from certificates import make
from gridloop.hil.links import Busy, LinkDown, LinkError, Refused, Timeout, WrongAnswer, open_link
from gridloop.hil.urls import parse
from scripted_modbus import DEADLINE_S, RTU_FAULTS, TCP_FAULTS, Device, answer, both_lines, mbap
from skipping_loop import run


def link_to(device, transport="tcp", options="", **settings):
    return open_link(parse(f"modbus+{transport}://127.0.0.1:{device.port}/1{options}"), **settings)


async def kinds(*calls):
    """What each of the calls came to, all under way at once."""
    return [type(value) for value in await asyncio.gather(*calls, return_exceptions=True)]


def test_reads_and_writes_of_each_kind():
    async def body():
        async with Device(TCP_FAULTS).on_tcp() as device:
            link = link_to(device)
            await link.open()
            assert await link.read(1, "holding", 0, 125, 1) == list(range(125))
            assert await link.read(7, "input", 65411, 125, 1) == list(range(65411, 65536))
            assert await link.read(1, "coil", 5, 3, 1) == [1, 0, 1]
            assert await link.read(1, "discrete", 4, 2000, 1) == [0, 1] * 1000
            await link.write(1, "holding", 9, [65535], 1)
            await link.write(1, "holding", 9, range(123), 1)
            await link.write(1, "coil", 9, [1], 1)
            await link.write(1, "coil", 9, [0, 1, 1], 1)
            await link.close()
            return device

    device = run(body())
    assert [asked.body[0] for asked in device.asked] == [3, 4, 1, 2, 16, 16, 5, 15]
    assert [asked.unit for asked in device.asked] == [1, 7, 1, 1, 1, 1, 1, 1]
    assert device.asked[6].body.hex() == "050009ff00"
    assert device.asked[7].body.hex() == "0f000900030106"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda link: link.read(1, "holding", 0, 126, 1), "1 to 125 of them: split it"),
        (lambda link: link.read(1, "holding", 0, 0, 1), "1 to 125"),
        (lambda link: link.read(1, "coil", 0, 2001, 1), "1 to 2000"),
        (lambda link: link.write(1, "holding", 0, [0] * 124, 1), "1 to 123 of them: split it"),
        (lambda link: link.write(1, "coil", 0, [0] * 1969, 1), "1 to 1968"),
        (lambda link: link.read(1, "holding", 65535, 2, 1), "addresses are 0 to 65535"),
        (lambda link: link.read(1, "holding", -1, 1, 1), "addresses are 0 to 65535"),
        (lambda link: link.read(256, "holding", 0, 1, 1), "a unit is 0 to 255"),
        (lambda link: link.write(1, "holding", 0, [70000], 1), "values are 0 to 65535"),
        (lambda link: link.write(1, "coil", 0, [2], 1), "values are 0 to 1"),
        (lambda link: link.write(1, "input", 0, [1], 1), "cannot be written: there are holding, coil"),
        (lambda link: link.read(1, "holdin", 0, 1, 1), "there are coil, discrete, holding, input"),
        (lambda link: link.write(0, "holding", 0, [1], 1), "unit 0 is everybody"),
    ],
)
def test_what_is_no_request_is_never_sent(call, words):
    async def body():
        async with Device(RTU_FAULTS).on_tcp() as device:
            link = link_to(device, "rtutcp")
            await link.open()
            with pytest.raises(ValueError, match=words):
                await call(link)
            await link.close()
            return device.asked, link.statistics.requests

    assert run(body()) == ([], 0)


def test_what_it_says():
    async def body():
        async with Device(TCP_FAULTS, ["exc2", "silent", "short_count", "fin"]).on_tcp() as device:
            link = link_to(device)
            await link.open()
            said = []
            for _ in range(4):
                with pytest.raises(LinkError) as caught:
                    await link.read(3, "holding", 40000, 2, DEADLINE_S)
                said.append(str(caught.value))
            assert isinstance(caught.value, LinkDown)
            await link.close()
            return said, device.port

    said, port = run(body())
    assert said == [
        "unit 3: read 2 holding at 40000: refused: illegal address (2)",
        "unit 3: read 2 holding at 40000: no answer within 100 ms",
        "unit 3: read 2 holding at 40000: the device answered with 4 bytes, not 6",
        f"unit 3: read 2 holding at 40000: tcp://127.0.0.1:{port} was lost: the other end hung up",
    ]


def test_long_answers_in_one_piece():
    # pymodbus throws away what comes in one piece of more than 264 bytes
    async def body():
        async with Device(TCP_FAULTS, ["wrong_tid_then_right", "duplicate"]).on_tcp() as device:
            link = link_to(device)
            await link.open()
            for address in (0, 300, 600):
                assert await link.read(1, "holding", address, 125, 1) == list(range(address, address + 125))
            await link.close()
            return link.statistics.skipped

    assert run(body()) == {"transaction": 1, "unasked": 1}


@pytest.mark.parametrize("fault", ["fin", "rst", "fin_partial"])
def test_a_lost_link_ends_the_wait_at_once(fault):
    async def body():
        async with Device(TCP_FAULTS, [fault]).on_tcp() as device:
            link = link_to(device)
            await link.open()
            start_s = asyncio.get_running_loop().time()
            with pytest.raises(LinkDown):
                await link.read(1, "holding", 0, 2, 60)
            spent_s = asyncio.get_running_loop().time() - start_s
            await link.close()
            return spent_s

    assert run(body()) == pytest.approx(0.01, abs=1e-3)  # the device hung up after 10 ms


def test_devices_of_one_bus_share_one_connection():
    async def body():
        device = Device(TCP_FAULTS)
        device.most_connections = 1  # like many inverters: the second is accepted and thrown out
        async with device.on_tcp():
            first = link_to(device)
            second = open_link(parse(f"sunspec+tcp://127.0.0.1:{device.port}/2?base=40000"))
            assert second is first
            await asyncio.gather(first.open(), second.open())
            both = (first.read(1, "holding", 10, 2, 1), second.read(2, "holding", 20, 2, 1))
            assert await asyncio.gather(*both) == [[10, 11], [20, 21]]
            await first.close()
            assert await second.read(2, "holding", 30, 1, 1) == [30]
            await second.close()
            assert not second.is_up
            again = link_to(device)
            assert again is not first
            await asyncio.sleep(0.01)
            await again.open()
            assert await again.read(2, "holding", 30, 1, 1) == [30]
            await again.close()
            return device.connections

    assert run(body()) == 2


def test_a_device_that_is_taken_by_another_master():
    async def body():
        device = Device(TCP_FAULTS)
        device.most_connections = 0
        async with device.on_tcp():
            link = link_to(device)
            await link.open()
            start_s = asyncio.get_running_loop().time()
            seen = set()
            while asyncio.get_running_loop().time() < start_s + 5:
                seen.update(await kinds(link.read(1, "holding", 0, 1, DEADLINE_S)))
                await asyncio.sleep(0.05)
            tries = link.statistics.connected
            device.most_connections = 1
            await asyncio.sleep(1.1)  # the longest wait between tries is 1 s
            value = await link.read(1, "holding", 5, 1, DEADLINE_S)
            await link.close()
            return seen, tries, value

    seen, tries, value = run(body())
    assert seen == {LinkDown}
    assert 5 <= tries <= 12  # at 0, .05, .15, .35, .75, 1.55, then once a second: connecting alone is no success
    assert value == [5]


def test_settings_of_a_line_cannot_differ():
    async def body():
        url = "modbus+rtu:///dev/ttyNONE/1?baud=9600"
        link = open_link(parse(url))
        with pytest.raises(
            ValueError, match=r"is open with \{'baud': '9600'\} and cannot have \{'baud': '19200'\} too"
        ):
            open_link(parse("modbus+rtu:///dev/ttyNONE/2?baud=19200"))
        assert open_link(parse("modbus+rtu:///dev/ttyNONE/2?baud=9600&map=meter")) is link
        await link.open()
        with pytest.raises(LinkDown, match="No such file"):
            await link.read(1, "holding", 0, 1, 1)
        await link.close()
        await link.close()

    run(body())


def test_waiting_for_the_line_counts():
    async def body():
        async with Device(TCP_FAULTS, ["silent"] * 3).on_tcp() as device:
            link = link_to(device)
            await link.open()
            start_s = asyncio.get_running_loop().time()
            seen = await kinds(*(link.read(1, "holding", 0, 1, DEADLINE_S) for _ in range(3)))
            spent_s = asyncio.get_running_loop().time() - start_s
            await link.close()
            return seen, spent_s, len(device.asked), dict(link.statistics.lost)

    seen, spent_s, asked, lost = run(body())
    assert seen == [Timeout, Busy, Busy]
    assert spent_s == pytest.approx(DEADLINE_S)
    assert asked == 1
    assert lost == {"timeout": 1, "busy": 2}


@both_lines
def test_minimum_gap_between_requests(transport, faults):
    async def body(min_gap_s):
        device = Device(faults)
        device.least_gap_s = 0.05  # it drops what comes earlier
        async with device.on_tcp():
            link = link_to(device, transport, min_gap_s=min_gap_s)
            await link.open()
            seen = await kinds(*(link.read(1, "holding", i, 1, 1.0) for i in range(5)))
            await link.close()
            return seen

    assert run(body(0.05)) == [list] * 5
    assert run(body(0.0)) == [list, Timeout, Busy, Busy, Busy]
    # at 0, .33, .66 s; at .99 s there are 10 ms left, and an answer takes 30: it is not sent
    assert run(body(0.3)) == [list, list, list, Busy, Busy]


@both_lines
def test_delay_after_connecting(transport, faults):
    async def body(connect_delay_s):
        device = Device(faults | {"fin": TCP_FAULTS["fin"]}, ["", "fin"])
        device.is_rtu, device.connect_delay_s = transport == "rtutcp", 1.0
        async with device.on_tcp():
            link = link_to(device, transport, "?quarantine_ms=0", connect_delay_s=connect_delay_s)
            await link.open()
            seen = [(await kinds(link.read(1, "holding", 0, 1, DEADLINE_S)))[0] for _ in range(3)]
            await asyncio.sleep(1.05)
            seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await link.close()
            return seen

    assert run(body(1.0)) == [list, LinkDown, LinkDown, list]
    assert run(body(0.0))[:2] == [Timeout, Timeout]


def test_a_silent_network_link_is_opened_anew():
    async def body():
        async with Device(TCP_FAULTS, ["silent"] * 7).on_tcp() as device:
            link = link_to(device)
            await link.open()
            seen = []
            for _ in range(9):
                seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
                await asyncio.sleep(0.06)  # the second try to connect since the last answer waits for 0.05 s
            await link.close()
            return seen, device.connections

    seen, connections = run(body())
    assert seen == [Timeout] * 7 + [list] * 2
    assert connections == 2


def test_a_device_that_goes_and_comes_back(caplog, told):
    caplog.set_level(logging.WARNING, "gridloop.hil.links")

    async def body():
        async with Device(TCP_FAULTS).on_tcp() as device:
            link = link_to(device)
            await link.open()
            await link.read(1, "holding", 0, 1, DEADLINE_S)
            port = device.port
        await asyncio.sleep(0.05)
        seen = await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
        await asyncio.sleep(30)
        async with Device(TCP_FAULTS).on_tcp(port) as device:
            await asyncio.sleep(1.1)
            seen += [await link.read(1, "holding", 8, 1, DEADLINE_S)]
            await link.close()
        return seen, port

    seen, port = run(body())
    assert seen == [LinkDown, [8]]
    lost, back = told()
    assert lost == f"tcp://127.0.0.1:{port} is lost: the other end hung up"
    assert back.startswith(f"tcp://127.0.0.1:{port} is back after 31.")


def test_a_stream_out_of_step_is_opened_anew_without_a_further_loss():
    async def body():
        async with Device(TCP_FAULTS, ["garbage"]).on_tcp() as device:
            link = link_to(device)
            await link.open()
            seen = await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await asyncio.sleep(0.1)
            seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await link.close()
            return seen

    assert run(body()) == [WrongAnswer, list]


def test_nobody_there_says_why():
    async def body():
        async with Device(TCP_FAULTS).on_tcp() as device:
            pass
        link = link_to(device)
        await link.open()
        with pytest.raises(LinkDown, match=r"Connect call failed|refused"):
            await link.read(1, "holding", 0, 1, DEADLINE_S)
        await link.close()

    run(body())


def test_a_link_that_worked_is_opened_anew_at_once():
    async def body():
        async with Device(TCP_FAULTS, ["", "fin"] * 8).on_tcp() as device:
            link = link_to(device)
            await link.open()
            start_s = asyncio.get_running_loop().time()
            for _ in range(8):
                assert await kinds(*(link.read(1, "holding", 0, 1, DEADLINE_S) for _ in range(2))) == [list, LinkDown]
                await asyncio.sleep(0.01)
            await link.close()
            return asyncio.get_running_loop().time() - start_s

    assert run(body()) == pytest.approx(8 * (0.03 + 0.01 + 0.01), abs=0.01)


def test_closing_ends_what_waits():
    async def body():
        async with Device(TCP_FAULTS, ["silent"]).on_tcp() as device:
            link = link_to(device)
            await link.open()
            waiting = asyncio.ensure_future(link.read(1, "holding", 0, 1, 60))
            await asyncio.sleep(0.1)
            await link.close()
            with pytest.raises(LinkDown, match="closed"):
                await waiting
            return asyncio.get_running_loop().time()

    assert run(body()) < 1


def test_a_cancelled_request_leaves_a_line_that_works():
    async def body(transport, faults):
        async with Device(faults, ["later"]).on_tcp() as device:
            link = link_to(device, transport)
            await link.open()
            waiting = asyncio.ensure_future(link.read(1, "holding", 0, 1, 60))
            await asyncio.sleep(0.05)
            waiting.cancel()
            seen = await kinds(waiting)
            for i in range(5):
                try:
                    assert await link.read(1, "holding", 5 + i, 1, 0.3) == [5 + i]
                except Busy:
                    seen.append(Busy)
                    await asyncio.sleep(0.1)
            await link.close()
            return seen, link.statistics.lost["cancelled"]

    assert run(body("tcp", TCP_FAULTS)) == ([asyncio.CancelledError], 1)
    seen, cancelled = run(body("rtutcp", RTU_FAULTS))
    assert seen == [asyncio.CancelledError] + [Busy] * (len(seen) - 1)
    assert (len(seen), cancelled) == (4, 1)  # at .05, .15 and .25 s; the late answer has come at .25 s


def test_one_silent_unit_does_not_stop_the_others_of_its_line():
    async def body():
        async with Device(RTU_FAULTS, units={2}).on_tcp() as device:
            link = link_to(device, "rtutcp")
            await link.open()
            seen = []
            for i in range(4):
                seen += await kinds(link.read(1, "holding", i, 1, DEADLINE_S))
                assert await link.read(2, "holding", 70 + i, 1, DEADLINE_S) == [70 + i]
            await asyncio.sleep(1.0)
            seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await link.close()
            return seen

    assert run(body()) == [Timeout, Busy, Busy, Busy, Timeout]


def test_after_an_answer_just_in_time_a_deadline_that_is_nearly_whole_is_still_used():
    just_in_time: Any = {"just_in_time": lambda asked: [(0.97 * DEADLINE_S, mbap(asked, answer(asked.body)))]}

    async def body(gone_s):
        async with Device(just_in_time, ["just_in_time"]).on_tcp() as device:
            link = link_to(device, min_gap_s=gone_s)
            await link.open()
            seen = [*await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))]
            seen += await kinds(link.read(1, "holding", 1, 1, DEADLINE_S))
            await link.close()
            return seen

    assert run(body(0.05 * DEADLINE_S)) == [list, list]
    assert run(body(0.15 * DEADLINE_S)) == [list, Busy]


def test_quarantine_is_as_long_as_the_url_says():
    async def body():
        async with Device(RTU_FAULTS, ["silent"]).on_tcp() as device:
            link = link_to(device, "rtutcp", "?quarantine_ms=3000")
            await link.open()
            seen = await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await asyncio.sleep(2.9)
            seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await asyncio.sleep(0.11)
            seen += await kinds(link.read(1, "holding", 0, 1, DEADLINE_S))
            await link.close()
            return seen

    assert run(body()) == [Timeout, Busy, list]


def test_nothing_but_ours_is_logged(capfd, caplog):
    gc.collect()  # what asyncio has to say of tasks that earlier tests left behind
    capfd.readouterr()
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    async def body():
        for transport, faults in (("tcp", TCP_FAULTS), ("rtutcp", RTU_FAULTS)):
            async with Device(faults, list(faults)).on_tcp() as device:
                link = link_to(device, transport)
                await link.open()
                for _ in range(2 * len(faults)):
                    await kinds(link.read(1, "holding", 300, 2, DEADLINE_S))
                    await asyncio.sleep(0.1)
                await link.close()

    run(body())
    assert {record.name for record in caplog.records} <= {"gridloop.hil.links", "asyncio"}
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelno > logging.DEBUG]
    assert capfd.readouterr().err == ""


# with the clock of the machine: a pseudo-terminal's bytes take their own time


def test_rtu_on_a_pseudo_terminal():
    wide_s = 2.0

    async def body():
        script = ["", "bytewise", "noise_before", "badcrc", "duplicate", "exc2", "short_count"]
        device = Device(RTU_FAULTS, script)
        device.latency_s = 0.0
        async with device.on_pty():
            link = open_link(parse(f"modbus+rtu://{device.path}/1?baud=115200&quarantine_ms=50"))
            await link.open()
            for i in range(3):
                assert await link.read(1, "holding", 300 + i, 2, wide_s) == [300 + i, 301 + i]
            with pytest.raises(WrongAnswer, match="checksum"):
                await link.read(1, "holding", 400, 2, 0.3)
            assert await link.read(1, "holding", 500, 2, wide_s) == [500, 501]
            with pytest.raises(Refused, match=r"illegal address \(2\)"):
                await link.read(1, "holding", 600, 2, wide_s)
            with pytest.raises(WrongAnswer, match=r"4 bytes, not 6"):
                await link.read(1, "holding", 700, 2, wide_s)
            await asyncio.sleep(0.1)
            await link.write(1, "holding", 300, [1, 2], wide_s)
            # unplugged while it waits
            device.script.append("silent")
            waiting = asyncio.ensure_future(link.read(1, "holding", 1, 1, 30))
            await asyncio.sleep(0.05)
            start_s = time.monotonic()
            device.unplug()
            with pytest.raises(LinkDown, match="hung up"):
                await waiting
            assert time.monotonic() - start_s < wide_s
            await link.close()

    asyncio.run(body())


def test_late_answers_on_a_pseudo_terminal():
    # pymodbus alone returns another register's value on about every second read of such a line
    async def body():
        async with Device(RTU_FAULTS, ["late"] * 100).on_pty() as device:
            link = open_link(parse(f"modbus+rtu://{device.path}/1?baud=115200"))
            await link.open()
            seen = set()
            for address in range(300, 320):
                seen.update(await kinds(link.read(1, "holding", address, 2, DEADLINE_S)))
                await asyncio.sleep(0.01)
            await link.close()
            return seen, len(device.asked)

    seen, asked = asyncio.run(body())
    assert seen == {Timeout, Busy}
    assert asked >= 3  # again, each time its answer has come at last


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.peers("openssl")
def test_tls_with_certificates_of_both(certificates):
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificates / "device.crt", certificates / "device.key")
    served.load_verify_locations(certificates / "ca.crt")
    served.verify_mode = ssl.CERT_REQUIRED
    ours = f"&cert={certificates / 'us.crt'}&key={certificates / 'us.key'}"

    async def seen(device, options):
        link = link_to(device, "tls", options)
        await link.open()
        try:
            return [await link.read(1, "holding", 300 + i, 2, 5) for i in range(6)]
        except LinkDown as wrong:
            return str(wrong)
        finally:
            await link.close()

    async def body():
        # answers in several records: pymodbus' own framer for TLS loses them
        script = ["", "bytewise", "half_then_rest", "duplicate", "half_header_then_rest"]
        async with Device(TCP_FAULTS, script).on_tcp(tls=served) as device:
            good = await seen(device, f"?ca={certificates / 'ca.crt'}{ours}")
            assert good == [[300 + i, 301 + i] for i in range(6)]
            told = await seen(device, f"?ca={certificates / 'stranger.crt'}{ours}")
            assert "its certificate is refused: " in told
            assert "ca= is the authority that signed it" in told
            asked = len(device.asked)
            told = await seen(device, f"?ca={certificates / 'ca.crt'}")  # without showing ours
            assert "the other end hung up: it may want our certificate: add cert=FILE&key=FILE" in told
            assert len(device.asked) == asked
            with pytest.raises(ValueError, match=r"ca=/nowhere\.crt: .*No such file"):
                link_to(device, "tls", "?ca=/nowhere.crt")

    asyncio.run(body())


@pytest.mark.peers("openssl")
def test_a_certificate_of_another_host_is_refused(certificates):
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificates / "device.crt", certificates / "device.key")

    async def body(options):
        async with Device(TCP_FAULTS).on_tcp(tls=served) as device:
            link = open_link(parse(f"modbus+tls://localhost:{device.port}/1?ca={certificates / 'ca.crt'}{options}"))
            await link.open()
            try:
                return await link.read(1, "holding", 4, 1, 5)
            except LinkDown as wrong:
                return str(wrong)
            finally:
                await link.close()

    assert "certificate is not valid for 'localhost'" in asyncio.run(body(""))
    assert asyncio.run(body("&hostname=any")) == [4]
