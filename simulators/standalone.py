"""Simulators that need nothing but init parameters: for anyone's mosaik scenario, in this process or another.

`gridloop.simulators.SIM_CONFIG` names them. `json` makes their groups exchange lists instead of arrays, as a
simulator in another process than mosaik's must.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import DeviceSimulator
from gridloop.simulators.events import KINDS, PCC, Event
from gridloop.simulators.grid import META, GridSimulator
from gridloop.simulators.models import battery, coulomb_battery, diesel, following, inverter, machine
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.pv import SUNPOWER_SPR_305E_WHT_D, Params, available_power_mw
from gridloop.simulators.net_case import LoadLaw, net_case, rebased
from gridloop.simulators.packed import unpack
from gridloop.simulators.pandapower_net import import_net, load_net
from gridloop.simulators.profiles import ProfileSimulator, meta
from gridloop.simulators.pv_modules import pv_module

log = logging.getLogger(__name__)

TARGETS = ("bus", "line", "unit")  # what an event may name
ARRAY = ("modules", "efficiency_percent", "module", "ghi_w_per_m2", "t_air_degc")  # parameters of PV arrays


class Inverter(DeviceSimulator):
    """Grid-forming inverters."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(inverter.MODEL, json=json)


class Following(DeviceSimulator):
    """Grid-following inverters."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(following.MODEL, json=json)


class Diesel(DeviceSimulator):
    """Diesel generator sets."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(diesel.MODEL, json=json)


class Machine(DeviceSimulator):
    """Classical synchronous machines."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(machine.MODEL, json=json)


class Battery(DeviceSimulator):
    """Batteries by their equivalent circuits; each takes the energy that an inverter draws and tells it its limits."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(battery.MODEL, json=json)


class CoulombBattery(DeviceSimulator):
    """Batteries that count charge."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(coulomb_battery.MODEL, json=json)


class PV(ProfileSimulator):
    """Photovoltaic arrays: what they can give, from irradiance and air temperature."""

    def __init__(self, json: bool = False) -> None:
        super().__init__(json=json, description=meta("PV", ARRAY))

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one group with its children.

        Model parameters:
            ids: names of the n arrays.
            times_s: (m,) times of the rows in simulated seconds; absent: everything is constant.
            modules: how many each array has, a number or (n,).
            ghi_w_per_m2: irradiance in the plane of the modules, (m,) for all, (m, n), or a number.
            t_air_degc: air temperature, likewise.
            efficiency_percent: of the inverter (97); 100 where the inverter is a simulator of its own.
            module: by its name in the CEC table (SunPower_SPR_305E_WHT_D).

        Raises:
            ValueError: an unknown module, parameters out of their range, shapes that do not fit.
        """
        given = dict(model_params)
        count = len(given["ids"])
        name = given.pop("module", None)
        module = SUNPOWER_SPR_305E_WHT_D if name is None else pv_module(name)
        missing = [key for key in ("modules", "ghi_w_per_m2", "t_air_degc") if key not in given]
        if missing:
            raise ValueError(f"{model}: {', '.join(missing)} must be given")
        params = Params(
            modules=np.broadcast_to(given.pop("modules"), count),
            efficiency_percent=given.pop("efficiency_percent", 97.0), module=module,
        )  # fmt: skip
        rows = len(given.get("times_s", (0.0,)))
        weather = [_weather(key, given.pop(key), rows, count) for key in ("ghi_w_per_m2", "t_air_degc")]
        return super().create(num, model, p_gen_mw=available_power_mw(params, *weather), **given)


def _weather(name: str, given: Any, rows: int, count: int) -> Real:
    """Values (rows, count) from a number, from one row for all arrays at each time, or from all of them."""
    values = np.asarray(given, float)
    if values.shape not in ((), (rows,), (rows, count)):
        raise ValueError(f"{name} has the shape {values.shape}; it must be ({rows},), ({rows}, {count}) or a number")
    whole: Real = np.broadcast_to(values[:, None] if values.ndim == 1 else values, (rows, count))
    return whole


class Grid(GridSimulator):
    """The network of a pandapower net."""

    def __init__(self, json: bool = False) -> None:
        mosaik_api_v3.Simulator.__init__(self, META)  # type: ignore[no-untyped-call]  # the rest when the net is known
        self._lists = json

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Read the net and solve its own power flow, at which units at the generators' buses start.

        Parameters:
            net: a network of pandapower.networks by its name, or the path of a .json file.
            base: {s_mva, v_kv}: keep the per-unit network, rescale all power (the net's own).
            f_nom_hz: nominal frequency (the net's own).
            loads: {zip_p, zip_q, k_pf, k_qf, v0_pu}: the loads' law (constant power).
            events: list of {t_s, do, bus | line | unit, p_kw, q_kvar} as in a scenario file.
            step_ms: macro step (5).
            case: instead of all but step_ms, a packed Case, with packed events.

        Raises:
            ValueError: an unknown net, key or event, or a value out of its range.
            PowerFlowError: the net's own power flow does not converge.
        """
        if "case" in sim_params:
            super().__init__(
                unpack(sim_params.pop("case")), unpack(sim_params.pop("events", [])), log=_log, json=self._lists
            )  # fmt: skip
            self._generators: dict[int, str] = {}
            return super().init(sid, time_resolution, **sim_params)
        loads = _known("loads", sim_params.pop("loads", {}), [field.name for field in fields(LoadLaw)])
        base = _known("base", sim_params.pop("base", {}), ["s_mva", "v_kv"])
        if "net" not in sim_params:
            raise ValueError("Grid: the parameter net is missing: a network of pandapower.networks, or a .json file")
        net = rebased(
            import_net(load_net(sim_params.pop("net"), Path.cwd())), **base, f_nom_hz=sim_params.pop("f_nom_hz", None)
        )
        events = tuple(_event(entry) for entry in sim_params.pop("events", ()))
        loaded = {net.network.row_of_bus(event.target) for event in events if event.kind.startswith("load")}
        case = net_case(net, LoadLaw(**loads), loaded)
        super().__init__(case, events, log=_log, json=self._lists)
        self._generators = {int(row): kind for row, kind in zip(net.generators.bus, net.generators.kind, strict=True)}
        return super().init(sid, time_resolution, **sim_params)

    def setup_done(self) -> None:
        """Reduce the network to its terminals; warn of generators that nothing stands for."""
        taken = {*self._board.emf.bus, *self._board.power.bus}
        for row, kind in self._generators.items():
            if row not in taken:
                name = self._case.network.bus_names[list(self._case.network.bus_row).index(row)]
                log.warning("the net's %s at bus %s has no terminal: what it gave at the start is missing", kind, name)
        super().setup_done()


def _known(what: str, given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"Grid: {what} has no {', '.join(unknown)}; there are {', '.join(names)}")
    return dict(given)


def _event(entry: Mapping[str, Any]) -> Event:
    """An event from the words of a scenario file."""
    rest = dict(entry)
    kind, named = rest.pop("do", None), [rest.pop(word) for word in TARGETS if word in rest]
    named += [PCC] * (str(kind) in ("pcc_open", "pcc_close"))
    if kind not in KINDS:
        raise ValueError(f"Grid: unknown event {kind!r}; there are {', '.join(KINDS)}")
    if len(named) != 1 or "t_s" not in rest:
        raise ValueError(f"Grid: the event {dict(entry)} needs t_s and one of {', '.join(TARGETS)}")
    _known(f"the event {kind}", rest, Event._fields)
    return Event(kind=kind, target=str(named[0]), **rest)


def _log(t_s: float, kind: str, target: str, outcome: str) -> None:
    log.info("%g s: %s %s: %s", t_s, kind, target, outcome)
