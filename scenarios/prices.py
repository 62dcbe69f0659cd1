"""What operation costs, for the metric `cost`: assumptions, each of which `prices:` of a scenario replaces."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Prices:
    """Round figures of a European microgrid; they rank ways of operation and are no quotation."""

    fuel_eur_per_l: float = 1.5  # diesel at the pump, taxes included
    start_eur: float = 5.0  # wear of a diesel set by a start
    battery_eur_per_mwh: float = 40.0  # wear by what goes in and out: 400 EUR/kWh over 5000 cycles, in and out
    unserved_eur_per_mwh: float = 5000.0  # value of lost load
    pcc_eur_per_mwh: float = 150.0  # from the utility grid; what is fed into it earns the same

    @classmethod
    def of(cls, scenario: Mapping[str, Any]) -> "Prices":
        """Those of a scenario as it stands in run.json."""
        given = scenario.get("prices") or {}
        names = {field.name for field in fields(cls)}
        return cls(**{key: float(value) for key, value in given.items() if key in names and value is not None})
