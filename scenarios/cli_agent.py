"""The command `agent`: be the physical agent of a unit on this machine, as `agent.py` is one on a Raspberry Pi."""

import sys
from typing import Annotated

import typer

from gridloop.scenarios.console import Debug, user_errors

# every other option is agent.py's own, `--help` too
AS_THEY_COME = {"allow_extra_args": True, "ignore_unknown_options": True}
HELP = """gridloop agent --listen 5040 --of UNIT.agent --scenario NAME

With --of UNIT or UNIT.agent and --scenario NAME the settings are those of the scenario; options given here go before.
With --options they are only printed, one a line: a file for `agent.py @FILE`. All else is as of agent.py:
"""


def agent(
    context: typer.Context,
    of: Annotated[str, typer.Option("--of", metavar="NAME", help="A unit of --scenario, or UNIT.agent.")] = "",
    scenario: Annotated[str, typer.Option("--scenario", metavar="NAME", help="Whose settings it takes.")] = "",
    only_options: Annotated[bool, typer.Option("--options", help="Only print them, for `agent.py @FILE`.")] = False,
    debug: Debug = False,
) -> None:
    """Be a unit's agent or droop inverter over a serial line or TCP, as agent.py on a Raspberry Pi, until ended."""
    from gridloop.hil import agent as pi

    sys.argv[0] = "gridloop agent"  # for its messages
    if {"--help", "-h"} & {*context.args}:
        print(HELP)
        pi.main(["--help"])
    with user_errors(debug):
        given = _options(of, scenario)
    if only_options:
        print("\n".join(given))
    else:
        pi.main([*given, *context.args])


def _options(of: str, scenario: str) -> list[str]:
    """What the agent of a unit, or the unit, is started with."""
    if bool(of) != bool(scenario):
        raise ValueError("--of and --scenario belong together: --of batt1.agent --scenario microgrid9")
    if not of:
        return []
    from gridloop.scenarios.agent_settings import options_for
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.start import plan

    return options_for(plan(load(scenario)), of)
