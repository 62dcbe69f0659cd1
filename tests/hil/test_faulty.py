"""A device in this process that goes wrong on demand; its clock is what it is told."""

import math

import pytest

from gridloop.hil.fault_course import FaultCourse, PlannedFault
from gridloop.hil.faulty import FROZEN_S, Faulty
from gridloop.hil.policy import FAULT, GOOD, Snapshot

H_S = 0.01


class Counter:
    """Shows what it was told last; `made` counts how many there were."""

    made = 0

    def __init__(self) -> None:
        Counter.made += 1
        self.told: list[float] = []

    def post(self, values: dict[str, float]) -> None:
        self.told.append(values["P_set[MW]"])

    def snapshot(self) -> Snapshot:
        value = self.told[-1] if self.told else math.nan
        return Snapshot({"P_gen[MW]": value}, 0.0, len(self.told), GOOD, "", 0.0)

    def safe(self) -> None:
        self.told.append(0.0)


def moved(device: Faulty, first: int, last: int) -> Snapshot:
    """The device after the steps `first` to `last`, told the step's number at each."""
    for k in range(first, last + 1):
        device.post({"t[s]": k * H_S, "P_set[MW]": float(k)})
    return device.snapshot()


def test_a_sound_one_answers_at_once() -> None:
    seen = moved(Faulty(Counter), 0, 5)
    assert (seen.values, seen.age_s, seen.quality, seen.cause) == ({"P_gen[MW]": 5.0}, 0.0, GOOD, "")


@pytest.mark.parametrize("kind", ["late", "slow"])
def test_late_answers_come_later_by_the_delay(kind: str) -> None:
    device = Faulty(Counter)
    device.fault(kind, delay_s=0.04)  # type: ignore[arg-type]
    seen = moved(device, 0, 10)
    assert seen.values == {"P_gen[MW]": 6.0}
    assert seen.age_s == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("silent", "no answer"), ("drop", "it closed the connection"), ("wrong_unit", "another unit answered")],
)
def test_what_is_not_answered_leaves_the_last_values_to_grow_old(kind: str, cause: str) -> None:
    device = Faulty(Counter)
    moved(device, 0, 5)
    device.fault(kind)  # type: ignore[arg-type]
    seen = moved(device, 6, 10)
    assert (seen.values, seen.quality, seen.cause) == ({"P_gen[MW]": 5.0}, GOOD, cause)
    assert seen.age_s == pytest.approx(0.05)
    device.clear()
    assert moved(device, 11, 11).age_s == 0.0


def test_exceptions_that_waiting_does_not_mend_are_faults_at_once() -> None:
    device = Faulty(Counter)
    device.fault("exception", code=2)
    assert (moved(device, 0, 1).quality, moved(device, 2, 2).cause) == (FAULT, "exception 2")
    device.clear()
    device.fault("exception", code=6)
    assert moved(device, 3, 4).quality == GOOD


def test_nan_shows_no_numbers() -> None:
    device = Faulty(Counter)
    device.fault("nan")
    assert math.isnan(moved(device, 0, 3).values["P_gen[MW]"])


def test_a_frozen_one_takes_nothing_and_its_heartbeat_betrays_it() -> None:
    device = Faulty(Counter)
    moved(device, 0, 5)
    device.fault("frozen")
    steps = round(FROZEN_S / H_S)
    seen = moved(device, 6, 4 + steps)
    assert (seen.values, seen.quality, seen.age_s) == ({"P_gen[MW]": 5.0}, GOOD, 0.0)
    assert moved(device, 5 + steps, 8 + steps).quality == FAULT
    device.clear()
    assert moved(device, 9 + steps, 9 + steps).values == {"P_gen[MW]": 9.0 + steps}


def test_a_restart_is_silent_and_then_another_device() -> None:
    device, before = Faulty(Counter), Counter.made
    moved(device, 0, 5)
    device.fault("restart", delay_s=0.05)
    seen = moved(device, 6, 9)
    assert (seen.values, seen.cause, Counter.made) == ({"P_gen[MW]": 5.0}, "no answer", before)
    assert moved(device, 10, 10).values == {"P_gen[MW]": 10.0}
    assert Counter.made == before + 1


def test_a_count_of_requests_meets_a_fault() -> None:
    device = Faulty(Counter)
    device.fault("silent", count=3)
    assert moved(device, 0, 2).cause == "no answer"
    assert moved(device, 3, 3).cause == ""


def test_faults_that_overlap_end_one_by_one() -> None:
    course = FaultCourse(
        [PlannedFault(0.0, "u", "late", {"delay_s": 0.02}, 0.1), PlannedFault(0.03, "u", "nan", {}, 0.04)]
    )
    device = Faulty(Counter)
    told = []
    for k in range(12):
        told += list(course.act(k * H_S, {"u": device}))
        device.post({"t[s]": k * H_S, "P_set[MW]": float(k)})
        if k == 9:
            assert device.snapshot().values == {"P_gen[MW]": 7.0}  # well but for the lateness
    assert device.snapshot().values == {"P_gen[MW]": 11.0}
    assert told == [
        ("u", "late (delay_s=0.02)"), ("u", "nan"), ("u", "no longer nan"), ("u", "no longer late (delay_s=0.02)"),
    ]  # fmt: skip
