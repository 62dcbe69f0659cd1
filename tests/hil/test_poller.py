"""One device's exchange against an emulated register bank, with a line and a clock of the test's own."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from banked_line import Line
from gridloop.hil.bank import Bank, Behave
from gridloop.hil.device import Device, Write
from gridloop.hil.exchange import MapExchange
from gridloop.hil.links import LinkDown, Refused, Timeout
from gridloop.hil.policy import FAULT, GOOD, STALE, Reading
from gridloop.hil.poller import Poller
from gridloop.hil.registers import load_map, read_map
from gridloop.hil.urls import parse

P_SET, P_GEN, Q_GEN = "P_set[MW]", "P_gen[MW]", "Q_gen[MVar]"
URL = parse("modbus+tcp://127.0.0.1:5020/1")


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {P_GEN: written[P_SET], Q_GEN: 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0}


class Bench:
    """A poller, its line and its device."""

    def __init__(self, map: str = "generic_inverter", behave: Behave = follow, **options: object) -> None:
        self.line = Line(Bank(load_map(map), behave))
        self.line.bank.switch_on(self.line.now_s)
        settings = {"allow_writes": True, "period_s": 0.05, "max_age_s": 0.2, "readback_s": 0.0} | options
        self.device = Device("inv2", URL, self.line.bank.map, **settings)  # type: ignore[arg-type]
        self.log: list[Write] = []
        self.poller = self.polling(self.device, self.log.append)

    def polling(self, device: Device, on_write: Callable[[Write], None] | None = None) -> Poller:
        assert device.map is not None
        return Poller(device, MapExchange(device, device.map, self.line, self.line.clock, on_write), self.line.clock)

    def cycles(self, count: int = 1, post: Mapping[str, float] | None = None) -> None:
        """Cycles of a period; `post` is posted before each."""

        async def run() -> None:
            for _ in range(count):
                if post is not None:
                    self.poller.post(post)
                await self.poller.cycle()
                self.line.now_s += self.device.period_s

        asyncio.run(run())

    @property
    def written(self) -> dict[str, float]:
        return self.line.bank.written


class Mute(MapExchange):
    """Whoever is there has said nothing yet."""

    async def read(self) -> Reading:
        return Reading()


def test_a_reading_that_never_came_is_none() -> None:
    bench, heard = Bench(), list[str]()
    exchange = Mute(bench.device, load_map("generic_inverter"), bench.line, bench.line.clock)
    poller = Poller(bench.device, exchange, bench.line.clock, lambda name, reading: heard.append(name))
    asyncio.run(poller.cycle())
    seen = poller.snapshot()
    assert (seen.quality, seen.cause, seen.sequence, heard) == (STALE, "no answer yet", 0, [])


def test_before_the_first_post_nothing_is_written() -> None:
    bench = Bench()
    bench.cycles(20)
    assert bench.line.writes == 0
    seen = bench.poller.snapshot()
    assert (seen.quality, seen.sequence, seen.values["f[Hz]"]) == (GOOD, 20, 50.0)


def test_what_is_posted_stands_on_the_device_and_what_the_map_lacks_is_left_out() -> None:
    bench = Bench()
    bench.cycles(1, {P_SET: 0.02, "t[s]": 7.0, P_GEN: 3.0})
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert bench.written["reversion[s]"] == 2.0  # the map's preset
    assert bench.poller.snapshot().values[P_GEN] == pytest.approx(0.02)


def test_what_did_not_change_is_not_written_again_but_the_heartbeat_is() -> None:
    bench = Bench(readback_s=0.0)
    bench.cycles(1, {P_SET: 0.02})
    first = len(bench.log)
    bench.cycles(4)
    assert [write.attr for write in bench.log[first:]] == ["heartbeat[1]"] * 4
    assert bench.written["heartbeat[1]"] == 5


def test_limits_and_ramps_hold_and_the_log_says_why() -> None:
    bench = Bench(limits={P_SET: (-0.1, 0.09)}, ramps={P_SET: 0.5})
    bench.cycles(5, {P_SET: 9.0})
    steps = [(write.wanted, round(write.value, 6), write.cause) for write in bench.log if write.attr == P_SET]
    assert steps == [(9.0, 0.05, "ramp"), (9.0, 0.075, "ramp"), (9.0, 0.09, "limit")]
    assert bench.written[P_SET] == pytest.approx(0.09)


def test_a_ramp_begins_at_what_the_device_has() -> None:
    # 0.2 MW/s, a cycle of 50 ms: 0.01 MW each; the first may stand for two periods
    bench = Bench(ramps={P_SET: 0.2})
    bench.line.bank.write("holding", 0, [0, 30_000], bench.line.now_s)
    bench.cycles(3, {P_SET: 0.1})
    values = [write.value for write in bench.log if write.attr == P_SET]
    assert values == pytest.approx([0.05, 0.06, 0.07])


def test_the_watchdog_writes_the_safe_state_and_a_post_ends_it() -> None:
    bench = Bench(watchdog_s=0.5)
    bench.cycles(1, {P_SET: 0.02})
    bench.cycles(9)
    assert bench.written[P_SET] == pytest.approx(0.02)
    bench.cycles(3)
    assert bench.written[P_SET] == 0.0
    assert bench.poller.counts["watchdog"] == 1
    assert [w.cause for w in bench.log if w.attr == P_SET] == ["", "safe"]
    bench.cycles(1, {P_SET: 0.03})
    assert bench.written[P_SET] == pytest.approx(0.03)


def test_the_safe_state_ignores_ramps_and_takes_the_users_values_over_the_maps() -> None:
    bench = Bench(ramps={P_SET: 0.01}, safe={P_SET: 0.005})
    bench.cycles(1, {P_SET: 0.02})
    bench.cycles(30, {P_SET: 0.02})
    bench.poller.calm()
    bench.cycles(1)
    assert bench.written[P_SET] == pytest.approx(0.005)
    assert bench.poller.is_safe


def test_held_in_the_safe_state_posts_do_not_count() -> None:
    bench = Bench()
    bench.cycles(1, {P_SET: 0.02})
    bench.poller.held = True
    bench.cycles(3, {P_SET: 0.02})
    assert bench.written[P_SET] == 0.0
    bench.poller.held = False
    bench.cycles(1, {P_SET: 0.02})
    assert bench.written[P_SET] == pytest.approx(0.02)


def test_in_shadow_nothing_is_written_and_the_intention_is_logged_once() -> None:
    bench = Bench(allow_writes=False)
    bench.cycles(5, {P_SET: 0.02})
    bench.poller.held = True
    bench.cycles(2)
    assert bench.line.writes == 0
    assert bench.written[P_SET] == 0.0
    told = [(w.attr, w.value, w.done) for w in bench.log if w.attr == P_SET]
    assert told == [(P_SET, pytest.approx(0.02), False), (P_SET, 0.0, False)]
    assert {w.trouble for w in bench.log} == {"writes are not allowed"}


@pytest.mark.parametrize("was_done", [True, False])
def test_a_write_without_an_answer_is_written_anew_and_read_back(was_done: bool) -> None:
    bench = Bench("battery")
    bench.cycles(2, {P_SET: 0.02})
    bench.line.is_deaf = not was_done
    bench.line.troubles = [Timeout("no answer")]
    bench.cycles(1, {P_SET: 0.03})
    assert bench.poller.trouble == "no answer"
    bench.line.asked.clear()
    bench.cycles(1, {P_SET: 0.03})
    assert bench.written[P_SET] == pytest.approx(0.03)
    assert bench.poller.trouble == ""
    assert ("read", "holding", 100, 4) in bench.line.asked


def test_after_a_lost_answer_the_set_points_are_not_believed_to_stand() -> None:
    bench = Bench("battery")
    bench.cycles(2, {P_SET: 0.02})
    bench.line.bank.write("holding", 100, [0, 0], bench.line.now_s)  # it was off for a moment
    bench.line.troubles = [None, Timeout("no answer")]  # the heartbeat is written, the read is lost
    bench.cycles(1, {P_SET: 0.02})
    assert bench.written[P_SET] == 0.0
    bench.cycles(1, {P_SET: 0.02})
    assert bench.written[P_SET] == pytest.approx(0.02)


def test_the_safe_state_keeps_to_the_limits() -> None:
    bench = Bench(safe={P_SET: 0.5}, limits={P_SET: (-0.1, 0.1)})
    bench.poller.calm()
    bench.cycles(1)
    assert bench.written[P_SET] == pytest.approx(0.1)
    assert bench.poller.is_safe


def test_one_lost_answer_leaves_the_values_good_until_they_are_too_old() -> None:
    bench = Bench()
    bench.cycles(2)
    bench.line.troubles = [Timeout("no answer")] * 9
    bench.cycles(3)
    assert bench.poller.snapshot().quality == GOOD  # 200 ms old
    bench.cycles(1)
    seen = bench.poller.snapshot()
    assert (seen.quality, seen.cause, seen.sequence) == (STALE, "no answer", 2)


def test_after_a_new_connection_all_is_written_again() -> None:
    bench = Bench()
    bench.cycles(3, {P_SET: 0.02})
    bench.line.bank.switch_on(bench.line.now_s)
    bench.line.statistics.connected += 1
    assert bench.written[P_SET] == 0.0
    bench.cycles(1)
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert bench.poller.counts["recoveries"] == 1


def test_a_restart_behind_a_standing_connection_is_seen_by_the_heartbeat() -> None:
    bench = Bench()
    bench.cycles(3, {P_SET: 0.02})
    bench.line.bank.switch_on(bench.line.now_s)
    bench.cycles(2)
    assert bench.poller.counts["restarts"] == 1
    assert bench.written[P_SET] == pytest.approx(0.02)


def test_set_points_that_changed_on_the_device_are_found_and_mended() -> None:
    bench = Bench("battery", readback_s=0.2, period_s=0.05)
    bench.cycles(3, {P_SET: 0.02})
    bench.line.bank.write("holding", 100, [0, 0], bench.line.now_s)
    bench.cycles(6, {P_SET: 0.02})
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert bench.poller.counts["not_as_written"] == 1


def test_a_device_that_keeps_another_value_is_not_written_to_for_ever() -> None:
    bench = Bench("battery", readback_s=0.05)
    original = bench.line.bank.write

    def stubborn(function: str, address: int, values: Sequence[int], now_s: float) -> int:
        code = original(function, address, values, now_s)
        original("holding", 100, [0, 0], now_s)
        return code

    bench.line.bank.write = stubborn  # type: ignore[method-assign]
    bench.cycles(40, {P_SET: 0.02})
    assert sum(write.attr == P_SET for write in bench.log) == 4
    assert bench.poller.counts["not_as_written"] >= 4


def test_a_heartbeat_that_stands_still_is_a_fault() -> None:
    bench = Bench(frozen_s=0.3)
    bench.cycles(2)
    bench.line.bank.frozen = True
    bench.cycles(6)
    assert bench.poller.snapshot().quality == GOOD
    bench.cycles(3)
    seen = bench.poller.snapshot()
    assert (seen.quality, seen.cause) == (FAULT, "its heartbeat stands still for 0.3 s")
    bench.line.bank.frozen = False
    bench.cycles(1)
    assert bench.poller.snapshot().quality == GOOD


def test_a_device_that_calls_itself_bad_is_believed() -> None:
    bench = Bench(behave=lambda t_s, written: {**follow(t_s, written), "quality[1]": 2.0})
    bench.cycles(1)
    assert bench.poller.snapshot().cause == "it says quality = fault"
    alarm = Bench("diesel", behave=lambda t_s, written: {**follow(t_s, written), "alarm[1]": 2.0})
    alarm.cycles(1)
    assert alarm.poller.snapshot().cause == "it says alarms = low oil pressure"


def test_a_needed_value_that_is_no_number_is_a_fault() -> None:
    bench = Bench(behave=lambda t_s, written: {**follow(t_s, written), P_GEN: math.nan})
    bench.cycles(1)
    assert bench.poller.snapshot().cause == "no number for P_gen[MW]"


@pytest.mark.parametrize("code, quality", [(1, FAULT), (3, FAULT), (4, FAULT), (5, GOOD), (6, GOOD), (11, GOOD)])
def test_exceptions_that_waiting_does_not_mend_are_faults(code: int, quality: int) -> None:
    bench = Bench()
    bench.cycles(1)
    bench.line.troubles = [Refused("refused", code)]
    bench.cycles(1)
    assert bench.poller.snapshot().quality == quality
    bench.cycles(1)
    assert bench.poller.snapshot().quality == GOOD


HOLE = """
role: power
gap: 8
points:
  P: {attr: "P_gen[MW]", address: 0, function: input, unit: kW}
  Q: {attr: "Q_gen[MVar]", address: 1, function: input, unit: kvar}
  f: {attr: "f[Hz]", address: 6, function: input, scale: 0.01}
"""


def test_a_hole_in_a_merged_read_is_found_once_and_remembered() -> None:
    bench = Bench()
    holed = read_map(HOLE)
    bench.line.bank = Bank(replace(holed, gap=0), lambda t_s, written: {P_GEN: 0.01, Q_GEN: 0.0, "f[Hz]": 50.0})
    bench.line.bank.switch_on(bench.line.now_s)
    bench.poller = bench.polling(Device("inv2", URL, holed))
    bench.cycles(1)
    assert bench.poller.snapshot().values == {P_GEN: 0.01, Q_GEN: 0.0, "f[Hz]": 50.0}
    assert [size for *_, size in bench.line.asked] == [7, 2, 1]
    bench.line.asked.clear()
    bench.cycles(1)
    assert [size for *_, size in bench.line.asked] == [2, 1]


def test_a_point_that_the_device_has_not_is_given_up_and_tried_again_later() -> None:
    bench = Bench()
    whole, part = load_map("generic_inverter"), replace(read_map(HOLE), gap=0)
    bench.line.bank = Bank(part, lambda t_s, written: {P_GEN: 0.01, Q_GEN: 0.0, "f[Hz]": 50.0})
    bench.line.bank.switch_on(bench.line.now_s)
    bench.poller = bench.polling(Device("inv2", URL, whole))
    bench.cycles(1)
    assert bench.poller.snapshot().quality == FAULT
    bench.line.bank = Bank(whole, follow)
    bench.line.bank.switch_on(bench.line.now_s)
    bench.cycles(110)  # 5.5 s
    assert bench.poller.snapshot().quality == GOOD


def test_the_reversion_timer_is_rewritten_at_half_its_time_with_nothing_else_changed() -> None:
    bench = Bench("battery")  # its timer stands apart from the set-points
    quiet = load_map("battery")
    bench.cycles(1, {P_SET: 0.02})
    bench.line.asked.clear()
    bench.cycles(220, {P_SET: 0.02})  # 11 s of a timer of 10 s
    rewritten = [one for one in bench.line.asked if one[:3] == ("write", "holding", 110)]
    assert quiet.reversion_s == 10.0
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert len(rewritten) >= 2


def test_a_link_that_is_down_breaks_nothing() -> None:
    bench = Bench()
    bench.line.troubles = [LinkDown("not connected")] * 3
    bench.cycles(3, {P_SET: 0.02})
    assert bench.poller.snapshot().cause == "not connected"
    bench.cycles(1)
    assert bench.poller.snapshot().quality == GOOD


def test_an_error_of_our_own_ends_in_the_safe_state() -> None:
    def broken(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        if broken_now:
            raise RuntimeError("boom")
        return follow(t_s, written)

    broken_now: list[int] = []
    bench = Bench(behave=broken)
    bench.cycles(2, {P_SET: 0.02})
    broken_now.append(1)
    bench.cycles(1, {P_SET: 0.02})
    assert bench.poller.trouble == "internal error: boom"
    broken_now.clear()
    bench.cycles(2, {P_SET: 0.02})
    assert bench.written[P_SET] == 0.0


def test_a_log_that_fails_does_not_stop_the_exchange() -> None:
    bench = Bench()

    def full(write: Write) -> None:
        raise OSError("disk full")

    bench.poller = bench.polling(bench.device, full)
    bench.cycles(2, {P_SET: 0.02})
    assert bench.written[P_SET] == pytest.approx(0.02)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_age_s": 0.0}, "max_age_s = 0 must be > 0"),
        ({"limits": {"P_ste[MW]": (0, 1)}}, "the map generic_inverter takes no P_ste"),
        ({"mode": "fast"}, "free or lockstep"),
    ],
)
def test_a_wrong_description_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bench(**options)  # type: ignore[arg-type]
