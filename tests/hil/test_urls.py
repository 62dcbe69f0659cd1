"""Device URLs: every form, and one message for each part that can be wrong."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil.urls import FORMS, DeviceUrl, parse


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (
            "modbus+tcp://192.0.2.10:5020/3?map=generic_inverter",
            DeviceUrl("modbus", "tcp", "192.0.2.10", 5020, unit=3, options={"map": "generic_inverter"}),
        ),
        ("modbus+tcp://inverter.local", DeviceUrl("modbus", "tcp", "inverter.local", 502)),
        ("sunspec+tls://[::1]/126", DeviceUrl("sunspec", "tls", "::1", 802, unit=126)),
        ("modbus+tcp://h?unit=0", DeviceUrl("modbus", "tcp", "h", 502, unit=0)),
        ("modbus+rtutcp://h:4001/255", DeviceUrl("modbus", "rtutcp", "h", 4001, unit=255)),
        (
            "modbus+rtu:///dev/ttyUSB0/7?baud=19200&parity=E",
            DeviceUrl("modbus", "rtu", path="/dev/ttyUSB0", unit=7, options={"baud": "19200", "parity": "E"}),
        ),
        ("modbus+rtu:///dev/ttyUSB0", DeviceUrl("modbus", "rtu", path="/dev/ttyUSB0")),
        ("modbus+rtu:///dev/pts/3", DeviceUrl("modbus", "rtu", path="/dev/pts/3")),
        ("modbus+rtu:///dev/pts/3/4", DeviceUrl("modbus", "rtu", path="/dev/pts/3", unit=4)),
        ("modbus+rtu:///dev/odd/3?unit=4", DeviceUrl("modbus", "rtu", path="/dev/odd/3", unit=4)),
        ("sunspec+rtu://COM3/2", DeviceUrl("sunspec", "rtu", path="COM3", unit=2)),
        (
            "serial:///dev/ttyACM0?codec=json&baud=115200",
            DeviceUrl("serial", "serial", path="/dev/ttyACM0", options={"codec": "json", "baud": "115200"}),
        ),
        ("serial+socket://pi:7000?codec=cobs", DeviceUrl("serial", "socket", "pi", 7000, options={"codec": "cobs"})),
        ("replay://runs/one%20run", DeviceUrl("replay", path="runs/one run")),
        ("replay:///tmp/run", DeviceUrl("replay", path="/tmp/run")),
        (
            "replay:///tmp/run?unit=inv2&shadow=yes",
            DeviceUrl("replay", path="/tmp/run", options={"unit": "inv2", "shadow": "yes"}),
        ),
        ("emulated:", DeviceUrl("emulated")),
        ("mosaik+tcp://pi:5555", DeviceUrl("mosaik", "tcp", "pi", 5555)),
    ],
)
def test_forms(url, parts):
    assert parse(url) == parts
    assert parse(url).kind == url.partition(":")[0]
    assert pickle.loads(pickle.dumps(parse(url))) == parts


def test_every_form_that_is_shown_is_one():
    for kind, form in FORMS.items():
        shown = form.replace("UNIT", "5").replace("PORT", "99").replace("HOST", "h")
        assert parse(shown).kind == kind


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unknown kind ''; there are modbus"),
        ("modbus+tpc://h", r"did you mean modbus\+tcp://HOST:502/UNIT\?map=NAME\?"),
        ("modbus+tcp", "unknown kind"),
        ("modbus+tcp://", "the host is missing; write modbus"),
        ("modbus+tcp://h:0", "the port in 'h:0' is not a whole number from 1 to 65535"),
        ("modbus+tcp://h:x", "the port in 'h:x'"),
        ("modbus+tcp://[::1", "Invalid IPv6"),
        ("modbus+rtutcp://h", "the port is missing"),
        ("modbus+tcp://h/256", "unit '256' is not a whole number from 0 to 255"),
        ("modbus+tcp://h/-1", "unit '-1'"),
        ("modbus+tcp://h/²", "unit '²'"),
        ("modbus+tcp://h/1?unit=1", "the unit stands there twice"),
        ("modbus+tcp://h/1?mpa=x", "unknown option 'mpa'; did you mean map?"),
        ("modbus+tcp://h/1?baud=9600", "unknown option 'baud'"),
        ("modbus+tcp://h/1?map=a&map=b", "'map' stands there twice"),
        ("modbus+tcp://h/1?map=", "'map' has no value"),
        ("modbus+tcp://me:secret@h/1", "user names and passwords"),
        ("modbus+tcp://h/1#here", "'#here' has no meaning"),
        ("modbus+rtu:", "the serial port is missing"),
        ("modbus+rtu:///dev/x?parity=X", "parity=X: there are N, E, O"),
        ("modbus+rtu:///dev/x?baud=fast", "baud 'fast' is not a whole number from 50"),
        ("modbus+tls://h?cert=a", "cert and key belong together"),
        ("sunspec+tcp://h?base=70000", "base '70000'"),
        ("serial+socket://h:1/2", "'/2' has no meaning"),
        ("serial:///dev/x?codec=xml", "codec=xml: there are cobs, json"),
        ("replay://", "the folder is missing"),
    ],
)
def test_what_is_wrong_is_named(url, words):
    with pytest.raises(ValueError, match=words):
        parse(url)


def test_devices_of_one_line_have_one_bus():
    assert parse("modbus+tcp://H:502/1").bus == parse("sunspec+tcp://h/2?base=0").bus == "tcp://h:502"
    assert parse("modbus+rtu:///dev/ttyUSB0/1").bus == parse("sunspec+rtu:///dev/ttyUSB0/2").bus
    different = ["modbus+tcp://h:502", "modbus+tls://h:502", "modbus+rtutcp://h:502", "mosaik+tcp://h:502"]
    assert len({parse(url).bus for url in different}) == 4


@given(st.text() | st.sampled_from(list(FORMS)).flatmap(lambda kind: st.text().map(lambda rest: f"{kind}:{rest}")))
def test_any_text_is_a_url_or_a_value_error(text):
    try:
        assert parse(text).kind in FORMS
    except ValueError as wrong:
        assert "device url" in str(wrong)
