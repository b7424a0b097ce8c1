"""What each kind of divergence looks like, and what it is most likely caused by."""
