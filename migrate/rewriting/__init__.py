"""Edits become text: one pass of LibCST a file, imports included."""
