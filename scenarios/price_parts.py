"""What operation costs, as a file gives it."""

from gridloop.scenarios.parts import NotNegative, Part


class PriceList(Part):
    """Prices for the metric `cost`; those that are absent are round figures, which the report names."""

    fuel_eur_per_l: NotNegative | None = None
    """fuel [EUR/L]"""
    start_eur: NotNegative | None = None
    """start of a diesel set [EUR]"""
    battery_eur_per_mwh: NotNegative | None = None
    """wear of batteries by what goes in and out [EUR/MWh]"""
    unserved_eur_per_mwh: NotNegative | None = None
    """lost load [EUR/MWh]"""
    pcc_eur_per_mwh: NotNegative | None = None
    """energy from the utility grid; what is fed into it earns the same [EUR/MWh]"""
