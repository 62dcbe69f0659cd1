"""Limits of batteries that last for a step."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.models import battery, coulomb_battery, inverter
from gridloop.simulators.models.steady_storage import within_steps

SOC = np.array([15.0, 30.0, 60.0, 88.0])
EDGE_J = 1e-9


def packs(model: Any) -> Any:
    return model.params(e_rated_kwh=[100.0] * 4, soc_init_percent=SOC)


def after(model: Any, params: Any, p_mw: Any, step_s: float) -> tuple[Any, Any]:
    """The state after a step with a constant power, and what the pack shows then."""
    state = model.initial(params, None, None)
    inputs = model.held(params)._replace(e_gen_mwh=np.asarray(p_mw) * step_s / 3600)
    state = model.advance(params, state, inputs, model.slopes(), step_s)
    return state, model.respond(params, state, inputs)


def limits(model: Any, params: Any) -> Any:
    return model.respond(params, model.initial(params, None, None), model.held(params))


@pytest.mark.parametrize("model", [battery.MODEL, coulomb_battery.MODEL], ids=["circuit", "coulomb"])
@pytest.mark.parametrize("step_s", [60.0, 900.0, 3600.0, 14400.0])
def test_a_step_at_the_limit_stays_within_the_window_and_is_served(model: Any, step_s: float):
    params = packs(model)
    bounded = within_steps(model, step_s)
    told = limits(bounded, params)
    for power, end in ((told.p_max_mw, 0.1), (told.p_min_mw, 0.9)):
        state, shown = after(bounded, params, power, step_s)
        assert np.abs(shown.unserved_mwh).max() < 1e-12
        assert ((state.soc >= 0.1 - 1e-9) & (state.soc <= 0.9 + 1e-9)).all()
        if step_s == 14400.0:  # energy is what limits, and nearly all of it is used
            assert state.soc == pytest.approx(end, abs=1e-7)


@pytest.mark.parametrize("model", [battery.MODEL, coulomb_battery.MODEL], ids=["circuit", "coulomb"])
def test_without_the_bound_an_hour_would_overdraw(model: Any):
    params = packs(model)
    _, shown = after(model, params, limits(model, params).p_max_mw, 3600.0)
    assert shown.unserved_mwh[0] > 0.01


@pytest.mark.parametrize("model", [battery.MODEL, coulomb_battery.MODEL], ids=["circuit", "coulomb"])
def test_short_steps_keep_the_limits_of_the_moment(model: Any):
    params = packs(model)
    told, now = limits(within_steps(model, 1.0), params), limits(model, params)
    assert told.p_max_mw == pytest.approx(now.p_max_mw, abs=0) and told.p_min_mw == pytest.approx(now.p_min_mw, abs=0)


def test_a_relaxing_cell_counts():
    # v1 = 4 V from a discharge before: less voltage, less power for the same charge
    params, step_s = packs(battery.MODEL), 7200.0
    bounded = within_steps(battery.MODEL, step_s)
    rested = battery.MODEL.initial(params, None, None)
    tired = rested._replace(v1_v=np.full(4, 4.0))
    held = battery.MODEL.held(params)
    assert (bounded.respond(params, tired, held).p_max_mw < bounded.respond(params, rested, held).p_max_mw).all()


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="Inverter"):
        within_steps(inverter.MODEL, 60.0)
