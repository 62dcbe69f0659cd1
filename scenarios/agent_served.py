"""What `hil emulate` serves over a serial line or `serial+socket`: a unit's own model, or a unit's agent."""

from collections.abc import Callable, Iterable

from gridloop.hil.agent import Inverter, Secondary, Settings
from gridloop.hil.agent_emulator import AgentEmulator
from gridloop.hil.emulator import refuse_other_machines, served_at
from gridloop.hil.faults import Fault
from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.agent_settings import agent_settings
from gridloop.scenarios.emulated_unit import ModelLaw, place_of
from gridloop.scenarios.start import Plan


class ModelInverter(Inverter):
    """An inverter that does what a unit's model does; from the beginning after every hello."""

    def __init__(self, settings: Settings, made: Callable[[], ModelLaw]) -> None:
        self._made = made
        super().__init__(settings)

    def begin(self) -> None:
        """As at the scenario's start."""
        super().begin()
        law = self._made()

        def control(seen: object, neighbours: object) -> tuple[float, float]:
            del neighbours
            told = {"P_gen[MW]": seen.p_gen_mw, "Q_gen[MVar]": seen.q_gen_mvar, "Vm[pu]": seen.v_pu}  # type: ignore[attr-defined]
            shown = law(seen.t_s, told)  # type: ignore[attr-defined]
            return shown["f[Hz]"], shown["E[pu]"]

        self._control = control


def served_agent(
    what: str, url: str, scenario: str, faults: Iterable[Fault] = (), *, anywhere: bool = False
) -> tuple[AgentEmulator, str]:
    """What is to be served, and what it is in words.

    Args:
        what: a unit that forms the grid, or its agent as `UNIT.agent`.
        url: of kind serial or serial+socket; port 0 takes a free one.
        scenario: whose unit it is.
        faults: that it begins with.
        anywhere: also listen on an address that other machines reach.

    Raises:
        ValueError: there is no such unit or scenario, or other machines could reach the address.
        OSError: nothing can listen there.
    """
    if not scenario:
        raise ValueError(f"a serial agent is that of a unit: {what} of which scenario? Add --scenario NAME")
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.start import plan as plan_of

    at = served_at(url)
    refuse_other_machines(at, anywhere)
    plan = plan_of(load(scenario))
    if what.endswith(ENDING):
        settings = agent_settings(plan, what.removesuffix(ENDING))
        told = f"the agent of {what.removesuffix(ENDING)} in {plan.scenario.name}, law {settings.law}"
        return AgentEmulator(at, lambda: Secondary(settings), faults, settings.period_ms), told
    group, row = place_of(plan, what)
    if group.model is None or group.source != "emf":
        raise ValueError(f"{what} injects power: a serial agent gives f and E, as units that form the grid do")
    settings, model = _bare(plan, float(group.rated_kva[row])), group.model.name
    made = AgentEmulator(at, lambda: ModelInverter(settings, lambda: ModelLaw(plan, group, row)), faults)
    return made, f"{what} of {plan.scenario.name} by its own model {model}"


def _bare(plan: Plan, rated_kva: float) -> Settings:
    """Of an agent whose law needs none."""
    return Settings(s_rated_kva=rated_kva if rated_kva > 0 else 1.0, f_nom_hz=plan.case.network.f_nom_hz)
