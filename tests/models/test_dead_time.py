"""The dead time between steps of any length, by signals that are known at every instant."""

import numpy as np
import pytest

from gridloop.simulators.models.dead_time import appended, dead_times, delayed, later, settled

ODD_S = [0.005, 0.0013, 0.0087, 0.0025, 0.0049, 0.0001, 0.005, 0.02, 0.005, 0.0033]


def signal(t_s):
    return np.stack([np.sin(20 * t_s), np.cos(30 * t_s)], axis=-1)


def slope(t_s):
    return np.stack([20 * np.cos(20 * t_s), -30 * np.sin(30 * t_s)], axis=-1)


@pytest.mark.parametrize("dead_s", [[0.024, 0.024], [0.024, 0.017]])
def test_signal_is_that_of_the_dead_time_ago(dead_s):
    dead = dead_times(np.array(dead_s))
    history, now = settled(signal(0.0), dead), 0.0
    for h in ODD_S * 3:
        if now > 0.05:
            asked = np.array([0, h / 2, min(h, *dead_s)])
            expected = np.stack([signal(now + asked - d)[:, k] for k, d in enumerate(dead_s)], axis=1)
            # a cubic over 20 ms: 30^4 h^4 / 384 = 3.4e-4 at most, a straight line would be off by 30^2 h^2 / 8 = 4.5e-2
            assert delayed(history, asked, dead) == pytest.approx(expected, abs=4e-4)
        now += h
        history = later(appended(history, h, signal(now), slope(now)), h, dead)
    assert len(history.at_s) < 12
    assert history.at_s[-1] == 0 and history.at_s[0] <= -0.024 < history.at_s[1] + 1e-12


def test_exact_at_the_samples_whatever_lies_between():
    dead = dead_times(np.array([0.01, 0.01]))
    history = settled(np.zeros(2), dead)
    for value in (1.0, -3.0, 2.0):
        history = later(appended(history, 0.004, np.array([value, 0]), np.ones(2)), 0.004, dead)
    # samples at -8, -4 and 0 ms are 1, -3 and 2
    assert delayed(history, np.array([0.002, 0.006, 0.010]), dead)[:, 0] == pytest.approx([1, -3, 2])


def test_before_the_first_sample_the_signal_was_constant():
    dead = dead_times(np.array([0.024]))
    history = settled(np.array([0.7]), dead)
    assert delayed(history, np.array([0.0, 0.01, 0.024]), dead) == pytest.approx(np.full((3, 1), 0.7))


def test_nothing_is_changed_in_place():
    dead = dead_times(np.array([0.01]))
    history = settled(np.array([1.0]), dead)
    before = [column.copy() for column in history]
    later(appended(history, 0.02, np.array([2.0]), np.array([0.0])), 0.02, dead)
    assert all(np.array_equal(one, other) for one, other in zip(history, before, strict=True))
