"""What storing costs: prices, forecasts, usage, limits."""
