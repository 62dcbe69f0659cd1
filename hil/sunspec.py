"""Finds the models of a SunSpec device: says which registers to read and takes what they hold. Pure.

scan = Scan()
while scan.request is not None:
    address, count = scan.request
    scan.answer(...)              # the holding registers, or None when they were refused or did not come
device = scan.device()
"""

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

from gridloop.hil.sunspec_models import HEAD, SunSpecError, SunSpecModel, name_of

BASES = (40000, 0, 50000)  # where the standard lets the models begin, counted from 0
MARK = [0x5375, 0x6E53]  # 'SunS'
END = 0xFFFF
MOST_MODELS = 100
MOST = 125  # registers in one request

# what sunspec_map makes use of
NEEDED = frozenset({1, 101, 102, 103, 111, 112, 113, 120, 121, 123, 124, 701, 702, 704, 705, 711, 713, 715})

Request = tuple[int, int]


@dataclass(frozen=True)
class SunSpecDevice:
    """What a scan found: every model's id, address and length, and the registers of those that were read."""

    base: int
    directory: tuple[tuple[int, int, int], ...]
    models: tuple[SunSpecModel, ...]
    notes: tuple[str, ...] = ()  # what was odd about it

    def model(self, *ids: int) -> SunSpecModel | None:
        """The first model that was read with one of these ids, which are in the order of preference."""
        return next((model for id in ids for model in self.models if model.id == id), None)

    @property
    def identity(self) -> dict[str, str]:
        """Manufacturer, model, version and serial number as the device tells them."""
        common = self.model(1)
        keys = {"manufacturer": "Mn", "model": "Md", "version": "Vr", "serial_number": "SN"}
        return {} if common is None else {key: common.text(path) for key, path in keys.items()}


class Scan:
    """The conversation that finds a device's models; `request` is (address, count), None at the end.

    Args:
        bases: addresses to look for the mark at, from 0.
        wanted: ids of the models whose registers are read; None = all that are defined.
    """

    def __init__(self, bases: Sequence[int] = BASES, wanted: Collection[int] | None = NEEDED) -> None:
        self._bases = tuple(bases)
        self._wanted = wanted
        self._base: int | None = None
        self._directory: list[tuple[int, int, int]] = []
        self._models: list[SunSpecModel] = []
        self._notes: list[str] = []
        self._steps = self._conversation()
        self.request: Request | None = None
        self._go_on(None)

    def answer(self, registers: Sequence[int] | None) -> None:
        """Take the answer to `request`; None, or another count than was asked for, is no answer."""
        if self.request is not None and registers is not None and len(registers) != self.request[1]:
            registers = None
        self._go_on(registers)

    def device(self) -> SunSpecDevice:
        """What was found.

        Raises:
            SunSpecError: no mark, or no model behind it.
        """
        if self._base is None:
            places = ", ".join(str(base) for base in self._bases)
            raise SunSpecError(
                f"no SunSpec mark at register {places}: is the unit right, and SunSpec switched on? `base=` gives "
                "another address, counted from 0"
            )
        if not self._directory:
            raise SunSpecError(f"a SunSpec mark at register {self._base}, but no model behind it")
        return SunSpecDevice(self._base, tuple(self._directory), tuple(self._models), tuple(self._notes))

    def _go_on(self, registers: Sequence[int] | None) -> None:
        try:
            self.request = self._steps.send(registers)
        except StopIteration:
            self.request = None

    def _conversation(self) -> Generator[Request, Sequence[int] | None, None]:
        for base in self._bases:
            mark = yield base, len(MARK)
            if mark is not None and list(mark) == MARK:
                self._base = base
                yield from self._read_directory(base + len(MARK))
                break
        for model, address, length in self._directory:
            if name_of(model) and (self._wanted is None or model in self._wanted):
                yield from self._read_model(model, address, length)

    def _read_directory(self, address: int) -> Generator[Request, Sequence[int] | None, None]:
        for _ in range(MOST_MODELS):
            if address + HEAD > 0x10000:
                self._notes.append("the models run beyond register 65535")
                return
            head = yield address, HEAD
            if head is None:
                self._notes.append(f"no end of the models: register {address} cannot be read")
                return
            model, length = head
            if model == END:
                return
            if model == 0 or address + HEAD + length > 0x10000:
                self._notes.append(f"register {address} holds no model: id {model}, length {length}")
                return
            self._directory.append((model, address, length))
            address += HEAD + length
        self._notes.append(f"more than {MOST_MODELS} models: the rest is left out")

    def _read_model(self, model: int, address: int, length: int) -> Generator[Request, Sequence[int] | None, None]:
        registers: list[int] = []
        while len(registers) < HEAD + length:
            part = yield address + len(registers), min(MOST, HEAD + length - len(registers))
            if part is None:
                self._notes.append(f"model {model} at register {address} cannot be read")
                return
            registers += part
        if tuple(registers[:HEAD]) != (model, length):
            self._notes.append(f"model {model} at register {address} changed while it was read")
            return
        self._models.append(SunSpecModel(model, address, tuple(registers)))
