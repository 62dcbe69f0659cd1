"""What can go wrong with an emulated device."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

Kind = Literal["late", "silent", "frozen", "exception", "wrong_unit", "nan", "drop", "slow", "restart"]
KINDS: tuple[str, ...] = ("late", "silent", "frozen", "exception", "wrong_unit", "nan", "drop", "slow", "restart")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with an emulated device, until it is cleared or `count` requests met it.

    Args:
        kind: late (the answer comes after `delay_s`), silent (no answer, but what was asked is done), frozen (shows
            what it showed, takes writes without doing them), exception (answers `code`), wrong_unit (answers as
            the next unit), nan (shows no numbers), drop (closes the connection at a request), slow (the answer
            comes byte by byte over `delay_s`), restart (gone for `delay_s`, then there with its defaults).
        delay_s: see above [s].
        code: of the exception.
        on: the requests that meet it: all, read or write.
        count: how many requests meet it.
    """

    kind: Kind
    delay_s: float = 0.3
    code: int = 4
    on: Literal["all", "read", "write"] = "all"
    count: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r}: one of {', '.join(KINDS)}")
        if self.on not in ("all", "read", "write") or self.delay_s < 0 or not 1 <= self.code <= 255 or self.count < 1:
            raise ValueError(f"fault {self}: on = all, read or write; delay_s >= 0; code 1 to 255; count >= 1")

    @classmethod
    def from_text(cls, text: str) -> "Fault":
        """A fault as written on a command line: `late`, `late:delay_s=0.2,count=5`, `exception:code=6,on=write`.

        Raises:
            ValueError: what is wrong with it and how it is written.
        """
        kind, _, rest = text.partition(":")
        options: dict[str, Any] = {}
        for word in filter(None, rest.split(",")):
            key, equals, value = word.partition("=")
            if not equals or key not in ("delay_s", "code", "on", "count"):
                raise ValueError(f"fault {text!r}: write KIND:KEY=VALUE,... with delay_s, code, on, count")
            try:
                options[key] = value if key == "on" else int(value) if key in ("code", "count") else float(value)
            except ValueError as error:
                raise ValueError(f"fault {text!r}: {value!r} is not a number") from error
        return cls(cast(Kind, kind), **options)


def met(faults: list[Fault], request: Literal["all", "read", "write"] = "all") -> dict[str, Fault]:
    """The faults that a request meets, by kind; what it uses up is taken out of the list.

    Args:
        faults: that there are.
        request: read, write or, where it does both, all.
    """
    now = [fault for fault in faults if request == "all" or fault.on in ("all", request)]
    for fault in now:
        faults.remove(fault)
        if fault.count > 1:
            faults.append(replace(fault, count=fault.count - 1))
    return {fault.kind: fault for fault in now}
