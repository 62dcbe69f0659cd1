"""Communication as a file describes it: the graph, what links are like, and signals over links of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from gridloop.scenarios.parts import Attribute, NotNegative, Part, Positive, Switch
from gridloop.simulators.models.channel import KINDS, Burst, Jitter
from gridloop.simulators.models.graph import GRAPHS

NAME = {"type": ["string", "integer"]}
PAIRS = {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": NAME}}
TRACE = {"type": "array", "minItems": 1, "items": {"type": "number", "minimum": 0}}


def _graph(value: Any) -> Any:
    """A graph's name, or its edges with their names as text."""
    if isinstance(value, str):
        if value not in GRAPHS:
            raise ValueError(f"must be {', '.join(GRAPHS)}, or a list of pairs such as [[a, b], [b, c]]")
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(pair, list | tuple) for pair in value):
        raise ValueError(f"must be {', '.join(GRAPHS)}, or a list of pairs such as [[a, b], [b, c]]")
    for pair in value:
        if len(pair) != 2 or not all(type(name) in (str, int) for name in pair):
            raise ValueError("must hold pairs of names such as [[a, b], [b, c]]")
    return tuple(tuple(str(name) for name in pair) for pair in value)


def _trace(value: Any) -> Any:
    """Measured values, or the name of a file of them."""
    if isinstance(value, str):
        return value
    numbers = isinstance(value, list | tuple) and all(type(one) in (int, float) and 0 <= one < 1e300 for one in value)
    if not numbers or not value:
        raise ValueError("must be a list of numbers [ms], each at least 0, or the name of a file of them")
    return tuple(float(one) for one in value)


Percent = Annotated[NotNegative, Field(le=100)]
Graph = Annotated[
    str | tuple[tuple[str, str], ...], BeforeValidator(_graph),
    WithJsonSchema({"anyOf": [{"enum": list(GRAPHS)}, PAIRS]}),
]  # fmt: skip
Trace = Annotated[
    str | tuple[float, ...], BeforeValidator(_trace), WithJsonSchema({"anyOf": [{"type": "string"}, TRACE]}),
]  # fmt: skip


class LinkJitter(Part):
    """How the delay scatters around its mean."""

    kind: Literal[KINDS]  # type: ignore[valid-type]
    """distribution; trace: measured values that are added to the delay, one after the other"""
    percent: NotNegative | None = None
    """spread, percent of the delay: the half width of uniform, the standard deviation of normal and lognormal"""
    ms: NotNegative | None = None
    """or the spread itself [ms]"""
    trace: Trace | None = None
    """measured values [ms], or a file of them, one a line, beside this one"""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = {"kind": self.kind, "percent": self.percent, "ms": self.ms, "trace": self.trace or ()}
        Jitter(**given if not isinstance(self.trace, str) else given | {"trace": (0.0,)})
        return self


class LinkBurst(Part):
    """Losses that come together: a good state, in which loss_percent holds, and a bad one."""

    good_to_bad_percent: Percent
    """chance of every message to turn the good state bad [percent]"""
    bad_to_good_percent: Percent
    """chance of every message to turn the bad state good [percent]"""
    loss_bad_percent: Percent = 100.0
    """messages lost in the bad state [percent]"""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        try:
            Burst(**dict(self))
        except ValueError as error:
            raise ValueError(str(error).removeprefix("burst: ")) from error
        return self


class LinkKeys(Part):
    """What a link is like; of a single link: what it has different from all."""

    delay_ms: NotNegative | None = None
    """mean delay [ms]; absent: 0"""
    jitter: LinkJitter | None = None
    """how the delay scatters; absent: it does not"""
    loss_percent: Percent | None = None
    """messages that are lost, each by itself [percent]; absent: 0"""
    burst: LinkBurst | None = None
    """losses that come together; absent: they do not"""
    bandwidth_bit_per_s: Positive | None = None
    """of the line: a message waits until those before it are out [bit/s]; absent: no limit"""
    queue_bytes: NotNegative | None = None
    """a message is dropped when more than this waits before it; absent: no limit"""
    rto_ms: Annotated[Positive, Field(ge=1e-3)] | None = None
    """lost messages are sent again after this time [ms]; absent: they are not"""
    fifo: Switch | None = None
    """whether messages arrive in the order of sending; absent: one may overtake another"""
    message_bytes: NotNegative | None = None
    """size of a message; absent: 64"""

    @property
    def given(self) -> dict[str, Any]:
        """The keys of a link that stand here, as plain values."""
        return self.model_dump(include=set(LinkKeys.model_fields), exclude_none=True)


class SignalLink(LinkKeys):
    """A connection from any entity to a unit over a link of its own, and what that has different from all."""

    attr: Attribute
    """what the sender shows, such as f[Hz]"""
    to_attr: Attribute
    """which input of the receiving unit it becomes, such as f_meas[Hz]"""
    period_ms: Positive | None = None
    """time between two messages [ms]; absent: step_ms"""


class Comms(LinkKeys):
    """Communication: who talks to whom, and what all links are like."""

    graph: Graph = "line"
    """who talks to whom: line, ring, star or full, over the members in their order, or a list of pairs"""
    links: dict[str, LinkKeys] = Field(default_factory=dict)
    """by SENDER->RECEIVER: what a single link has different from all"""
    signals: dict[str, SignalLink] = Field(default_factory=dict)
    """by SENDER->RECEIVER: connections of any entity to a unit over a link of their own"""
    _folder_of: Callable[..., Path] = PrivateAttr(default_factory=lambda: lambda *path: Path())

    def link_settings(self, name: str, unit: str = "", keys: LinkKeys | None = None) -> dict[str, Any]:
        """What `CommSimulator.create` takes of a link: its own keys where it has some, otherwise those of all.

        Of the links of a unit's device `keys`, which stand there, come before those of all.
        """
        whole = self.given
        path: dict[str, tuple[str, ...]] = dict.fromkeys(whole, ("comms",))
        if keys is not None:
            whole |= keys.given
            path |= dict.fromkeys(keys.given, ("units", unit, "device", "comms"))
        for section, ours in (("links", self.links), ("signals", self.signals)):
            own = ours[name].given if name in ours else {}
            whole |= own
            path |= dict.fromkeys(own, ("comms", section, name))
        trace = whole["jitter"].get("trace") if "jitter" in whole else None
        if isinstance(trace, str):
            file = self._folder_of(*path["jitter"], "jitter", "trace") / trace
            whole["jitter"] = {**whole["jitter"], "trace": str(file)}
        return whole


def changed(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A link's settings with `key`, such as delay_ms or jitter.percent, set to a value."""
    head, _, part = key.partition(".")
    return {**settings, head: {**(settings.get(head) or {}), part: value} if part else value}
