"""What devices and lines do to us, and the test of each; further down the tests that belong to no other file.

The table says where each failure is tried; a test of it is renamed here too.
"""

import ast
import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridloop.hil.device import Device as Described
from gridloop.hil.exchange import MapExchange
from gridloop.hil.links import LinkDown, LinkError, Timeout, open_link
from gridloop.hil.poller import Poller
from gridloop.hil.registers import read_map
from gridloop.hil.urls import parse
from scripted_modbus import DEADLINE_S, RTU_FAULTS, Device, both_lines
from skipping_loop import run

TESTS = Path(__file__).parent.parent
TABLE = """
exceptions 1 to 4; 5, 6, 10 and 11
    hil/test_link_faults    test_tcp_fault test_rtu_fault
    hil/test_poller         test_exceptions_that_waiting_does_not_mend_are_faults
no answer
    hil/test_link_faults    test_tcp_fault test_rtu_fault
    hil/test_poller         test_one_lost_answer_leaves_the_values_good_until_they_are_too_old
    peers/test_device_loss  test_a_frozen_device_is_replaced_and_drives_again_when_it_answers
late answer
    hil/test_link_faults    test_tcp_fault test_rtu_fault test_device_that_is_always_a_little_late
    hil/test_links          test_late_answers_on_a_pseudo_terminal test_quarantine_is_as_long_as_the_url_says
    peers/test_other_stacks test_a_slow_unit_costs_misses_and_never_gives_a_wrong_value
partial frame, byte by byte, split
    hil/test_link_faults    test_tcp_fault test_rtu_fault
    hil/test_guard          test_any_split_gives_the_same
    hil/test_links          test_tls_with_certificates_of_both
header only, length lies
    hil/test_link_faults    test_tcp_fault test_rtu_fault
    hil/test_links          test_a_stream_out_of_step_is_opened_anew_without_a_further_loss
wrong unit, and devices that answer for any
    hil/test_link_faults    test_tcp_fault test_rtu_fault
    peers/test_other_stacks test_libmodbus_on_a_line_swallows_the_request_after_one_for_another_unit
    peers/test_other_stacks test_libmodbus_over_tcp_answers_any_unit_and_refuses_what_it_lacks
wrong transaction, duplicate
    hil/test_link_faults    test_tcp_fault test_rtu_fault test_any_sequence_of_faults
wrong function, count or bytes
    hil/test_link_faults    test_tcp_fault test_rtu_fault test_a_write_is_believed_only_by_its_echo
checksum, noise
    hil/test_link_faults    test_rtu_fault
    hil/test_guard          test_flipped_bits_are_never_data
    hil/test_links          test_rtu_on_a_pseudo_terminal
FIN, RST, serial port pulled out
    hil/test_link_faults    test_tcp_fault
    hil/test_links          test_a_lost_link_ends_the_wait_at_once test_rtu_on_a_pseudo_terminal
    peers/test_device_loss  test_an_unplugged_line_is_noticed_at_once_and_plugged_in_it_drives_again
half-open link
    hil/test_links          test_a_silent_network_link_is_opened_anew
    peers/test_device_loss  test_a_frozen_device_is_replaced_and_drives_again_when_it_answers
stale writes after a freeze
    hil/test_poller         test_a_write_without_an_answer_is_written_anew_and_read_back
    peers/test_device_loss  test_of_set_points_sent_while_it_was_frozen_the_newest_holds
wedged device
    hil/test_failure_modes  test_a_device_that_is_wedged_by_a_request_is_opened_anew
frozen value
    hil/test_poller         test_a_heartbeat_that_stands_still_is_a_fault
    peers/test_device_loss  test_values_that_stand_still_while_it_answers_are_noticed_by_its_heartbeat
not a number
    hil/test_points         test_what_says_no_value_is_nan
    hil/test_poller         test_a_needed_value_that_is_no_number_is_a_fault
    hil/test_emulator       test_frozen_and_nan_act_on_what_is_shown
word and byte order
    hil/test_points         test_the_four_orders_of_one_float
    peers/test_swap_over_wires test_a_device_over_a_wire_settles_as_the_model_does
scale factor that changes
    hil/test_sunspec_map    test_a_scale_that_changes_with_the_power_is_read_with_the_value
    hil/test_sunspec_map    test_a_scale_that_is_not_allowed_is_no_value
overflow of a set-point
    hil/test_points         test_400_kw_at_10_w_a_step_do_not_fit_and_are_cut
gap between requests, delay after connecting
    hil/test_links          test_minimum_gap_between_requests test_delay_after_connecting
too many registers
    hil/test_links          test_what_is_no_request_is_never_sent
    hil/test_blocks         test_a_request_never_asks_for_more_than_125
address gaps
    hil/test_failure_modes  test_a_hole_in_a_merged_block_costs_no_value_beside_it
    hil/test_poller         test_a_hole_in_a_merged_read_is_found_once_and_remembered
one client only
    hil/test_links          test_devices_of_one_bus_share_one_connection test_a_device_that_is_taken_by_another_master
    hil/test_failure_modes  test_a_device_that_takes_one_client_at_a_time
echoing RS-485 adapter
    hil/test_link_faults    test_rtu_fault
    hil/test_failure_modes  test_an_adapter_that_echoes
restart with values reset
    hil/test_poller         test_a_restart_behind_a_standing_connection_is_seen_by_the_heartbeat
    peers/test_device_loss  test_a_device_that_restarted_gets_its_set_points_again
"""


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_failure_has_the_tests_that_the_table_says():
    places = [line.split() for line in TABLE.splitlines() if line.startswith(" ")]
    for file, *names in places:
        assert functions(file).issuperset(names), (file, names)


def url_of(device, transport, options=""):
    return parse(f"modbus+{transport}://127.0.0.1:{device.port}/1{options}")


async def kind(call):
    """The error that a call ends with, or its value."""
    try:
        return await call
    except LinkError as error:
        return type(error)


@both_lines
def test_a_device_that_is_wedged_by_a_request_is_opened_anew(transport, faults):
    async def body():
        device = Device(faults)
        device.wedged_by = 4
        async with device.on_tcp():
            link = open_link(url_of(device, transport, "?quarantine_ms=0"))
            await link.open()
            seen = []
            for function in ("holding", "input", *["holding"] * 7):
                seen.append(await kind(link.read(1, function, 300, 2, DEADLINE_S)))
                await asyncio.sleep(0.06)
            await link.close()
            return seen, device.connections

    seen, connections = run(body())
    assert seen == [[300, 301], *[Timeout] * 5, *[[300, 301]] * 3]
    assert connections == 2


HOLED = """
role: meter
gap: 8
defaults: {function: holding, type: uint16}
points:
  a: {attr: "a[1]", address: 300}
  b: {attr: "b[1]", address: 301}
  c: {attr: "c[1]", address: 304}
  d: {attr: "d[1]", address: 309, type: uint32}
"""


@both_lines
def test_a_hole_in_a_merged_block_costs_no_value_beside_it(transport, faults):
    async def body():
        device, map = Device(faults), read_map(HOLED)
        device.lacks = {302, 303, 306}
        async with device.on_tcp():
            link = open_link(url_of(device, transport))
            described = Described("meter", url_of(device, transport), map, deadline_s=DEADLINE_S)
            clock = asyncio.get_running_loop().time
            poller = Poller(described, MapExchange(described, map, link, clock), clock)
            await link.open()
            asked = []
            for _ in range(3):
                await poller.cycle()
                asked.append([int.from_bytes(one.body[3:5]) for one in device.asked])
                device.asked.clear()
            await link.close()
            return poller.snapshot(), asked

    shown, asked = run(body())
    assert shown.values == {"a[1]": 300, "b[1]": 301, "c[1]": 304, "d[1]": 309 * 65536 + 310}
    assert asked == [[11, 2, 1, 2], [2, 1, 2], [2, 1, 2]]  # found once, and remembered


@both_lines
def test_a_device_that_takes_one_client_at_a_time(transport, faults):
    # it takes the connection and lets it wait: `connected` says nothing
    async def body():
        device = Device(faults)
        device.one_at_a_time = True
        async with device.on_tcp():
            other = await asyncio.open_connection("127.0.0.1", device.port)
            await asyncio.sleep(0.01)
            link = open_link(url_of(device, transport, "?quarantine_ms=0"))
            await link.open()
            assert link.is_up
            waiting = [await kind(link.read(1, "holding", 300 + i, 1, DEADLINE_S)) for i in range(3)]
            other[1].close()
            await asyncio.sleep(0.05)
            seen = []
            for i in range(12):
                seen.append(await kind(link.read(1, "holding", 400 + i, 1, DEADLINE_S)))
                await asyncio.sleep(0.06)
            await link.close()
            return waiting, seen

    waiting, seen = run(body())
    assert waiting == [Timeout] * 3
    assert set(map(str, seen[:-3])) <= {str(Timeout), str(LinkDown), *(f"[{400 + i}]" for i in range(12))}
    assert seen[-3:] == [[409], [410], [411]]


@pytest.mark.parametrize("code", ["6", "16"])
def test_an_adapter_that_echoes(code):
    # with code 6 the echo of a write is what the device would answer: only `echo=yes` tells the two apart
    async def body():
        device = Device(RTU_FAULTS, ["", "bytewise", "", "silent", ""])
        device.echoes, device.latency_s = True, 0.005
        async with device.on_pty():
            link = open_link(
                parse(f"modbus+rtu://{device.path}/1?baud=115200&echo=yes&write_code={code}&quarantine_ms=0")
            )
            await link.open()
            assert await link.read(1, "holding", 300, 2, 2.0) == [300, 301]
            assert await link.read(1, "holding", 400, 3, 2.0) == [400, 401, 402]
            await link.write(1, "holding", 300, [7], 2.0)
            with pytest.raises(Timeout):
                await link.write(1, "holding", 300, [8], 0.2)
            assert await link.read(1, "holding", 500, 2, 2.0) == [500, 501]
            await link.close()
            return len(device.asked)

    assert asyncio.run(body()) == 5


PIECES = st.lists(st.one_of(st.binary(max_size=30), st.just(b"\x01\x03\x04"), st.just(b"\x00\x01\x00\x00")), max_size=6)


@both_lines
@settings(max_examples=40, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=4))
def test_garbage_on_a_link_raises_only_link_errors_and_is_never_data(transport, faults, answers):
    async def body():
        rubbish: Any = {str(i): (lambda asked, pieces=pieces: [(0.001, piece) for piece in pieces]) for i, pieces in
                   enumerate(answers)}  # fmt: skip
        device = Device(faults, list(rubbish))
        device.faults = rubbish
        async with device.on_tcp():
            link = open_link(url_of(device, transport, "?quarantine_ms=0"))
            await link.open()
            for i in range(len(answers) + 4):
                seen = await kind(link.read(1, "holding", 300 + i, 2, DEADLINE_S))
                assert seen == [300 + i, 301 + i] or issubclass(seen, LinkError)
                await asyncio.sleep(0.3)
            await link.close()
            statistics = link.statistics
            assert statistics.requests == statistics.answers + sum(statistics.lost.values()) + sum(
                statistics.exceptions.values()
            )
            return seen

    assert run(body()) == [303 + len(answers), 304 + len(answers)]
