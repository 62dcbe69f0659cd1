"""Parts of a scenario that controllers outside may read and drive, as a file describes them."""

from typing import Annotated

from pydantic import Field

from gridloop.scenarios.parts import Part, Switch


class Served(Part):
    """A unit, bus or meter that is shown as a Modbus device while the scenario runs."""

    url: Annotated[str, Field(min_length=1)]
    """where it listens: modbus+tcp://127.0.0.1:5021/1?map=generic_inverter"""
    anywhere: Switch = False
    """whether it may listen on an address that other machines reach"""
