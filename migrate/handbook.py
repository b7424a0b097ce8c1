"""`fsdp-migrate rules` and `fsdp-migrate explain`: the rules, as they describe themselves."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fsdp_migrate.registry import all_rules

if TYPE_CHECKING:
    from fsdp_migrate.rule import Rule


@click.command()
@click.option("--output-format", type=click.Choice(["text", "json", "markdown"]), default="text")
def rules(output_format: str) -> None:
    """List the rules: code, name and what each does."""
    known = all_rules()
    if output_format == "json":
        listed = [{"code": r.code, "name": r.name, "summary": r.summary} for r in known]
        click.echo(json.dumps(listed, indent=2))
    elif output_format == "markdown":
        click.echo(table(), nl=False)
    else:
        width = max((len(rule.name) for rule in known), default=0)
        for rule in known:
            click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.summary}")


@click.command()
@click.argument("code")
def explain(code: str) -> None:
    """Say what the rule CODE does, why, and how safe that is; its name will do as well."""
    known = all_rules()
    for rule in known:
        if code.upper() == rule.code or code == rule.name:
            click.echo("\n".join(_page(rule)))
            return
    names = [name for rule in known for name in (rule.code, rule.name)]
    near = difflib.get_close_matches(code, names) or difflib.get_close_matches(code.upper(), names)
    hint = f" Did you mean {' or '.join(near)}?" if near else " See: fsdp-migrate rules"
    raise click.UsageError(f"No rule is called {code!r}.{hint}")


def table() -> str:
    """The rules as a table in Markdown."""
    rows = ["| Code | Name | What it does |", "| --- | --- | --- |"]
    for rule in all_rules():
        summary = rule.summary.replace("|", "\\|")
        rows.append(f"| {rule.code} | {rule.name} | {summary} |")
    return "\n".join(rows) + "\n"


def _page(rule: Rule) -> Iterator[str]:
    """The description of a rule, line by line."""
    yield f"{rule.code} {rule.name}"
    yield from ("", rule.summary)
    yield from ("", "Why", _paragraph(rule.why))
    yield from ("", "Safety of the fix", _paragraph(rule.fix_safety))
    owned = (*rule.symbols, *(f".{method}" for method in rule.methods))
    if owned:
        yield from ("", "Looks at", *(f"    {name}" for name in owned))
    for example in rule.examples:
        yield from ("", "Before", textwrap.indent(example.before.strip("\n"), "    "))
        if example.after is None:
            yield from ("", "After: left as it is")
        else:
            yield from ("", "After", textwrap.indent(example.after.strip("\n"), "    "))
    if rule.references:
        yield from ("", "See", *(f"    {reference}" for reference in rule.references))


def _paragraph(text: str) -> str:
    filled = (textwrap.fill(part, 92) for part in textwrap.dedent(text).strip().split("\n\n"))
    return textwrap.indent("\n\n".join(filled), "    ")
