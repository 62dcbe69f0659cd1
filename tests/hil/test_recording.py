"""What a run takes from a device is kept, and comes back from the recording as it was."""

import math
import threading
from dataclasses import replace

import pytest

from gridloop.hil.policy import FAULT, GOOD, STALE, Reading, Snapshot
from gridloop.hil.recording import ANSWERS, TAKEN, Recorder
from gridloop.hil.replay import FOLDER, Replay, recorded_units, unit_in
from gridloop.simulators.recorder import CHECKPOINT_S, LOOK_EVERY, read_table

SNAPSHOTS = [  # a device that has not answered yet, one that knows a value or not or lacks it, one that falls silent
    Snapshot({}, -math.inf, 0, STALE, "no answer yet", math.inf),
    Snapshot({"f[Hz]": 60.1, "E[pu]": 1 / 3, "quality[1]": 0.0}, 12.5, 1, GOOD, "", 0.1 + 0.2, 0.7),
    Snapshot({"f[Hz]": math.nan, "E[pu]": 1.0}, 12.6, 2, FAULT, 'no number for f[Hz], "says" it', 0.001),
    Snapshot({"f[Hz]": math.nan, "E[pu]": 1.0}, 12.6, 2, STALE, "unit 1: no answer within 25 ms", 0.3),
]


class Scripted:
    """A device that gives one snapshot after the other."""

    def __init__(self, snapshots=SNAPSHOTS):
        self.snapshots, self.posts, self.safes = list(snapshots), [], 0

    def post(self, values):
        self.posts.append(values)

    def snapshot(self):
        return self.snapshots.pop(0)

    def cycle(self, timeout_s):
        return self.snapshots.pop(0)

    def safe(self):
        self.safes += 1

    def statistics(self):
        return {"requests": 7}


def as_it_is(seen):
    """A snapshot in words, in which nan is itself."""
    return repr(replace(seen, values=dict(sorted(seen.values.items()))))


def record(run, unit="inv2", step_s=0.005):
    recorder = Recorder(run / FOLDER, lambda: 0.0)
    handle = recorder.recorded(unit, Scripted())
    for step in range(len(SNAPSHOTS)):
        recorder.at(step * step_s)
        seen = handle.cycle(0.1) if step % 2 else handle.snapshot()
        assert seen is SNAPSHOTS[step]
    recorder.close()


def test_every_snapshot_comes_back_as_it_was(tmp_path):
    record(tmp_path)
    device = Replay(tmp_path, "inv2")
    for step, seen in enumerate(SNAPSHOTS):
        device.at(step * 0.005)
        device.post({"t[s]": step * 0.005})
        assert as_it_is(device.snapshot()) == as_it_is(device.cycle(0.1)) == as_it_is(seen)


def test_between_steps_values_grow_older_and_outside_there_are_none(tmp_path):
    record(tmp_path)
    device = Replay(tmp_path, "inv2")
    device.at(0.007)
    assert device.snapshot().age_s == pytest.approx(0.3 + 0.002) and device.snapshot().values["f[Hz]"] == 60.1
    device.at(0.0199)  # within a step after the last one
    assert device.snapshot().cause == "unit 1: no answer within 25 ms"
    device.at(0.0201)
    assert (device.snapshot().quality, device.snapshot().cause) == (FAULT, "the recording ends at t = 0.015 s")
    device.at(-0.001)
    assert (device.snapshot().quality, device.snapshot().cause) == (FAULT, "the recording begins at t = 0 s")


def test_what_was_recorded_before_a_process_died_is_there(tmp_path):
    now_s = 0.0
    recorder = Recorder(tmp_path / FOLDER, lambda: now_s)
    handle = recorder.recorded("inv2", Scripted([SNAPSHOTS[1]] * 2 * LOOK_EVERY))
    for step in range(2 * LOOK_EVERY - 1):
        now_s = CHECKPOINT_S / LOOK_EVERY * (step + 1)
        recorder.at(step * 0.005)
        handle.snapshot()
    device = Replay(tmp_path, "inv2")  # the recorder was not closed
    device.at((LOOK_EVERY - 1) * 0.005)
    assert as_it_is(device.snapshot()) == as_it_is(SNAPSHOTS[1])
    device.at((LOOK_EVERY + 1) * 0.005)
    assert device.snapshot().quality == FAULT


def test_a_halted_device_is_safe_is_not_steered_and_gives_no_data(tmp_path):
    recorder, device = Recorder(tmp_path / FOLDER, lambda: 0.0), Scripted()
    handle = recorder.recorded("inv2", device)
    handle.post({"P_set[MW]": 1.0})
    handle.halt()
    handle.post({"P_set[MW]": 2.0})
    assert (device.posts, device.safes) == ([{"P_set[MW]": 1.0}], 1)
    device.snapshots = [SNAPSHOTS[1]]
    seen = handle.snapshot()
    assert (seen.quality, seen.cause) == (FAULT, "stopped by hand")
    recorder.close()
    assert as_it_is(Replay(tmp_path, "inv2").snapshot()) == as_it_is(seen)


def test_what_else_a_handle_can_do_it_still_can(tmp_path):
    handle = Recorder(tmp_path / FOLDER, lambda: 0.0).recorded("inv2", Scripted())
    assert handle.statistics() == {"requests": 7} and not hasattr(handle, "round_trips_ms")


def test_answers_are_kept_with_their_times_from_whatever_thread_they_come(tmp_path):
    recorder = Recorder(tmp_path / FOLDER, lambda: 100.0)
    readings = [
        Reading({"f[Hz]": 50.0 + i}, 100.25 + 0.05 * i, i, "alarm 3" if i == 2 else "") for i in range(4)
    ]  # fmt: skip

    def hear():
        for reading in readings:
            recorder.hear("inv2", reading)

    thread = threading.Thread(target=hear)
    thread.start()
    thread.join()
    recorder.close()
    table = read_table(tmp_path / FOLDER / ANSWERS, "inv2").to_pydict()
    assert table["t"] == pytest.approx([0.25, 0.3, 0.35, 0.4]) and table["sequence"] == [0, 1, 2, 3]
    assert table["f[Hz]"] == [50.0, 51.0, 52.0, 53.0] and table["fault"] == ["", "", "alarm 3", ""]


def test_whose_recording_plays(tmp_path):
    with pytest.raises(ValueError, match="holds no recording of a device"):
        unit_in(tmp_path, "inv2")
    record(tmp_path)
    assert recorded_units(tmp_path) == ["inv2"] and (tmp_path / FOLDER / TAKEN).is_dir()
    assert unit_in(tmp_path, "pv1") == "inv2"  # the only one
    record(tmp_path, "inv3")
    assert unit_in(tmp_path, "inv3") == "inv3" and unit_in(tmp_path, "inv3", "inv2") == "inv2"
    with pytest.raises(ValueError, match=r"has recordings of inv2, inv3, not of pv1: write \?unit=inv2"):
        unit_in(tmp_path, "pv1")
    with pytest.raises(ValueError, match="not of inv7"):
        unit_in(tmp_path, "inv2", "inv7")
