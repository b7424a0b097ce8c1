"""Findings and changes, printed."""
