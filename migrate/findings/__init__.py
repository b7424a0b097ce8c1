"""The words that rules, engine and reports share: findings, edits and new code."""
