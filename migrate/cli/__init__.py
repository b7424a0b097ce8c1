"""The commands: what the user types, and what the program answers with."""
