"""Old and new are run side by side, and what both recorded is compared."""
