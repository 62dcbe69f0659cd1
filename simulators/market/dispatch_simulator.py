"""The mosaik wrapper of a distribution system operator: what the network shows becomes set-points, prices and trades.

`Load`, `Generator`, `Compensator`, `Buyer` and `Other` are what it sees and what it tells: voltages of generators,
reactive power of compensators, active power of buyers and of who sells to them. It decides a lead before each slot;
what it tells changes one unit of time before the slot, so that a unit connected with `time_shifted=True` has it when
the slot begins. A slot that is over is settled on the ledger with what its buyers drew at its end.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.market import deals
from gridloop.simulators.market.auction import Trade
from gridloop.simulators.market.dso import Deal, Decision, Dso, Seen, is_whole, terminal_pu
from gridloop.simulators.market.problem import Problem

P_GEN, Q_GEN, P_LOAD, Q_LOAD = "P_gen[MW]", "Q_gen[MVar]", "P_load[MW]", "Q_load[MVar]"
V_SET, P_SET, Q_SET = "V_set[pu]", "P_set[MW]", "Q_set[MVar]"
COLUMNS = (
    "P_loss_before[MW]", "P_loss_after[MW]", "violation[pu]", "feasible[1]", "evaluations[1]", "P_traded[MW]",
)  # fmt: skip
PER_MWH = 1000  # millionths a kWh
NEWS = 0.01  # share of the losses
COST = "cost_{}[USD_per_h]"

META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Load": {"public": True, "any_inputs": False, "params": ["name"], "attrs": [P_LOAD, Q_LOAD]},
        "Generator": {
            "public": True, "any_inputs": False, "params": ["name", "p_set_mw"],
            "attrs": [P_GEN, V_SET, P_SET],
        },
        "Compensator": {"public": True, "any_inputs": False, "params": ["name"], "attrs": [Q_SET]},
        "Buyer": {"public": True, "any_inputs": False, "params": ["name"], "attrs": [P_GEN, P_SET]},
        "Other": {"public": True, "any_inputs": False, "params": ["name", "bus"], "attrs": [P_GEN, Q_GEN]},
    },
}  # fmt: skip


class DispatchSimulator(mosaik_api_v3.Simulator):
    """The operator.

    Args:
        problem: the net with its first setting.
        dso: decides.
        notary: takes trades to the ledger; None without requests.
        sink: takes (time, values of `columns`) of every slot.
        tell: takes what was decided.
        log: takes (t_s, kind, target, outcome).
    """

    def __init__(
        self, problem: Problem, dso: Dso, notary: deals.Notary[Any] | None = None, *, sink: Sink | None = None,
        tell: Callable[[Decision], None] | None = None, log: Callable[[float, str, str, str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._problem, self._dso, self._notary = problem, dso, notary
        self._sink, self._tell, self._log = sink, tell or (lambda _: None), log or (lambda *_: None)
        self._sid, self._resolution = "", 1.0
        self._slot, self._lead = 1, 1
        self._events: list[tuple[int, str, str]] = []
        self._switching: list[tuple[int, str, str]] = []
        self._down = False
        self._loads: list[str] = []
        self._others: dict[str, str] = {}  # name -> bus
        self._generators: dict[str, float] = {}  # name -> set-point without trades [MW]
        self._compensators: list[str] = []
        self._buyers: list[str] = []
        self._decision: Decision | None = None  # that holds
        self._next: Decision | None = None
        self._drawn_mw: dict[int, dict[str, float]] = {}  # of buyers at the end of each slot
        self._unsettled: list[tuple[int, list[deals.Deal]]] = []

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            slot_s: length of a slot.
            lead_s: how long before a slot it is decided; whole seconds where there is a ledger.
            events: (t_s, 'agent_fail' | 'agent_recover', 'dso') (none).
            switching: (t_s, 'unit_trip' | 'unit_start' | 'line_open' | 'line_close', name), of which it knows what
                comes before a slot (none).
        """
        self._sid, self._resolution = sid, time_resolution
        self._slot, self._lead = (round(sim_params.pop(key) / time_resolution) for key in ("slot_s", "lead_s"))
        if not 1 < self._lead < self._slot:
            raise ValueError("Dispatch: lead_s must be shorter than slot_s")
        self._events, self._switching = (
            sorted((round(t_s / time_resolution), *rest) for t_s, *rest in sim_params.pop(key, ()))
            for key in ("events", "switching")
        )
        refuse_unknown("Dispatch", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one of what the operator sees.

        Model parameters:
            name: its name; that of a Load, Generator or Compensator is its name in the problem.
            bus: of an Other.
            p_set_mw: of a Generator, its active power without trades.

        Raises:
            ValueError: more than one at a time, or a name twice.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; each has its own name")
        name = model_params["name"]
        check_names([name], self._loads, self._others, self._generators, self._compensators, self._buyers)
        if model == "Other":
            self._others[name] = model_params["bus"]
        elif model == "Generator":
            self._generators[name] = model_params["p_set_mw"]
        else:
            {"Load": self._loads, "Buyer": self._buyers, "Compensator": self._compensators}[model].append(name)
        return [{"eid": name, "type": model, "rel": []}]

    def setup_done(self) -> None:
        """See that everything of the problem is there.

        Raises:
            ValueError: a demand, source or compensator of the problem is missing.
        """
        problem = self._problem
        for what, wanted, given in (
            ("loads", problem.demands.names, self._loads),
            ("generators", problem.sources.names, self._generators),
            ("compensators", problem.svcs.names, self._compensators),
        ):
            missing = [name for name in wanted if name not in given]
            if missing:
                raise ValueError(f"Dispatch: {what} {', '.join(missing)} of the net are not connected")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what the sink gets."""
        return columns((*self._problem.sources.names, *self._problem.svcs.names))

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Decide on the slot that comes; one unit before it tell the units."""
        self._happen(time)
        slot, phase = divmod(time, self._slot)
        try:
            if time == 0:
                self._decide(0, time, inputs)
                self._decision = self._next
            elif phase == self._slot - self._lead and not self._down:
                self._settle(time)
                self._decide(slot + 1, time, inputs)
            elif phase == self._slot - 1:
                self._adopt(slot, inputs)
        except ValueError as error:
            raise SimulatorFailure(self._sid, "dso", time * self._resolution, error) from error
        start = time - phase
        return next(at for at in (
            start + self._slot - self._lead, start + self._slot - 1, start + 2 * self._slot - self._lead
        ) if at > time)  # fmt: skip

    def _happen(self, time: int) -> None:
        """Take what has happened by now off the list."""
        while self._events and self._events[0][0] <= time:
            at, do, name = self._events.pop(0)
            self._down = do == "agent_fail"
            told = "silent; the units hold their set-points" if self._down else "back"
            self._log(at * self._resolution, do, name, told)

    def _decide(self, slot: int, time: int, inputs: Any) -> None:
        t_s, seen = round(time * self._resolution, 9), self._seen(slot, inputs)
        if self._decision is not None and not is_whole(self._problem, seen.closed):
            self._log(t_s, "dispatch", f"slot {slot}", "the network is split; set-points are held")
            return
        decision = self._next = self._dso.decide(slot, seen)
        for kind, target, outcome in words(decision):
            if kind != "dispatch" or is_news(decision):
                self._log(t_s, kind, target, outcome)
        self._tell(decision)
        self._record(slot, int(t_s), decision)
        if self._sink is not None:
            self._sink(time, np.array(values(decision)))

    def _seen(self, slot: int, inputs: Any) -> Seen:
        """What the network shows, without the trades of the slot that is; what is connected when `slot` begins."""
        problem = self._problem
        running = () if self._decision is None else self._decision.deals
        sold = {name: sum(d.request.p_mw for d in running if d.seller == name) for name in problem.sources.names}

        def of(name: str, *attrs: str) -> complex:
            given = inputs.get(name, {})
            found = []
            for attr in attrs:
                if attr not in given:
                    raise ValueError(f"{name}.{attr} is not connected")
                found.append(only_value(attr, given[attr], name))
            return complex(*found)

        p_gen = [of(name, P_GEN).real - sold[name] for name in problem.sources.names]
        others = np.zeros(problem.network.n_bus, complex)
        for name, bus in self._others.items():
            others[problem.network.row_of_bus(bus)] += of(name, P_GEN, Q_GEN)
        load = np.array([of(name, P_LOAD, Q_LOAD) for name in problem.demands.names], complex)
        last = {name: do for at, do, name in self._switching if at <= slot * self._slot}
        on = np.array([last.get(name) != "unit_trip" for name in problem.svcs.names], bool)
        closed = problem.network.closed.copy()
        for row, name in enumerate(problem.network.branch_names):
            closed[row] = {"line_open": False, "line_close": True}.get(last.get(name, ""), closed[row])
        return Seen(load, np.array(p_gen), others, on, closed)

    def _adopt(self, slot: int, inputs: Any) -> None:
        """From now on the units do what was decided; look at what the buyers drew until now."""
        self._drawn_mw[slot] = {
            name: -only_value(P_GEN, inputs[name][P_GEN], name) for name in self._buyers
        }  # fmt: skip
        if self._next is not None:
            self._decision = self._next

    def _record(self, slot: int, t_s: int, decision: Decision) -> None:
        """Take the trades of a slot to the ledger."""
        if self._notary is None or not decision.deals:
            return
        self._notary.ledger.seal(t_s)
        self._unsettled.append((slot, [self._on_ledger(slot, deal) for deal in decision.deals]))
        self._notary.ledger.seal(t_s)

    def _on_ledger(self, slot: int, deal: Deal) -> deals.Deal:
        assert self._notary is not None
        power_w, price = round(1e6 * deal.request.p_mw), round(PER_MWH * deal.price_per_mwh)
        trade = Trade(deal.seller, deal.request.name, power_w, price)
        mapped = deals.Mapped(round(1e6 * deal.loading), round(1e6 * deal.loss_mw))
        return self._notary.record(slot, trade, {trade.seller: price, trade.buyer: price}, mapped)

    def _settle(self, time: int) -> None:
        """The buyers settle what they drew in slots that are over."""
        if self._notary is None:
            return
        over = [one for one in self._unsettled if (one[0] + 1) * self._slot <= time]
        self._unsettled = [one for one in self._unsettled if one not in over]
        for slot, recorded in over:
            for deal in recorded:
                drawn_w = round(1e6 * self._drawn_mw[slot][deal.trade.buyer])
                self._notary.settle(deal, min(max(drawn_w, 0), deal.trade.power_w))
            self._notary.ledger.seal(int(time * self._resolution))

    def finalize(self) -> None:
        """Let go of the ledger."""
        if self._notary is not None:
            self._notary.ledger.close()

    def get_data(self, outputs: Any) -> Any:
        """Set-points of generators, compensators and buyers."""
        decision = self._decision
        assert decision is not None  # time 0 has one
        problem, deals_now = self._problem, decision.deals
        level = dict(zip(problem.sources.names, terminal_pu(problem, decision.x).tolist(), strict=True))
        q = dict(zip(problem.svcs.names, problem.parts(decision.x)[2].tolist(), strict=True))
        found: dict[str, dict[str, Any]] = {}
        for eid, attrs in outputs.items():
            known: dict[str, float] = {}
            if eid in self._generators:
                sold_mw = sum(deal.request.p_mw for deal in deals_now if deal.seller == eid)
                known = {V_SET: level[eid], P_SET: self._generators[eid] + sold_mw}
            elif eid in q:
                known = {Q_SET: q[eid]}
            elif eid in self._buyers:
                known = {P_SET: -sum(deal.request.p_mw for deal in deals_now if deal.request.name == eid)}
            found[eid] = {attr: known[attr] for attr in attrs}
        return found


def columns(names: Sequence[str]) -> tuple[str, ...]:
    """Names of what is recorded of a slot: fixed ones, and the cost of each source and compensator."""
    return (*COLUMNS, *(COST.format(name) for name in names))


def values(decision: Decision) -> list[float]:
    """What is recorded of a slot."""
    prices, count = decision.prices, len(decision.problem.sources.names) + len(decision.problem.svcs.names)
    return [
        float(decision.before.loss_mw[0]), float(decision.after.loss_mw[0]), float(decision.after.violation_pu[0]),
        float(decision.feasible), float(1 if decision.found is None else decision.found.evaluations),
        sum(deal.request.p_mw for deal in decision.deals),
        *(prices.cost_per_h.tolist() if prices is not None else [float("nan")] * count),
    ]  # fmt: skip


def is_news(decision: Decision) -> bool:
    """Whether the log tells of a dispatch: not of those that change next to nothing, slot after slot."""
    least_mw = (1 - NEWS) * decision.before.loss_mw[0]
    return bool(decision.is_flat or decision.broken or decision.unpriced or decision.after.loss_mw[0] < least_mw)


def words(decision: Decision) -> list[tuple[str, str, str]]:
    """What the log says of a decision: (kind, target, outcome)."""
    loss = f"{decision.before.loss_mw[0]:.4f} MW"
    if decision.found is None:
        fault = f"; INFEASIBLE: {'; '.join(decision.broken)}" if decision.broken else ""
        told = f"setting of the file, {loss}{fault}"
    elif decision.found.feasible:
        told = f"{loss} -> {decision.after.loss_mw[0]:.4f} MW in {decision.found.evaluations} power flows"
    else:
        told = f"INFEASIBLE: {'; '.join(decision.broken)}; set-points are held"
    if decision.unpriced:
        told = f"{told}; not priced: {decision.unpriced}"
    found = [("dispatch", f"slot {decision.slot}", told)]
    for one in decision.matches:
        request, refused = one.request, [f"{o.seller} refused: {', '.join(o.refused)}" for o in one.offers if o.refused]
        chosen = next((o for o in one.offers if o.seller == one.seller), None)
        head = "no seller" if chosen is None else f"{chosen.seller}, losses {chosen.loss_change_percent:+.2f} %"
        told = "; ".join([f"{request.p_mw:g} MW at bus {request.bus}: {head}", *refused])
        found.append(("match", request.name, told))
    return found
