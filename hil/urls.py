"""The address of a device as one line of text: `modbus+tcp://192.0.2.10:502/1?map=generic_inverter`. No I/O.

(modbus|sunspec)+(tcp|tls|rtutcp)://HOST:PORT[/UNIT]?map=&base=&ca=&cert=&key=
(modbus|sunspec)+rtu:///dev/ttyUSB0[/UNIT]?baud=&parity=      (or +rtu://COM3/1)
serial:///dev/ttyACM0?codec=cobs|json&baud=    serial+socket://HOST:PORT?codec=
replay://FOLDER?unit=&shadow=yes    emulated:    mosaik+tcp://HOST:PORT
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

NETWORK = ("tcp", "tls", "rtutcp", "socket")
FORMS = {  # how each is written, for messages
    "modbus+tcp": "modbus+tcp://HOST:502/UNIT?map=NAME",
    "modbus+tls": "modbus+tls://HOST:802/UNIT?map=NAME&ca=FILE&cert=FILE&key=FILE",
    "modbus+rtu": "modbus+rtu:///dev/ttyUSB0/UNIT?map=NAME&baud=9600",
    "modbus+rtutcp": "modbus+rtutcp://HOST:PORT/UNIT?map=NAME",
    "sunspec+tcp": "sunspec+tcp://HOST:502/UNIT",
    "sunspec+tls": "sunspec+tls://HOST:802/UNIT?ca=FILE&cert=FILE&key=FILE",
    "sunspec+rtu": "sunspec+rtu:///dev/ttyUSB0/UNIT?baud=9600",
    "sunspec+rtutcp": "sunspec+rtutcp://HOST:PORT/UNIT",
    "serial": "serial:///dev/ttyACM0?codec=cobs",
    "serial+socket": "serial+socket://HOST:PORT?codec=cobs",
    "replay": "replay://FOLDER",
    "emulated": "emulated:",
    "mosaik+tcp": "mosaik+tcp://HOST:PORT",
}
DEFAULT_PORTS = {"modbus+tcp": 502, "sunspec+tcp": 502, "modbus+tls": 802, "sunspec+tls": 802}  # as registered
LINE = ("baud", "parity", "stop_bits", "echo")
MODBUS = ("unit", "map", "base", "write_code", "quarantine_ms")
CERTIFICATES = ("ca", "cert", "key", "hostname")


@dataclass(frozen=True)
class DeviceUrl:
    """Where a device is and how it is spoken to.

    Args:
        scheme: modbus, sunspec, serial, replay, emulated or mosaik.
        transport: tcp, tls, rtu, rtutcp, serial, socket, or "" where nothing is connected.
        host: of network transports, else "".
        port: of network transports, else 0.
        path: the serial port or the folder, else "".
        unit: Modbus unit, 0 to 255.
        options: the rest of the URL, all of them known to its kind.
    """

    scheme: str
    transport: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    unit: int = 1
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def bus(self) -> str:
        """What devices on one line or behind one host:port have in common: they share one link."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        line = self.scheme if self.scheme == "mosaik" else self.transport or self.scheme
        return f"{line}://{host}:{self.port}" if self.host else f"{line}:{self.path}"

    @property
    def kind(self) -> str:
        """The part before the colon, like modbus+tcp."""
        alone = self.transport in ("", self.scheme)
        return self.scheme if alone else f"{self.scheme}+{self.transport}"

    def number(self, option: str, default: float) -> float:
        """The option as a finite number >= 0."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ValueError(f"device url: {option}={text} is not a number >= 0; write for example {option}=9600")
        return value


def parse(url: str) -> DeviceUrl:
    """The parts of a device URL.

    Raises:
        ValueError: names the part that is wrong and how to write it.
    """
    kind = url.partition(":")[0].lower()
    if kind not in FORMS or ":" not in url:
        close = difflib.get_close_matches(kind, FORMS, n=1)
        fix = f"did you mean {FORMS[close[0]]}?" if close else "there are " + ", ".join(FORMS)
        raise ValueError(f"device url {url!r}: unknown kind {kind!r}; {fix}")
    try:
        parts = urlsplit(url)
    except ValueError as wrong:
        raise ValueError(f"device url {url!r}: {wrong}; write {FORMS[kind]}") from wrong
    scheme, _, transport = kind.partition("+")
    transport = transport or ("serial" if scheme == "serial" else "")
    try:
        return _parse(kind, scheme, transport, parts)
    except ValueError as wrong:
        raise ValueError(f"device url {url!r}: {wrong}; write {FORMS[kind]}") from wrong


def _parse(kind: str, scheme: str, transport: str, parts: SplitResult) -> DeviceUrl:
    if "@" in parts.netloc:
        raise ValueError("user names and passwords are not taken")
    if parts.fragment:
        raise ValueError(f"'#{parts.fragment}' has no meaning here")
    options = _options(scheme, transport, parts.query)
    speaks_modbus = scheme in ("modbus", "sunspec")
    host, port, path, last = "", 0, "", ""
    if transport in NETWORK:
        host, port = _host_port(kind, parts)
        last = parts.path.strip("/")
    elif transport == "serial" or speaks_modbus:
        path, last = _serial_port(unquote(parts.netloc + parts.path), speaks_modbus and "unit" not in options)
        if not path:
            raise ValueError("the serial port is missing")
    else:
        path = unquote(parts.netloc + parts.path)
        if scheme == "replay" and not path:
            raise ValueError("the folder is missing")
    if last and not speaks_modbus:
        raise ValueError(f"'/{last}' has no meaning here")
    if last and "unit" in options:
        raise ValueError(f"the unit stands there twice, as /{last} and unit={options['unit']}")
    unit = _whole("unit", options.pop("unit", last or "1"), 0, 255) if speaks_modbus else 1  # of a recording: a name
    return DeviceUrl(scheme, transport, host, port, path, unit, options)


def _options(scheme: str, transport: str, query: str) -> dict[str, str]:
    known = list(MODBUS) if scheme in ("modbus", "sunspec") else ["codec"] * (scheme == "serial")
    known += ["unit", "shadow"] * (scheme == "replay")
    known += list(LINE) * (transport in ("rtu", "serial")) + list(CERTIFICATES) * (transport == "tls")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            fix = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
            raise ValueError(f"unknown option {name!r}; {fix}")
        if name in options:
            raise ValueError(f"option {name!r} stands there twice")
        if not value:
            raise ValueError(f"option {name!r} has no value")
        options[name] = value
    _one_of(options, "parity", ("N", "E", "O"))
    _one_of(options, "stop_bits", ("1", "2"))
    _one_of(options, "codec", ("cobs", "json"))
    _one_of(options, "write_code", ("6", "16"))
    _one_of(options, "echo", ("yes", "no"))
    _one_of(options, "shadow", ("yes", "no"))
    _one_of(options, "hostname", ("any",))
    if "baud" in options:
        _whole("baud", options["baud"], 50, 20_000_000)
    if "base" in options:
        _whole("base", options["base"], 0, 65535)
    if "quarantine_ms" in options:
        _whole("quarantine_ms", options["quarantine_ms"], 0, 600_000)
    if ("cert" in options) != ("key" in options):
        raise ValueError("cert and key belong together")
    return options


def _one_of(options: dict[str, str], name: str, values: tuple[str, ...]) -> None:
    if name in options and options[name] not in values:
        raise ValueError(f"{name}={options[name]}: there are {', '.join(values)}")


def _whole(name: str, text: str, low: int, high: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not low <= value <= high:
        raise ValueError(f"{name} {text!r} is not a whole number from {low} to {high}")
    return value


def _host_port(kind: str, parts: SplitResult) -> tuple[str, int]:
    if not parts.hostname:
        raise ValueError("the host is missing")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        port = DEFAULT_PORTS.get(kind)
        if port is None:
            raise ValueError("the port is missing")
    if not 1 <= port <= 65535:
        raise ValueError(f"the port in {parts.netloc!r} is not a whole number from 1 to 65535")
    return parts.hostname, port


def _serial_port(path: str, with_unit: bool) -> tuple[str, str]:
    """The port and, where a number stands behind it, the unit; /dev/pts/3 is a port of its own."""
    head, _, tail = path.rpartition("/")
    if with_unit and tail.isdigit() and head not in ("", "/dev/pts"):
        return head, tail
    return path.rstrip("/"), ""
