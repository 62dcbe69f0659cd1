"""The commands `market`: dispatch reactive power, price it, match buyers with sellers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridloop.scenarios.cli_ledger import ledger
from gridloop.scenarios.console import EXIT, AsJson, Debug, line, out, user_errors

if TYPE_CHECKING:
    from gridloop.simulators.market.dispatch import Dispatch
    from gridloop.simulators.market.matching import Request
    from gridloop.simulators.market.net import DispatchNet
    from gridloop.simulators.market.problem import Problem
    from gridloop.simulators.models.network import Real

market = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, name="market",
    help="The market: orpd, price, match, ledger.",
)  # fmt: skip

market.add_typer(ledger)

Net = Annotated[
    str,
    typer.Argument(metavar="NET", help="A network of pandapower (case30), a .json file of one, or a case of the "
                                       "reactive-power paper: orpd9-0, orpd9-1, orpd9."),
]  # fmt: skip
Controls = Annotated[str, typer.Option("--controls", metavar="LIST", help="What may be moved, of voltages,taps,svcs.")]
Misprint = Annotated[bool, typer.Option("--misprint", help="orpd9 with line 5-6 as the paper's prices imply.")]
Method = Annotated[str, typer.Option("--method", help="slsqp (exact derivatives) or sbde (evolution).")]
Power = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="Power flow: auto, newton, lightsim2grid, pandapower.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of sbde; the same seed gives the same result to the bit.")]


@market.command()
def orpd(  # noqa: PLR0913 - the options of a command
    net: Net, method: Method = "slsqp",
    profile: Annotated[str, typer.Option("--profile", help="Of sbde: default or paper.")] = "default",
    backend: Power = "auto", seed: Seed = 0, controls: Controls = "voltages,taps,svcs",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the net with its best setting (.json).")
    ] = None,
    misprint: Misprint = False, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Find the voltages, taps and SVC outputs at which a net loses least; exit code 1 if no limits can be kept."""
    with user_errors(debug):
        from gridloop.scenarios.market_paper import NETS, loss_figures
        from gridloop.scenarios.market_tables import dispatch_json, figures_json, finite, show_dispatch, show_figures
        from gridloop.simulators.market import backends, dispatch

        given = _net(net, misprint, controls)
        power = backends.backend(given, backend)
        found = dispatch.dispatch(power, method, seed, profile)
        check_mw = backends.referee(given, found.x)[0]
        if save is not None:
            _save(given, found, save)
        figures = loss_figures() if net in NETS else []
        if as_json:
            print(json.dumps(finite(dispatch_json(found, check_mw, power.remark) | figures_json(figures))))
        else:
            show_dispatch(found, check_mw, power.remark)
            show_figures(figures)
            if save is not None:
                line(out, "saved", str(save))
        raise typer.Exit(0 if found.feasible else EXIT["failed"])


@market.command("price")
def price_(  # noqa: PLR0913 - the options of a command
    net: Net,
    pricing: Annotated[
        str, typer.Option("--pricing", help="apparent (the paper's equation) or capability (lost capacity).")
    ] = "apparent",
    svc_rating: Annotated[
        str, typer.Option("--svc-rating", help="Size of an SVC: its output, or what it takes off the lines to it.")
    ] = "output",
    years: Annotated[float, typer.Option("--years", help="Over which an SVC is paid off.")] = 5.0,
    optimal: Annotated[bool, typer.Option("--optimal", help="At the least loss, not at the net's setting.")] = False,
    misprint: Misprint = False, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Price the reactive power of every generator and SVC, and share it among the loads that it feeds."""
    with user_errors(debug):
        from gridloop.scenarios.market_paper import NETS, price_figures
        from gridloop.scenarios.market_tables import figures_json, finite, prices_json, show_figures, show_prices
        from gridloop.simulators.market.pricing import price

        problem = _net(net, misprint).problem
        x = _optimum(problem) if optimal else problem.start
        prices = price(problem, x, pricing, svc_rating, years)
        figures = price_figures() if net in NETS else []
        if as_json:
            print(json.dumps(finite(prices_json(prices) | figures_json(figures))))
            return
        show_prices(prices)
        show_figures(figures)


@market.command("match")
def match_(
    net: Net,
    buy: Annotated[
        list[str] | None,
        typer.Option("--buy", metavar="BUS=MW[@START-END]", help="A request, hours: --buy 7=100@0-2. Repeat it; "
                                                                 "the first come is served first."),
    ] = None,
    seller: Annotated[
        list[str] | None, typer.Option("--seller", help="Who sells (g2); all generators if absent.")
    ] = None,
    optimal: Annotated[bool, typer.Option("--optimal", help="On the least loss, not on the net's setting.")] = False,
    misprint: Misprint = False, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Match each buyer with the seller of least loss whose transaction overloads no line."""
    with user_errors(debug):
        from dataclasses import asdict

        from gridloop.scenarios.market_paper import NETS, match_figures
        from gridloop.scenarios.market_tables import figures_json, finite, show_figures, show_match
        from gridloop.simulators.market.matching import match

        if not buy and net not in NETS:
            raise ValueError("say what is bought: --buy BUS=MW, e.g. --buy 7=100@0-2")
        requests = [_request(word) for word in buy or []]
        problem = _net(net, misprint).problem
        if optimal:
            problem = problem.at(_optimum(problem))
        found = match(problem, requests, seller or ())
        figures = [] if requests else match_figures()
        if as_json:
            print(json.dumps(finite({"matches": [asdict(one) for one in found]} | figures_json(figures))))
            return
        for one in found:
            show_match(one)
        show_figures(figures)


def _net(name: str, misprint: bool, controls: str = "voltages,taps,svcs") -> "DispatchNet":
    """The net of a command's argument."""
    from gridloop.scenarios.market_paper import NETS, paper_net
    from gridloop.simulators.market.net import read_net

    kinds = tuple(kind for kind in controls.split(",") if kind)
    if name in NETS:
        return paper_net(name, misprint, kinds)
    if misprint:
        raise ValueError(f"--misprint is for {', '.join(NETS)}")
    return read_net(name, Path(), kinds)


def _optimum(problem: "Problem") -> "Real":
    """The setting of least loss; refused where none keeps the limits."""
    from gridloop.simulators.market.dispatch import dispatch
    from gridloop.simulators.market.limits import newton

    found = dispatch(newton(problem))
    if not found.feasible:
        raise ValueError(f"no setting keeps all limits: {'; '.join(found.broken)}")
    return found.x


def _request(word: str) -> "Request":
    """`7=100@0-2` as a request."""
    from gridloop.simulators.market.matching import Request

    bus, equals, rest = word.partition("=")
    amount, _, window = rest.partition("@")
    start, dash, end = window.partition("-")
    try:
        if not equals or bool(window) != bool(dash):
            raise ValueError("BUS=MW or BUS=MW@START-END is missing a part")
        return Request(word, bus, float(amount), float(start) if window else 0.0, float(end) if window else 1.0)
    except ValueError as error:
        raise ValueError(f"--buy {word}: {error}; write BUS=MW, e.g. --buy 7=100, or --buy 7=100@0-2") from error


def _save(given: "DispatchNet", found: "Dispatch", file: Path) -> None:
    import pandapower

    from gridloop.simulators.market.net import with_setting

    if file.suffix != ".json":
        raise ValueError(f"--save {file}: a net is written to a .json file")
    pandapower.to_json(with_setting(given, found.x), str(file))
