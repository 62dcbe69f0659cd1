"""The market as a file describes it: who negotiates what, how, and what is traded."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gridloop.scenarios.comms_parts import LinkKeys
from gridloop.scenarios.dispatch_parts import Dispatch, Limits
from gridloop.scenarios.parts import Finite, NotNegative, Part, Positive

Organisation = Literal["team", "central", "standby"]
TIE = "tie"  # the agent that speaks for the exchange with the utility grid


class Offer(Part):
    """What a unit would give: at cost b P + c P^2, between its limits."""

    b_ct_per_kwh: Finite
    """cost of the first kWh [ct/kWh]"""
    c_ct_per_kw2h: Positive
    """how it rises: half the slope of the marginal cost [ct/kW2h]"""
    p_kw: Limits
    """least and most power into the bus [kW]"""


class Trades(Part):
    """Trades between neighbours: auctioned every slot, recorded on a ledger in the folder of the run."""

    buy_ct_per_kwh: Positive = 30.0
    """what the utility would take: worth of a kWh to who needs it [ct/kWh]"""
    sell_ct_per_kwh: NotNegative = 8.0
    """what the utility would pay: worth of a kWh to who has too much [ct/kWh]"""
    margin: NotNegative = 2.0
    """share of its worth by which everybody bargains at first; they learn from what becomes of their orders"""

    @model_validator(mode="after")
    def _can_gain(self) -> Self:
        if self.sell_ct_per_kwh >= self.buy_ct_per_kwh:
            raise ValueError("nobody could gain by trading: buy_ct_per_kwh must be greater than sell_ct_per_kwh")
        return self


class Location(Part):
    """Where the arrays stand: the clear sky there helps to forecast them."""

    latitude_deg: Annotated[Finite, Field(ge=-90, le=90)]
    """north > 0"""
    longitude_deg: Annotated[Finite, Field(ge=-180, le=180)]
    """east > 0"""


class Market(Part):
    """Slot by slot: forecasts, negotiation of who gives how much, trades; then what was measured, and so on."""

    slot_s: Positive = 900.0
    """length of a slot [s]"""
    lead_s: Positive = 60.0
    """how long before a slot it is negotiated [s]"""
    patience_s: Positive = 5.0
    """how long an agent waits for an answer; eight times this fits into lead_s [s]"""
    organisation: Organisation = "team"
    """who calls for bids: team (each agent in turn), central (a controller), standby (a controller and its standby)"""
    beside: tuple[Organisation, ...] = ()
    """others that are played on the same bids, without effect, to be compared with"""
    offers: dict[str, Offer] = Field(default_factory=dict)
    """by unit: units whose power is agreed on; `tie` is the exchange with the utility grid; absent: no negotiation"""
    agents: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """by a name of your own: the units that an agent speaks for; any other unit has an agent of its own name"""
    forecast: Literal["ridge", "persistence"] = "ridge"
    """ridge: regression on lags and the calendar, refitted every day; persistence: as just now"""
    history_days: Annotated[int, Field(ge=0, strict=True)] = 63
    """days before the run that the profiles go back, for ridge to learn from"""
    location: Location | None = None
    """where the arrays stand; absent: ridge goes without the clear sky"""
    comms: LinkKeys = LinkKeys()
    """what the links between all agents are like"""
    trades: Trades | None = None
    """trades between neighbours; absent: none"""
    dispatch: Dispatch | None = None
    """a distribution system operator that dispatches reactive power and matches buyers with sellers; absent: none"""

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        if not self.offers and self.dispatch is None:
            raise ValueError("a market needs offers (units that negotiate), dispatch, or both")
        if not self.offers and self.trades is not None:
            raise ValueError("trades between neighbours need offers: what is negotiated is what they trade")
        if self.trades is not None and self.dispatch is not None and self.dispatch.requests:
            raise ValueError("one ledger a run: either trades, or requests of dispatch")
        return self
