"""The reactive-power paper's figures beside ours: what reproduces, what only with a misprint, and what cannot.

Source: Danalakshmi et al., Energies 13 (2020) 6179. Its figures stand here; ours are computed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.matching import Request, match
from gridloop.simulators.market.net import DispatchNet, dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from gridloop.simulators.market.pricing import Prices, price
from gridloop.simulators.market.problem import KINDS

NETS = {
    "orpd9-0": "case9 as it is, with tap changers",
    "orpd9-1": "case 1: 200 Mvar at bus 9",
    "orpd9": "case 2: the same with an SVC at bus 9",
}
SAME, NEAR = 0.005, 0.10  # relative distance that counts as reproduced, and as approximate

BASE_LOSS_MW, OPTIMUM_MW, CASE_1_LOSS_MW = 4.95, 4.75, 4.70
TABLE_3 = {"orpd9-1": (285.9, 71.2, 22.2), "orpd9": (57.45, 12.94, 3.63)}
SVC_COST, TOTALS = 287.0, {"orpd9-1": 379.0, "orpd9": 361.0}
TABLE_4 = {
    ("orpd9-1", "g1", "load9"): 285.97, ("orpd9-1", "g2", "load9"): 71.2,
    ("orpd9-1", "g3", "load5"): 11.04, ("orpd9-1", "g3", "load7"): 9.14, ("orpd9-1", "g3", "load9"): 2.007,
    ("orpd9", "g1", "load5"): 7.136, ("orpd9", "g1", "load9"): 50.304,
    ("orpd9", "g2", "load7"): 3.01, ("orpd9", "g2", "load9"): 9.94,
    ("orpd9", "g3", "load5"): 1.84, ("orpd9", "g3", "load7"): 1.79, ("orpd9", "g3", "load9"): 0.0,
}  # fmt: skip
TABLE_5 = {"7": (3.41, 1.46, 0.53), "5": (1.07, 5.83, 4.94)}  # % for sellers 1, 2, 3
SAID_MW = {"7": 100.0, "5": 125.0}  # what the paper says was traded
TRADED_MW = 5.0  # what its figures show


@dataclass(frozen=True)
class Figure:
    """One figure of the paper beside ours, `misprint` with line 5-6 as its prices imply."""

    what: str
    unit: str
    paper: float
    ours: float
    misprint: float | None = None
    least: bool = False  # ours is the least there is

    @property
    def verdict(self) -> str:
        """Whether the paper's figure follows."""
        if _apart(self.paper, self.ours) <= SAME:
            return "reproduces"
        if self.least:
            return "impossible: below the least" if self.paper < self.ours else "does not reproduce: not the least"
        if self.misprint is not None and _apart(self.paper, self.misprint) <= SAME:
            return "reproduces with the misprint"
        for found, words in ((self.ours, "approximately"), (self.misprint, "approximately, with the misprint")):
            if found is not None and _apart(self.paper, abs(found)) <= NEAR:
                return words + (", sign lost" if found * self.paper < 0 else "")
        return "does not reproduce"


def _apart(paper: float, ours: float) -> float:
    return abs(ours - paper) / max(abs(paper), 1e-3)


@cache
def paper_net(name: str, misprint: bool = False, kinds: tuple[str, ...] = KINDS) -> DispatchNet:
    """One of NETS; made once, it is read-only."""
    q9, svc = (50.0, None) if name == "orpd9-0" else (200.0, None if name == "orpd9-1" else 100.0)
    return dispatch_net(orpd9(q9, svc, misprint), kinds)


def loss_figures() -> list[Figure]:
    """Losses before and after dispatch."""
    found = {name: dispatch(newton(paper_net(name).problem)) for name in NETS}
    return [
        Figure("base loss, V = 1", "MW", BASE_LOSS_MW, float(found["orpd9-0"].before.loss_mw[0])),
        Figure("case 1, least loss", "MW", CASE_1_LOSS_MW, found["orpd9-1"].loss_mw, least=True),
        Figure("case 2, least loss", "MW", OPTIMUM_MW, found["orpd9"].loss_mw, least=True),
    ]


def price_figures() -> list[Figure]:
    """Tables 3 and 4: prices at the flat setting, which is where the paper's were taken in spite of its text."""
    figures, priced = [], {}
    for name in ("orpd9-1", "orpd9"):
        true, printed = (_priced(paper_net(name, misprint)) for misprint in (False, True))
        priced[name] = (true, printed)
        for row, (source, paper) in enumerate(zip(true.names, TABLE_3[name], strict=False)):
            what = f"table 3, case {_case(name)}, {source}"
            figures.append(Figure(what, "$/h", paper, float(true.cost_per_h[row]), float(printed.cost_per_h[row])))
    true, printed = priced["orpd9"]
    figures.append(Figure("table 4, SVC", "$/h", SVC_COST, float(true.cost_per_h[3]), float(printed.cost_per_h[3])))
    for name, paper in TOTALS.items():
        with_true, with_misprint = (float(prices.cost_per_h.sum()) for prices in priced[name])
        figures.append(Figure(f"table 4, case {_case(name)}, total", "$/h", paper, with_true, with_misprint))
    for (name, source, load), paper in TABLE_4.items():
        with_true, with_misprint = (
            float(p.share_per_h[p.load_names.index(load), p.names.index(source)]) for p in priced[name]
        )
        figures.append(
            Figure(f"table 4, case {_case(name)}, {source} to {load}", "$/h", paper, with_true, with_misprint)
        )
    return figures


def match_figures() -> list[Figure]:
    """Table 5: change of losses for each seller, at what the paper says was traded and at what its figures show."""
    problem, figures = paper_net("orpd9-0").problem, []
    for amount in (None, TRADED_MW):
        for bus, papers in TABLE_5.items():
            request = Request(f"bus {bus}", bus, amount or SAID_MW[bus])
            offers = match(problem, [request])[0].offers
            for paper, offer in zip(papers, offers, strict=True):
                what = f"table 5, {offer.seller} to bus {bus}, {request.p_mw:g} MW"
                figures.append(Figure(what, "%", paper, offer.loss_change_percent))
    return figures


def as_rows(figures: Iterable[Figure]) -> list[dict[str, str]]:
    """For a table."""
    return [
        {"figure": f.what, "unit": f.unit, "paper": f"{f.paper:9.3f}", "ours": f"{f.ours:9.3f}",
         "with misprint": "" if f.misprint is None else f"{f.misprint:9.3f}", "verdict": f.verdict}
        for f in figures
    ]  # fmt: skip


def as_json(figures: Iterable[Figure]) -> list[dict[str, object]]:
    """For --json."""
    return [vars(f) | {"verdict": f.verdict} for f in figures]


def _case(name: str) -> int:
    return 1 if name == "orpd9-1" else 2


def _priced(net: DispatchNet) -> Prices:
    return price(net.problem, net.problem.start, svc_rating="lines")
