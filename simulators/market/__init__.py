"""The market: dispatch and prices of reactive power, matching, a signed ledger, forecasts, negotiating agents."""
