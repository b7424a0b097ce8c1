"""The abstract interpreter: which values reach which expression."""
