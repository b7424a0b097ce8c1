"""Codes, names of rules, and beginnings of codes, as `--select` and `--ignore` take them."""

from __future__ import annotations

from collections.abc import Sequence

import click


def prefixes(option: str, said: Sequence[str]) -> tuple[str, ...]:
    """What was said of codes, in capitals; names of rules become their codes.

    Raises:
        click.UsageError: no code begins like that.
    """
    words = [word.strip() for each in said for word in each.split(",") if word.strip()]
    if not words:
        return ()
    import difflib  # which few runs have a use for

    from fsdp_migrate.rule.registry import load_rules

    codes = {rule.name: rule.code for rule in load_rules()}
    found = []
    for word in words:
        prefix = codes.get(word, word.upper())
        if not any(code.startswith(prefix) for code in codes.values()):
            near = difflib.get_close_matches(word, [*codes, *codes.values()], n=1)
            near = near or difflib.get_close_matches(word.upper(), codes.values(), n=1)
            hint = f"Did you mean {near[0]}?" if near else "See: fsdp-migrate rules"
            raise click.UsageError(f"{option}: no code begins with {word!r}. {hint}")
        found.append(prefix)
    return tuple(dict.fromkeys(found))
