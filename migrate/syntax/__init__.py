"""Text and trees.  Nothing here knows what a value is."""
