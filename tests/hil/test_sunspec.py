"""SunSpec: models found by asking, and their registers, which pysunspec2's own decoder reads the same."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridloop.hil.sunspec import MOST_MODELS, Scan
from gridloop.hil.sunspec_image import image, model_registers
from gridloop.hil.sunspec_map import sunspec_map
from gridloop.hil.sunspec_models import SunSpecError, SunSpecModel, layout, name_of
from sunspec_cases import COMMON, NEW, OLD, Registers, scanned


@pytest.mark.parametrize("base", [40000, 0, 50000])
def test_the_models_are_found_at_each_place_of_the_standard(base):
    found = scanned(Registers(image(OLD), base))
    assert found.base == base
    assert found.directory == (
        (1, base + 2, 66), (103, base + 70, 50), (121, base + 122, 30), (123, base + 154, 24), (124, base + 180, 24),
    )  # fmt: skip
    assert found.identity == {"manufacturer": "Acme", "model": "Sun 10", "version": "1.2", "serial_number": "4711"}
    assert found.notes == ()


def test_a_given_base_is_the_only_one_asked():
    device = Registers(image(COMMON), 1000)
    assert scanned(device, bases=(1000,)).base == 1000
    assert device.requests[0] == (1000, 2)
    with pytest.raises(SunSpecError, match=r"no SunSpec mark at register 40000, 0, 50000.*base="):
        scanned(device)


def test_models_of_a_manufacturer_are_passed_over():
    registers = image(COMMON)
    own = [64110, 3, 1, 2, 3]
    registers[-2:] = own + image(OLD)[2 + 68 :]
    device = Registers(registers)
    found = scanned(device, wanted=None)
    assert [id for id, _, _ in found.directory] == [1, 64110, 103, 121, 123, 124]
    assert [model.id for model in found.models] == [1, 103, 121, 123, 124]


@pytest.mark.parametrize(
    ("end", "note"),
    [
        ([], "no end of the models"), ([0xFFFF], "no end of the models"), ([0, 0], "holds no model"),
        ([9, 65000], "holds no model"),
    ],
)  # fmt: skip
def test_an_end_that_is_missing_or_odd_is_noted(end, note):
    found = scanned(Registers(image(OLD)[:-2] + end))
    assert [model.id for model in found.models] == [1, 103, 121, 123, 124]
    assert note in found.notes[0]


def test_a_length_of_0_for_ever_ends_the_scan():
    found = scanned(Registers([0x5375, 0x6E53] + [7, 0] * 2000))
    assert len(found.directory) == MOST_MODELS


def test_a_model_that_cannot_be_read_is_left_out_and_noted():
    device = Registers(image(OLD))
    del device[40100]
    found = scanned(device)
    assert found.model(103) is None
    assert found.notes == ("model 103 at register 40070 cannot be read",)
    with pytest.raises(SunSpecError, match="shows no active and reactive power: models 1, 103"):
        sunspec_map(found)


def test_a_model_that_is_another_one_when_it_is_read_is_left_out():
    device, scan = Registers(image(OLD)), Scan()
    while scan.request is not None:
        if scan.request[1] > 60:
            device[40003] = 65  # the length of the first model
        scan.answer(device.ask(*scan.request))
    assert scan.device().model(1) is None
    assert scan.device().notes == ("model 1 at register 40002 changed while it was read",)


@settings(max_examples=60)
@given(st.lists(st.one_of(st.none(), st.lists(st.integers(0, 0xFFFF), max_size=130)), max_size=40), st.randoms())
def test_whatever_a_device_answers_the_scan_ends_and_only_sunspec_errors_come(answers, random):
    scan = Scan(bases=(40000, 0))
    asked = 0
    while scan.request is not None:
        address, count = scan.request
        assert 0 <= address <= address + count <= 0x10000
        assert 0 < count <= 125
        answer: list[int] | None
        if asked == 0:
            answer = [0x5375, 0x6E53]
        elif count == 2 and random.random() < 0.8:
            answer = [random.choice([1, 103, 704, 705, 711, 713, 65535]), random.choice([0, 3, 30, 65, 66])]
        elif random.random() < 0.6:
            answer = [random.choice([0, 1, 0x8000, 0xFFFF, 7]) for _ in range(count)]
        else:
            answer = answers[asked % len(answers)] if answers else None
        scan.answer(answer)
        asked += 1
    try:
        map = sunspec_map(scan.device())
    except SunSpecError:
        return
    for block in map.reads():
        block.values([0xFFFF] * block.count)


@pytest.mark.parametrize("id", [*NEW, *OLD])
def test_our_registers_read_the_same_in_pysunspec2(id):
    device = pytest.importorskip("sunspec2.device")
    values = (NEW | OLD)[id]
    registers = model_registers(id, values)
    ours = SunSpecModel(id, 0, tuple(registers))
    theirs = device.Model(id, model_len=registers[1], data=struct.pack(f">{len(registers)}H", *registers))
    assert theirs.error_info == ""
    assert theirs.len in (len(registers), 0)
    for path, entry in ours.entries.items():
        point = theirs
        for part in path.split("."):
            name, _, index = part.rstrip("]").partition("[")
            point = getattr(point, name)
            point = point[int(index)] if index else point
        assert point.offset == entry.offset
        if entry.kind == "string":
            assert (point.value or "") == ours.text(path)
        elif entry.type is not None:
            told = ours.value(path)
            assert point.cvalue == (None if math.isnan(told) else pytest.approx(told, rel=1e-12)), path
        if entry.kind != "pad":
            assert (point.value is None) == (not ours.has(path) and not ours.text(path))
    for path, value in values.items():
        assert ours.text(path) == value if isinstance(value, str) else ours.value(path) == pytest.approx(value)


def test_all_definitions_have_a_layout_that_begins_with_the_id():
    defined = [id for id in range(1, 900) if name_of(id)]
    assert len(defined) > 90
    for id in defined:
        entries = layout(id, [1] * 400)
        assert (entries["ID"].offset, entries["L"].offset) == (0, 1)
    assert layout(133, [1] * 400)["repeating[0].X1"].factor == "repeating[0].X_SF"  # elsewhere they stand at the top
    assert layout(711, [1] * 400)["Ctl[0].KOf"].factor == "K_SF"
    with pytest.raises(SunSpecError, match="model 64110 is not defined"):
        layout(64110, [64110, 0])


def test_a_count_of_groups_that_no_model_can_hold_does_no_harm():
    registers = model_registers(705, NEW[705])
    registers[5] = registers[6] = 0xFFFE  # NPt, NCrv
    entries = layout(705, registers)
    assert all(entry.offset + entry.size <= len(registers) for entry in entries.values())
