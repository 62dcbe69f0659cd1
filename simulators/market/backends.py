"""Other power flows behind the dispatch: lightsim2grid where it agrees with pandapower, pandapower as the referee."""

import copy
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from gridloop.simulators.market.limits import Backend, newton
from gridloop.simulators.market.net import DispatchNet, with_setting
from gridloop.simulators.models.network import Complex, Real

BACKENDS = ("auto", "newton", "lightsim2grid", "pandapower")
AGREEMENT_PU = 1e-6  # of lightsim2grid's voltages with pandapower's
SMALL = 30  # buses up to which the own power flow, a generation at once, is as fast as lightsim2grid
TOLERANCE_PU = 1e-10
LOSSY = ("line", "trafo", "trafo3w", "impedance")  # tables whose results tell losses


class DisagreementError(ValueError):
    """lightsim2grid cannot stand for pandapower with this net."""


def backend(given: DispatchNet, name: str = "auto") -> Backend:
    """A power flow for a net.

    Args:
        given: the net.
        name: "newton" (numpy, whole generations), "lightsim2grid" (extra `dso`), "pandapower" (slow), or "auto":
            lightsim2grid for nets of more than 30 buses where it is installed and agrees, else newton.

    Raises:
        ValueError: an unknown name.
        DisagreementError: lightsim2grid was asked for, and is not there or does not agree with pandapower.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: there are {', '.join(BACKENDS)}")
    if name == "pandapower":
        return Backend(given.problem, name, lambda x: np.array([referee(given, row)[1] for row in x]))
    own = newton(given.problem)
    if name == "newton" or (name == "auto" and given.problem.network.n_bus <= SMALL):
        return own
    try:
        return lightsim(given)
    except DisagreementError as error:
        if name == "auto":
            return Backend(own.problem, own.name, own.voltages, str(error))
        raise


def referee(given: DispatchNet, x: Real) -> tuple[float, Complex]:
    """pandapower's own losses [MW] and bus voltages (n,) at the setting `x` (k,); nan without convergence."""
    import pandapower

    net = with_setting(given, x)
    v = np.full(given.problem.network.n_bus, np.nan, complex)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pandapower.runpp(
                net, calculate_voltage_angles=True, trafo_model="t", tolerance_mva=1e-9, max_iteration=40, numba=False
            )
        except pandapower.LoadflowNotConverged:
            return np.nan, v
    from pandapower.pypower import idx_bus

    bus = net._ppc["bus"]
    v[:] = bus[:, idx_bus.VM] * np.exp(1j * np.radians(bus[:, idx_bus.VA]))
    v[~given.problem.supplied] = 0
    return float(sum(net[f"res_{table}"].pl_mw.sum() for table in LOSSY if len(net[table]))), v


def lightsim(given: DispatchNet) -> Backend:
    """lightsim2grid's native power flow, compared with pandapower at the net's setting and at a moved one.

    Raises:
        DisagreementError: it is not installed, does not know an element, or its voltages differ by 1e-6 pu.
    """
    if find_spec("lightsim2grid") is None:
        raise DisagreementError("lightsim2grid is not installed; pip install 'gridloop[dso]'")
    voltages = _lightsim_voltages(given)
    low, high = given.problem.bounds
    start = given.problem.start
    moved = start + 0.05 * (0.5 * (low + high) - start)
    for x in (start, moved):
        wanted = np.abs(referee(given, x)[1])
        apart = float(np.abs(np.abs(voltages(x[None])[0]) - wanted).max())
        if not apart < AGREEMENT_PU and (x is start or np.isfinite(wanted).all()):
            raise DisagreementError(f"lightsim2grid is {apart:.1e} pu away from pandapower with this net")
    return Backend(given.problem, "lightsim2grid", voltages)


def _lightsim_voltages(given: DispatchNet) -> Callable[[Real], Complex]:
    """Voltages (N, n) of settings (N, k) by a model that is changed in place."""
    net, problem = copy.deepcopy(given.net), given.problem
    if np.setdiff1d(np.flatnonzero(problem.supplied), given.row_of_bus).size:
        raise DisagreementError("lightsim2grid has no place for inner buses: three windings, open line ends")
    if len(net.trafo):
        net.trafo["tap_phase_shifter"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightsim2grid.network import init_from_pandapower

        try:
            # pandapower_v2, its default, reads magnetising currents in another way than pandapower 3 does
            model = init_from_pandapower(net, pp_orig_file="pandapower_v3")
        except Exception as error:  # whatever its converter does not know
            raise DisagreementError(f"lightsim2grid does not read this net: {error}") from error
    place = {("gen", int(index)): row for row, index in enumerate(net.gen.index)}
    place |= {("ext_grid", int(index)): len(net.gen) + row for row, index in enumerate(net.ext_grid.index)}
    machines = [[place[holder] for holder in holders] for holders in given.holders]
    trafos = [[net.trafo.index.get_loc(index)] for index in given.trafos]
    sgens = [[net.sgen.index.get_loc(index)] for index in given.sgens]
    return lambda x: np.array([_solved(model, given, row, (machines, trafos, sgens)) for row in x])


def _solved(model: Any, given: DispatchNet, x: Real, places: tuple[Any, Any, Any]) -> Complex:
    """One power flow of the model, from a flat start so that results do not depend on what was asked before."""
    changes = (model.change_v_gen, model.change_ratio_trafo, model.change_q_sgen)
    for change, rows, values in zip(changes, places, given.problem.parts(x), strict=True):
        for places_of_one, value in zip(rows, values.tolist(), strict=True):
            for row in places_of_one:
                change(row, 2 * value + 1)  # it takes no notice of a change by less than 1e-7
                change(row, value)
    found = model.ac_pf(given.problem.flat_pu[given.row_of_bus], 30, TOLERANCE_PU)
    result = np.zeros(given.problem.network.n_bus, complex)
    if len(found):
        result[given.row_of_bus] = found
        result[~given.problem.supplied] = 0
    else:
        result[:] = np.nan
    return result
