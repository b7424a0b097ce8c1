"""Made-up training programs that run, and what becomes of each when it is migrated.

`parts` has the pieces, `programs` puts them together, `differential` trains both versions.
"""
