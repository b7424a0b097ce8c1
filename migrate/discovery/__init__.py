"""Which files matter: found by their bytes, parsed as little as possible."""
