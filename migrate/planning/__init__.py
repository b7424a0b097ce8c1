"""The rules are asked, and what can't be migrated as a whole is held back."""
