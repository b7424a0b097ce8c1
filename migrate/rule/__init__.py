"""What a rule is, and all that it may ask."""
