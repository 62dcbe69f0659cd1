"""A source that keeps its voltage and frequency whatever it has to give."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.ports import Model, Port


@dataclass(frozen=True)
class Params:
    s_rated_kva: Any
    v_set_pu: Any = 1.0
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})


class State(NamedTuple):
    angle_rad: Any


class Inputs(NamedTuple):
    v_set_pu: Any


class Slopes(NamedTuple):
    pass


class Outputs(NamedTuple):
    emf_pu: Any
    f_hz: Any


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    return Outputs(u.v_set_pu * np.exp(1j * s.angle_rad), np.full(len(s.angle_rad), p.f_nom_hz))


MODEL = Model(
    name="Stiff",
    params=Params,
    inputs=(Port("V_set[pu]", "v_set_pu", "voltage"),),
    outputs=(Port("EMF[pu]", "emf_pu", "EMF", scalar=False), Port("f[Hz]", "f_hz", "frequency")),
    records=("f[Hz]",),
    slopes=Slopes,
    initial=lambda p, s_pu, emf_pu: State(np.angle(emf_pu)),
    held=lambda p: Inputs(np.atleast_1d(np.asarray(p.v_set_pu, float))),
    advance=lambda p, s, u, slopes, dt_s: s,
    respond=respond,
    align=lambda p, s, u, applied: s,
)
