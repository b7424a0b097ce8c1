"""What functions, attributes and classes of libraries do to values."""
