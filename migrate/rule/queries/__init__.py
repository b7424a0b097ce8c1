"""Questions about values that several rules ask."""
