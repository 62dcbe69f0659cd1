"""The way between adapter and device: without links nothing is late, over links everything is what has arrived."""

import math
from typing import Any

import pytest

from gridloop.hil.policy import FAULT, GOOD, Snapshot
from gridloop.hil.way import SHOWN, TOLD, Way

H, H_S = 5_000, 0.005  # step in mosaik's time and in seconds


def shows(sequence: int, age_s: float = 0.0, told_age_s: float = math.nan, quality: int = GOOD) -> Snapshot:
    return Snapshot({"f[Hz]": float(sequence)}, 0.0, sequence, quality, "", age_s, told_age_s)


def test_without_links_nothing_changes_and_the_age_is_the_devices() -> None:
    way, told = Way(over_links=False), {"t[s]": 1.0, "Vm[pu]": 1.0}
    seen = shows(1, age_s=0.02)
    assert way.there(200 * H, 1.0, told, None) is told
    assert way.back(200 * H, 1.0, seen, None) is seen
    assert way.age_s == 0.02
    assert way.sent == {TOLD: None, SHOWN: None}


def test_the_age_counts_from_what_the_device_was_told_where_that_is_known() -> None:
    way = Way(over_links=False)
    way.back(0, 0.0, shows(1, age_s=0.06, told_age_s=9.0), None)
    assert way.age_s == 0.06  # what was told before the start was so at the start
    way.back(200 * H, 1.0, shows(2, age_s=0.06, told_age_s=0.12), None)
    assert way.age_s == 0.12


def test_lines_are_full_of_the_start_until_something_has_arrived() -> None:
    way = Way(over_links=True)
    for k in range(4):
        known = way.there(k * H, k * H_S, {"t[s]": k * H_S, "Vm[pu]": 1.0 + k}, None)
        assert known == {"t[s]": k * H_S, "Vm[pu]": 1.0}
        assert way.back(k * H, k * H_S, shows(k), None).values == {"f[Hz]": 0.0}
        assert way.sent[TOLD] == [k * H, {"t[s]": k * H_S, "Vm[pu]": 1.0 + k}]


def test_ages_there_in_the_device_and_back_add_up() -> None:
    way = Way(over_links=True)
    told, shown = dict[int, Any](), dict[int, Any]()
    for k in range(12):  # three steps there, one in the device, two back
        t_s = k * H_S
        way.there(k * H, t_s, {"t[s]": t_s}, told.get(k - 3))
        seen = way.back(k * H, t_s, shows(k, age_s=min(k, 1) * H_S), shown.get(k - 2))
        told[k], shown[k] = way.sent[TOLD], way.sent[SHOWN]
    assert way.age_s == pytest.approx(6 * H_S)
    assert seen.age_s == pytest.approx(3 * H_S)  # of the value itself: in the device and back
    assert seen.values == {"f[Hz]": 9.0}


def test_the_same_again_is_no_message_and_trouble_is_one() -> None:
    way = Way(over_links=True)
    way.back(0, 0.0, shows(1), None)
    first = way.sent[SHOWN]
    way.back(H, H_S, shows(1, age_s=H_S), None)
    assert way.sent[SHOWN] is first
    way.back(2 * H, 2 * H_S, shows(1, age_s=2 * H_S, quality=FAULT), None)
    assert way.sent[SHOWN] is not first
