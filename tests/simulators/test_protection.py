"""Relays by themselves: closing in synchronism, shedding load stage by stage."""

import numpy as np
import pytest

from gridloop.simulators.case import Stage, Synchrocheck
from gridloop.simulators.protection import in_synchronism, relays, synchrocheck_for, watch

LIMITS = Synchrocheck(angle_deg=10, df_hz=0.1, dv_pu=0.03)


@pytest.mark.parametrize(
    ("v_pu", "degrees", "df_hz", "closes"),
    [
        (1.0, 0, 0, True), (1.0, 9.9, 0.09, True), (1.0, -9.9, -0.09, True), (1.0, 10.1, 0, False),
        (1.0, -10.1, 0, False), (1.0, 180, 0, False), (1.0, 0, 0.11, False), (1.0, 0, -0.11, False),
        (1.029, 0, 0, True), (0.971, 0, 0, True), (1.031, 0, 0, False), (0.969, 0, 0, False),
    ],
)  # fmt: skip
def test_switch_closes_only_within_all_limits(v_pu: float, degrees: float, df_hz: float, closes: bool) -> None:
    for turn in (0.0, 2.0, 3.1):  # the angles themselves do not count
        grid, island = np.exp(1j * turn), v_pu * np.exp(1j * (turn + np.radians(degrees)))
        assert in_synchronism(LIMITS, complex(grid), complex(island), df_hz) is closes


def test_dead_island_is_picked_up() -> None:
    assert in_synchronism(LIMITS, 1 + 0j, 0j, 0.0)


@pytest.mark.parametrize(
    ("kva", "limits"),
    [
        (500, (20, 0.3, 0.10)), (501, (15, 0.2, 0.05)), (1500, (15, 0.2, 0.05)), (1501, (10, 0.1, 0.03)),
        (10_000, (10, 0.1, 0.03)),
    ],
)  # fmt: skip
def test_limits_of_ieee_1547(kva: float, limits: tuple[float, float, float]) -> None:
    assert synchrocheck_for(kva) == limits


STAGES = (Stage(49.5, 0.1, 0.2, (0, 2)), Stage(49.0, 0.0, 0.5, (1,)))


def shed(f_hz: list[list[float]], step_s: float = 0.05) -> list[list[list[int]]]:
    """Which loads each stage sheds at every instant, for frequencies (instants, 3)."""
    last, result = relays(STAGES, 3), []
    for k, row in enumerate(f_hz):
        last, trips = watch(STAGES, last, k * step_s, np.array(row))
        result.append([np.flatnonzero(trip).tolist() for trip in trips])
    return result


def test_stage_sheds_its_loads_once_after_its_delay() -> None:
    low = [[49.4, 49.4, 49.4]] * 6
    assert [first for first, _ in shed(low)] == [[], [], [0, 2], [], [], []]
    assert all(second == [] for _, second in shed(low)), "the second stage is not reached"


def test_delay_begins_anew_after_a_break() -> None:
    low, high = [49.4] * 3, [49.6] * 3
    assert [first for first, _ in shed([low, low, high, low, low, low, low])] == [[], [], [], [], [], [0, 2], []]


def test_stage_without_a_delay_sheds_at_once_and_not_again() -> None:
    assert [second for _, second in shed([[49.6, 48.9, 49.6], [49.6, 50.0, 49.6], [49.6, 48.9, 49.6]])] == [
        [1], [], [],
    ]  # fmt: skip


def test_each_load_has_the_frequency_of_its_own_island() -> None:
    assert [first for first, _ in shed([[49.4, 50, 50]] * 4)] == [[], [], [0], []]


def test_frequency_of_exactly_the_stage_is_not_below() -> None:
    assert all(first == [] for first, _ in shed([[49.5] * 3] * 5))


def test_given_relays_are_left_alone() -> None:
    first = relays(STAGES, 3)
    watch(STAGES, first, 0.0, np.full(3, 48.0))
    assert np.isnan(first.since_s).all()
