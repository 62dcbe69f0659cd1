"""A link without a wire: requests go to the registers of an emulated device at once, with a clock of the test's own."""

from collections.abc import Sequence

from gridloop.hil.bank import Bank
from gridloop.hil.links import LinkError, Refused, Statistics


class Line:
    """Asks the bank at once; what is in `troubles` happens first, None being nothing."""

    def __init__(self, bank: Bank) -> None:
        self.bank, self.now_s = bank, 1000.0
        self.statistics = Statistics(connected=1)
        self.troubles: list[LinkError | None] = []
        self.is_deaf = False  # requests that fail are not done either
        self.asked: list[tuple[str, str, int, int]] = []

    def clock(self) -> float:
        return self.now_s

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        self.asked.append(("read", function, address, count))
        self._trouble()
        return self._answer(self.bank.read(function, address, count, self.now_s))

    async def write(self, unit: int, function: str, address: int, values: Sequence[int], deadline_s: float) -> None:
        self.asked.append(("write", function, address, len(values)))
        if self.is_deaf:
            self._trouble()
        code = self.bank.write(function, address, values, self.now_s)
        self._trouble()
        self._answer(code or [])

    def _trouble(self) -> None:
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble

    def _answer(self, found: list[int] | int) -> list[int]:
        if isinstance(found, int):
            raise Refused(f"refused ({found})", found)
        return found

    @property
    def writes(self) -> int:
        return sum(kind == "write" for kind, *_ in self.asked)
