"""What a meter shows reaches a unit over a link, as a unit's own values do."""

from pathlib import Path

import numpy as np

from gridloop.scenarios import load, run


def test_a_droop_hears_of_the_frequency_through_a_meter(tmp_path: Path) -> None:
    """delay126 with a meter between the machine and the link, which is exact: one more step of delay."""
    ends = {"attr": "f[Hz]", "to_attr": "f_meas[Hz]"}
    common = {"until_s": 0.6, "events.0.t_s": 0.2, "step_ms": 2}
    meter = {"m1": {"of": "gen1", "attr": ["f[Hz]"], "period_ms": 2}}
    direct, metered = (
        run(load("delay126").with_overrides(common | {"comms.signals": signals} | more), folder=tmp_path / str(k))
        for k, (signals, more) in enumerate((
            ({"gen1->droop1": ends | {"delay_ms": 20}}, {}),
            ({"m1->droop1": ends | {"delay_ms": 20}}, {"meters": meter}),
        ))
    )  # fmt: skip
    f, f_metered = (result.series("gen1", "f[Hz]")[1] for result in (direct, metered))
    assert np.ptp(f) > 0.02
    assert np.abs(f - f_metered).max() < 0.1 * np.ptp(f)
