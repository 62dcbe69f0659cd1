"""Energy between DC side and bus, by hand and in both inverter models."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.models import following, inverter
from gridloop.simulators.models.conversion import added

NOTHING = (np.zeros(3), np.zeros(3), np.zeros(3))


def test_both_ways_by_hand():
    # 0.8 of 1 pu h to the bus needs 1; of 1 pu h from the bus 0.8 arrive
    dc, ac, loss = added(NOTHING, np.full(3, 0.8), np.array([0.8, -1.0, 0.0]) * 3600)
    assert dc == pytest.approx([1.0, -0.8, 0]) and ac == pytest.approx([0.8, -1.0, 0])
    assert loss == pytest.approx([0.2, 0.2, 0])


def test_ledger_closes_over_a_day_of_changes():
    sums: Any = NOTHING
    eta = np.array([0.9, 0.97, 1.0])
    for ac in np.random.default_rng(4).normal(size=(5000, 3)):
        sums = added(sums, eta, ac)
    dc, ac, loss = sums
    assert dc == pytest.approx(ac + loss, rel=1e-12) and (loss[:2] > 0.01).all() and loss[2] == 0


@pytest.mark.parametrize("model", [inverter, following])
@pytest.mark.parametrize("sign", [1, -1])
def test_inverters_count_the_power_that_the_grid_took(model: Any, sign: int):
    # 0.3 pu, rising by 2 pu/s over 10 ms: 0.0031 pu s, whatever set-point and filter say
    p = model.Params(s_rated_kva=100.0, efficiency_percent=90.0, s_base_mva=0.1, counts_energy=True)
    one = np.ones(1, complex)
    s, u = model.initial(p, 0.7 * one, one), model.held(p)._replace(s_pu=sign * (0.3 + 0.1j) * one)
    slopes = model.Slopes(sign * 2 * one, *[0 * one] * (len(model.Slopes._fields) - 1))
    shown = model.respond(p, model.advance(p, s, u, slopes, 0.01), u)
    assert shown.e_ac_pu_h * 3600 == pytest.approx([sign * 0.0031])
    assert shown.e_dc_pu_h * 3600 == pytest.approx([0.0031 / 0.9 if sign > 0 else -0.0031 * 0.9])
    assert shown.e_dc_pu_h == pytest.approx(shown.e_ac_pu_h + shown.e_loss_pu_h, rel=1e-12)
    ports = {port.attr: port.field for port in model.MODEL.outputs}
    assert ports["E_gen[MWh]"] == "e_dc_pu_h" and ports["E_ac[MWh]"] == "e_ac_pu_h"
    assert ports["E_conversion_loss[MWh]"] == "e_loss_pu_h"


@pytest.mark.parametrize("model", [inverter, following])
def test_nothing_is_counted_unless_asked_for(model: Any):
    p = model.Params(s_rated_kva=100.0, s_base_mva=0.1)
    one = np.ones(1, complex)
    s, u = model.initial(p, one, one), model.held(p)._replace(s_pu=one)
    after = model.advance(p, s, u, model.Slopes(*[0 * one] * len(model.Slopes._fields)), 1.0)
    assert not after.e_dc_pu_h.any() and not after.e_ac_pu_h.any() and not after.e_loss_pu_h.any()


@pytest.mark.parametrize("model", [inverter, following])
def test_efficiency_is_a_share(model: Any):
    for wrong in (0, 101):
        with pytest.raises(ValueError, match=r"efficiency_percent = .* must be > 0 and <= 100"):
            model.Params(s_rated_kva=1.0, efficiency_percent=wrong)
