"""One unit's model in a simulator on another machine, attached as a device: `mosaik+tcp://HOST:PORT`.

    python -m gridloop.simulators inverter HOST:PORT --listen      or a model of your own, MODULE:MODEL

It is asked at every step and drives its unit; when it is gone, what `on_loss` says happens, and it does not come back
within the run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from gridloop.hil.io import percentiles_ms
from gridloop.hil.links import LinkError, Timeout
from gridloop.hil.mosaik_link import MosaikLink
from gridloop.scenarios.device_plan import DeviceRow
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.groups import Group
from gridloop.scenarios.start import Plan
from gridloop.simulators.wire import to_lists

PATIENCE_MS = 2000.0  # with a step, where no deadline is given: a simulator runs at no pace


class RemoteUnit(EmulatedDevice):
    """A unit's model behind mosaik's protocol; `link` is closed by whoever made it."""

    def __init__(
        self, link: MosaikLink, group: Group, row: int, s_base_mva: float, step_ms: float, changes: Sequence[Any]
    ) -> None:  # fmt: skip
        self._link, self._is_gone = link, False
        self._asked, self._lost = 0, Counter[str]()
        super().__init__(group, row, s_base_mva, step_ms, changes, simulator=_Sent(link))

    def post(self, values: dict[str, float]) -> None:
        """Move on; one that is late may be in time at the next step, one that is gone is lost for this run."""
        if self._is_gone:
            return
        self._asked, self.fault = self._asked + 1, ""
        try:
            super().post(values)
        except LinkError as error:
            self.fault, self._is_gone = str(error), not isinstance(error, Timeout)
            self._lost[error.cause] += 1

    def statistics(self) -> Mapping[str, Any]:
        """Of its steps."""
        rtt_s = self._link.rtt_s
        return {
            "requests": self._asked, "answers": self._sequence, "lost": dict(self._lost),
            "rtt_ms": percentiles_ms(rtt_s),
        }  # fmt: skip


@contextmanager
def remote_unit(plan: Plan, one: DeviceRow) -> Iterator[RemoteUnit]:
    """The device of a unit, for as long as a run lasts.

    Raises:
        LinkError: no simulator of the unit's model listens there.
    """
    changes = [(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit == one.unit]
    link = MosaikLink(one.url.host, one.url.port, (one.device.deadline_ms or PATIENCE_MS) * 1e-3)
    try:
        scenario = plan.scenario
        yield RemoteUnit(
            link, plan.groups[one.group], one.row, plan.case.network.s_base_mva, scenario.step_ms, changes
        )  # fmt: skip
    finally:
        link.close()


class _Sent:
    """A simulator whose parameters take the form that JSON can carry."""

    def __init__(self, link: MosaikLink) -> None:
        self.init, self.step, self.get_data, self._link = link.init, link.step, link.get_data, link

    def create(self, num: int, model: str, *, params: Any, **more: Any) -> Any:
        columns = {field.name: to_lists(getattr(params, field.name)) for field in fields(params)}
        return self._link.create(num, model, params=columns, **{name: to_lists(value) for name, value in more.items()})
