"""A SunSpec device's exchange against the registers of an emulated one, with a line and a clock of the test's own."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import pytest

from banked_line import Line
from gridloop.hil.bank import Bank
from gridloop.hil.device import Device, Write
from gridloop.hil.links import LinkError, Timeout
from gridloop.hil.policy import FAULT, GOOD, STALE, Snapshot
from gridloop.hil.poller import Poller
from gridloop.hil.sunspec_emulated import emulated, running
from gridloop.hil.sunspec_exchange import SunSpecExchange
from gridloop.hil.sunspec_image import typical_models
from gridloop.hil.urls import parse
from sunspec_cases import NEW, OLD

P_SET, Q_SET, P_GEN = "P_set[MW]", "Q_set[MVar]", "P_gen[MW]"
TYPICAL = typical_models(100_000)


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {P_GEN: written[P_SET], "Q_gen[MVar]": written[Q_SET], "Vm[pu]": 1.0, "f[Hz]": 50.0, "SoC[%]": 50.0}


class Shelf(Line):
    """Says nothing at all outside of the device's registers."""

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        if (function, address) not in self.bank.words:
            self.asked.append(("read", function, address, count))
            self.now_s += deadline_s
            raise Timeout("no answer")
        return await super().read(unit, function, address, count, deadline_s)


class Bench:
    """A poller, its line and its device."""

    def __init__(
        self, models: Any = TYPICAL, *, base: int = 40000, query: str = "", law: Any = follow, line: Any = Line,
        **options: Any,
    ) -> None:  # fmt: skip
        self.law = law
        self.line = line(self.bank_of(models, base))
        self.line.bank.switch_on(self.line.now_s)
        settings = {"allow_writes": True, "period_s": 0.1, "max_age_s": 0.3, "readback_s": 0.5} | options
        device = Device("inv2", parse(f"sunspec+tcp://127.0.0.1:502/1{query}"), None, **settings)
        self.log: list[Write] = []
        exchange = SunSpecExchange(device, self.line, self.line.clock, self.log.append)
        self.poller = Poller(device, exchange, self.line.clock)

    def bank_of(self, models: Any, base: int = 40000) -> Bank:
        device, map, words = emulated(models, base)
        return Bank(map, running(self.law, device), words)

    def cycles(self, count: int = 1, post: Mapping[str, float] | None = None) -> Snapshot:
        """Cycles of a period; `post` is posted before each."""

        async def run() -> None:
            for _ in range(count):
                if post is not None:
                    self.poller.post(post)
                await self.poller.cycle()
                self.line.now_s += self.poller.device.period_s

        asyncio.run(run())
        return self.poller.snapshot()

    def restart(self, models: Any = None) -> None:
        """Off and on again, with the defaults, and perhaps another device."""
        if models is not None:
            self.line.bank = self.bank_of(models)
        self.line.bank.switch_on(self.line.now_s)
        self.line.statistics.connected += 1

    @property
    def written(self) -> dict[str, float]:
        found: dict[str, float] = self.line.bank.written
        return found


def test_it_is_scanned_once_then_steered_and_read() -> None:
    bench = Bench()
    seen = bench.cycles(1, {P_SET: 0.02, Q_SET: -0.01, "Vm[pu]": 1.0})
    assert [seen.quality, seen.values[P_GEN], seen.values["f[Hz]"]] == pytest.approx([GOOD, 0.02, 50.0])
    assert bench.written == pytest.approx({
        "reversion[s]": 10, "P_revert[MW]": 0, "enable_revert[1]": 1, "P_mode[1]": 1, P_SET: 0.02, "enable[1]": 1,
        "reversion_Q[s]": 10, "Q_revert[MVar]": 0, "enable_Q_revert[1]": 1, "Q_mode[1]": 4, Q_SET: -0.01,
        "enable_Q[1]": 1, "heartbeat[1]": 1,
    })  # fmt: skip
    order = [write.attr for write in bench.log]
    assert order.index("reversion[s]") < order.index(P_SET) < order.index("enable[1]")
    bench.line.asked.clear()
    bench.cycles(1, {P_SET: 0.02})
    assert [kind for kind, *_ in bench.line.asked] == ["write", "read", "read"]  # heartbeat; 701, then 713 and 715


def test_before_the_first_post_it_is_found_and_only_read() -> None:
    bench = Bench()
    assert bench.cycles(5).quality == GOOD
    assert bench.line.writes == 0


@pytest.mark.parametrize("base, query", [(0, ""), (50000, ""), (7000, "?base=7000")])
def test_a_device_that_says_nothing_elsewhere_is_found_at_its_base(base: int, query: str) -> None:
    bench = Bench(base=base, query=query, line=Shelf)
    bench.cycles(1)
    assert bench.cycles(1).quality == GOOD
    elsewhere = [address for _, _, address, _ in bench.line.asked if address not in range(base, base + 1000)]
    assert len(elsewhere) == {0: 2, 50000: 4, 7000: 0}[base]  # each asked twice, and no more when it is found


def test_a_device_without_an_end_of_its_models_is_steered() -> None:
    bench = Bench()
    words = bench.line.bank.words
    del words["holding", max(at for _, at in words) - 1], words["holding", max(at for _, at in words)]
    assert bench.cycles(2, {P_SET: 0.02}).values[P_GEN] == pytest.approx(0.02)


def test_where_no_sunspec_is_the_trouble_says_so_and_it_is_looked_for_again() -> None:
    bench = Bench()
    mark = bench.line.bank.words.pop(("holding", 40000))
    seen = bench.cycles(1)
    assert (seen.quality, seen.sequence) == (STALE, 0)
    assert "no SunSpec mark at register 40000, 0, 50000" in seen.cause
    bench.line.bank.words["holding", 40000] = mark
    assert bench.cycles(1).quality == GOOD


def test_a_scale_that_changes_between_two_readings_changes_no_value() -> None:
    p_mw = [0.0042]
    bench = Bench(OLD, law=lambda t_s, written: follow(t_s, written) | {P_GEN: p_mw[0]})
    seen = {}
    for p_mw[0] in (0.0042, 38e-6, 0.4, -0.0042):
        power_at = next(p.power_at for p in bench.line.bank.map.points if p.attr == P_GEN)
        assert bench.cycles(1).values[P_GEN] == pytest.approx(p_mw[0])
        seen[p_mw[0]] = bench.line.bank.words["holding", power_at]
    assert len(set(seen.values())) == 3


@pytest.mark.parametrize("scale", [11, 0x10000 - 11, 0x8000])
def test_a_scale_out_of_range_is_no_value(scale: int) -> None:
    bench = Bench(OLD)
    bench.cycles(1)
    power_at = next(p.power_at for p in bench.line.bank.map.points if p.attr == P_GEN)
    bench.line.bank.frozen = True
    bench.line.bank.words["holding", power_at] = scale
    seen = bench.cycles(1)
    assert (seen.quality, seen.cause) == (FAULT, "no number for P_gen[MW]")


def test_in_standby_it_shows_no_numbers_and_is_no_data() -> None:
    bench = Bench()
    bench.cycles(2, {P_SET: 0.02})
    bench.line.bank.unknown = True
    seen = bench.cycles(1, {P_SET: 0.02})
    assert (seen.quality, math.isnan(seen.values[P_GEN])) == (FAULT, True)
    bench.line.bank.unknown = False
    assert bench.cycles(1, {P_SET: 0.02}).quality == GOOD


@pytest.mark.parametrize(
    "attr, value, cause",
    [
        ("connected[1]", 0.0, "it says m701_ConnSt = disconnected"),
        ("state[1]", 6.0, "it says m701_InvSt = fault"),
        ("alarm[1]", 3.0, "it says m701_Alrm = ground_fault, dc_over_volt"),
        ("state[1]", 2.0, ""),  # asleep, and what it feeds in is true
    ],
)
def test_what_the_device_says_of_its_own_state_counts(attr: str, value: float, cause: str) -> None:
    bench = Bench()
    bench.line.bank.behave = lambda t_s, written: follow(t_s, written) | {"connected[1]": 1.0, attr: value}
    seen = bench.cycles(1)
    assert (seen.quality, seen.cause) == (FAULT if cause else GOOD, cause)


def test_a_set_point_is_written_in_the_devices_scale_and_read_back() -> None:
    # WSet_SF = 1: 5 kW is 500 in the registers
    bench = Bench(NEW)
    bench.cycles(2, {P_SET: 0.005})
    assert bench.line.bank.words["holding", bench.line.bank.map.written(P_SET).address + 1] == 500
    assert bench.poller.counts["not_as_written"] == 0


def test_a_device_that_takes_no_notice_of_the_scale_is_found_out() -> None:
    bench = Bench(NEW)
    original = bench.line.bank.write
    at = bench.line.bank.map.written(P_SET).address

    def without_scale(function: str, address: int, values: Any, now_s: float) -> Any:
        values = [*values]
        if address <= at < address + len(values):
            values[at - address + 1] *= 10
        return original(function, address, values, now_s)

    bench.line.bank.write = without_scale
    bench.cycles(10, {P_SET: 0.0005})
    assert bench.poller.counts["not_as_written"] >= 3


def test_a_set_point_beyond_the_ratings_is_cut_and_told() -> None:
    bench = Bench(NEW)
    bench.cycles(1, {P_SET: 0.5})
    assert bench.written[P_SET] == pytest.approx(0.010)
    (told,) = [write for write in bench.log if write.attr == P_SET]
    assert (told.wanted, told.cause) == (0.5, "limit")
    assert told.value == pytest.approx(0.01)


def test_the_users_limits_and_safe_values_hold_where_the_device_takes_them() -> None:
    bench = Bench(limits={P_SET: (0.0, 0.03), "E[pu]": (0, 1)}, safe={P_SET: 0.001})
    bench.cycles(2, {P_SET: 0.05})
    assert bench.written[P_SET] == pytest.approx(0.03)
    bench.poller.calm()
    bench.cycles(1)
    assert bench.written[P_SET] == pytest.approx(0.001)
    assert bench.poller.is_safe


def test_the_devices_timer_is_rewritten_at_half_its_time_and_acts_when_nobody_is_left() -> None:
    bench = Bench()
    bench.cycles(1, {P_SET: 0.02})
    bench.line.asked.clear()
    bench.cycles(250, {P_SET: 0.02})  # 25 s of a timer of 10 s
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert bench.poller.counts["not_as_written"] == 0  # it never acted
    timer = bench.line.bank.map.written("reversion[s]").address
    assert sum(kind == "write" and at == timer for kind, _, at, _ in bench.line.asked) == 5
    bench.line.bank.refresh(bench.line.now_s + 4.9)
    assert bench.written[P_SET] == pytest.approx(0.02)
    bench.line.bank.refresh(bench.line.now_s + 10.1)
    assert (bench.written[P_SET], bench.written["enable[1]"]) == (0.0, 1.0)


def test_after_a_restart_with_reset_registers_all_is_written_again_and_read_back() -> None:
    bench = Bench()
    bench.cycles(3, {P_SET: 0.02})
    bench.restart()
    assert bench.written[P_SET] == 0.0
    bench.line.asked.clear()
    seen = bench.cycles(2, {P_SET: 0.02})  # its heartbeat went back too: all is written twice
    assert bench.written[P_SET] == pytest.approx(0.02)
    assert bench.written["enable[1]"] == 1.0
    assert seen.values[P_GEN] == pytest.approx(0.02)
    set_point = bench.line.bank.map.written(P_SET).address
    kinds = [kind for kind, _, at, size in bench.line.asked if at <= set_point < at + size]
    assert (kinds.count("write"), kinds[-1]) == (2, "read")
    assert bench.poller.counts["recoveries"] == 1


def test_another_scale_of_set_points_after_a_restart_is_found() -> None:
    bench = Bench(NEW)
    bench.cycles(2, {P_SET: 0.005})
    bench.restart(NEW | {704: NEW[704] | {"WSet_SF": 0}})
    bench.cycles(1, {P_SET: 0.005})
    assert bench.line.bank.words["holding", bench.line.bank.map.written(P_SET).address + 1] == 5000


def test_a_device_that_shows_less_after_a_restart_is_left_alone_until_it_is_whole() -> None:
    bench = Bench()
    bench.cycles(2, {P_SET: 0.02})
    bench.restart({id: values for id, values in TYPICAL.items() if id != 704})
    seen = bench.cycles(5, {P_SET: 0.02})
    assert seen.quality == STALE
    assert "it shows no " in seen.cause
    assert P_SET in seen.cause
    bench.restart(TYPICAL)
    assert bench.cycles(1, {P_SET: 0.02}).quality == GOOD
    assert bench.written[P_SET] == pytest.approx(0.02)


def test_without_leave_nothing_is_written() -> None:
    bench = Bench(allow_writes=False)
    bench.cycles(3, {P_SET: 0.02})
    bench.poller.held = True
    bench.cycles(2)
    assert bench.line.writes == 0
    assert {write.done for write in bench.log} == {False}


@pytest.mark.parametrize("trouble", [Timeout("no answer"), LinkError("damaged")])
def test_a_lost_answer_while_it_is_scanned_costs_a_cycle_at_most(trouble: LinkError) -> None:
    bench = Bench()
    bench.line.troubles = [None, None, None, trouble]
    bench.cycles(1, {P_SET: 0.02})
    assert bench.cycles(1, {P_SET: 0.02}).values[P_GEN] == pytest.approx(0.02)
