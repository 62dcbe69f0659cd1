"""Points of a device merged into few requests, and requests split around addresses that the device refuses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gridloop.hil.points import Function, Point, decode, encode

MOST_READ = 125  # registers that the standard lets one request read
MOST_WRITTEN = 123  # and write


@dataclass(frozen=True)
class Block:
    """One request: `count` registers from `address` on, with the points that stand in them."""

    function: Function
    address: int
    count: int
    points: tuple[Point, ...]

    @property
    def end(self) -> int:
        """Address after the last register."""
        return self.address + self.count

    def values(self, registers: Sequence[int]) -> dict[str, float]:
        """Value of each attr, in its unit, from the registers of an answer; nan = no value.

        Raises:
            ValueError: another count of registers than was asked for.
        """
        if len(registers) != self.count:
            raise ValueError(f"{self.count} registers were asked for, got {len(registers)}")
        return {point.attr: self.value(point, registers) for point in self.points}

    def value(self, point: Point, registers: Sequence[int]) -> float:
        """That of one point, from the registers of an answer."""
        power = _signed(registers[point.power_at - self.address]) if point.power_at >= 0 else 0
        return decode(point, registers[point.address - self.address : point.end - self.address], power)

    def registers(self, values: Mapping[str, float]) -> tuple[list[int], tuple[str, ...]]:
        """Registers to write for a value of each attr, and the attrs that had to be cut to their limits.

        Raises:
            ValueError: a register of the block belongs to no point, or a value is not a number.
        """
        registers: list[int | None] = [None] * self.count
        saturated = []
        for point in self.points:
            numbers, was_cut = encode(point, values[point.attr])
            registers[point.address - self.address : point.end - self.address] = numbers
            if was_cut:
                saturated.append(point.attr)
        whole = [number for number in registers if number is not None]
        if len(whole) != self.count:
            raise ValueError(f"a write of {self.count} registers at {self.address} would overwrite what no point owns")
        return whole, tuple(saturated)


def blocks(points: Iterable[Point], most: int = MOST_READ, gap: int = 0) -> list[Block]:
    """Few reads that bring every point, each in one of them.

    Args:
        most: registers that one request may read.
        gap: registers of no point that are read along rather than made the reason for another request.

    Raises:
        ValueError: a point is wider than `most`.
    """
    found: list[Block] = []
    for point in sorted(points, key=lambda point: (point.function, *point.span)):
        start, end = point.span
        if end - start > most:
            raise ValueError(f"{point.name} takes {end - start} registers, one request {most}")
        last = found[-1] if found else None
        if (
            last is not None and last.function == point.function and start <= last.end + gap
            and end - last.address <= most
        ):  # fmt: skip
            count = max(last.end, end) - last.address
            found[-1] = Block(last.function, last.address, count, (*last.points, point))
        else:
            found.append(Block(point.function, start, end - start, (point,)))
    return found


def write_blocks(points: Iterable[Point], most: int = MOST_WRITTEN) -> list[Block]:
    """Writes in the order of `points` (a value before its enable); only what follows without a gap is merged."""
    found: list[Block] = []
    for point in points:
        last = found[-1] if found else None
        if (
            last is not None and last.function == point.function and point.address == last.end
            and point.end - last.address <= most
        ):  # fmt: skip
            found[-1] = Block(last.function, last.address, point.end - last.address, (*last.points, point))
        else:
            found.append(Block(point.function, point.address, point.width, (point,)))
    return found


def split_around(block: Block, hole: int | None = None) -> list[Block]:
    """Smaller reads in place of one that the device refuses as a whole.

    Args:
        hole: address that is known not to exist: its points are given up. None = not known: the block is split
            at the registers of no point, else in two halves; a single point that is refused is given up.

    Returns:
        Blocks that together hold the points that are left; each is smaller than `block`.
    """
    if hole is not None:
        before = [point for point in block.points if point.span[1] <= hole]
        after = [point for point in block.points if point.span[0] > hole]
        return [*blocks(before, gap=block.count), *blocks(after, gap=block.count)]
    parts = blocks(block.points)
    if len(parts) > 1:
        return parts
    points = block.points
    ends = [max(point.span[1] for point in points[:index]) for index in range(1, len(points))]
    cuts = [index for index, end in enumerate(ends, start=1) if points[index].span[0] >= end]
    if not cuts:
        return []
    cut = min(cuts, key=lambda index: abs(2 * index - len(points)))
    return [*blocks(points[:cut]), *blocks(points[cut:])]


def _signed(register: int) -> int:
    return register - 0x10000 if register >= 0x8000 else register
