"""`fsdp-migrate rules` and `fsdp-migrate explain`: the rules, as they describe themselves."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fsdp_migrate.rule.registry import Registry, load_rules

if TYPE_CHECKING:
    from fsdp_migrate.rule.rule import Rule, Surface


COVERAGE = "What becomes of each public name of torch.distributed.fsdp that is FSDP1's"


@click.command()
@click.option("--output-format", type=click.Choice(["text", "json", "markdown"]), default="text")
def rules(output_format: str) -> None:
    """List the rules, and the public names of FSDP1 with what becomes of each."""
    known = load_rules()
    if output_format == "json":
        click.echo(json.dumps([_record(rule) for rule in known], indent=2))
    elif output_format == "markdown":
        click.echo(f"{table(known)}\n{COVERAGE}:\n\n{coverage_table(known)}", nl=False)
    else:
        width = max((len(rule.name) for rule in known), default=0)
        for rule in known:
            click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.summary}")
        click.echo(f"\n{COVERAGE}:\n")
        for code, surface in coverage(known):
            tiers = " or ".join(tier.value for tier in surface.tiers)
            click.echo(surface.name)
            click.echo(f"    {code}  {tiers}, {surface.safety.value}: {surface.becomes}")


def _known(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The codes and names that a shell may complete a word to."""
    names = [(name, rule.summary) for rule in load_rules() for name in (rule.code, rule.name)]
    return [
        CompletionItem(name, help=summary)
        for name, summary in names
        if name.startswith((incomplete, incomplete.upper()))
    ]


@click.command()
@click.argument("codes", nargs=-1, required=True, metavar="CODE...", shell_complete=_known)
def explain(codes: tuple[str, ...]) -> None:
    """Say what the rule CODE does, why, and how safe that is; its name will do as well."""
    click.echo("\n\n\n".join(page_of(code) for code in dict.fromkeys(codes)))


def page_of(code: str) -> str:
    """The page of the rule that has a code, or a name."""
    return "\n".join(_page(_called(code)))


def _called(code: str) -> Rule:
    """The rule that has a code, or a name."""
    known = load_rules()
    for rule in known:
        if code.upper() == rule.code or code == rule.name:
            return rule
    names = [name for rule in known for name in (rule.code, rule.name)]
    near = difflib.get_close_matches(code, names) or difflib.get_close_matches(code.upper(), names)
    hint = f" Did you mean {' or '.join(near)}?" if near else " See: fsdp-migrate rules"
    raise click.UsageError(f"No rule is called {code!r}.{hint}")


def table(known: Registry) -> str:
    """The rules as a table in Markdown."""
    rows = ["| Code | Name | What it does |", "| --- | --- | --- |"]
    for rule in known:
        summary = rule.summary.replace("|", "\\|")
        rows.append(f"| {rule.code} | {rule.name} | {summary} |")
    return "\n".join(rows) + "\n"


def coverage(known: Registry) -> list[tuple[str, Surface]]:
    """The public names of FSDP1, each with the code of the rule that answers for it, by name."""
    found = [(rule.code, surface) for rule in known for surface in rule.surfaces]
    return sorted(found, key=lambda row: row[1].name)


def coverage_table(known: Registry) -> str:
    """The public names of FSDP1 as a table in Markdown."""
    rows = ["| FSDP1 | becomes | Tier | Safety | Rule |", "| --- | --- | --- | --- | --- |"]
    for code, surface in coverage(known):
        tiers = ", ".join(tier.value for tier in surface.tiers)
        safety = surface.safety.value
        rows.append(f"| `{surface.name}` | {surface.becomes} | {tiers} | {safety} | {code} |")
    return "\n".join(rows) + "\n"


def _record(rule: Rule) -> dict[str, Any]:
    """What a program may want to know of a rule."""
    surfaces = [
        {
            "name": surface.name,
            "becomes": surface.becomes,
            "tiers": [tier.value for tier in surface.tiers],
            "safety": surface.safety.value,
        }
        for surface in rule.surfaces
    ]
    return {
        "code": rule.code,
        "name": rule.name,
        "summary": rule.summary,
        "needs": list(rule.needs),
        "surfaces": surfaces,
    }


def _page(rule: Rule) -> Iterator[str]:
    """The description of a rule, line by line."""
    yield f"{rule.code} {rule.name}"
    yield from ("", rule.summary)
    yield from ("", "Why", _paragraph(rule.why))
    yield from ("", "Safety of the fix", _paragraph(rule.fix_safety))
    if rule.left:
        yield from ("", "When it is left to you", _paragraph(rule.left))
    if rule.needs:
        yield from ("", "What a safe fix rests on", *(f"    - {fact}" for fact in rule.needs))
    if rule.by_hand:
        yield from ("", "Without the shim (--runtime never)", _paragraph(rule.by_hand))
    owned = (*rule.symbols, *(f".{method}" for method in rule.methods))
    if owned:
        yield from ("", "Looks at", *(f"    {name}" for name in owned))
    for example in rule.examples:
        where = "" if example.file == "train.py" else f" ({example.file})"
        for name, text in example.beside:
            beside = "not among the given paths" if example.is_python else "as it is"
            yield from (
                "",
                f"Beside it ({name}, {beside})",
                textwrap.indent(text.strip("\n"), "    "),
            )
        yield from ("", f"Before{where}", textwrap.indent(example.before.strip("\n"), "    "))
        if example.after is None:
            yield from ("", "After: left as it is")
        else:
            yield from ("", "After", textwrap.indent(example.after.strip("\n"), "    "))
    if rule.references:
        yield from ("", "See", *(f"    {reference}" for reference in rule.references))


def _paragraph(text: str) -> str:
    filled = (textwrap.fill(part, 92) for part in textwrap.dedent(text).strip().split("\n\n"))
    return textwrap.indent("\n\n".join(filled), "    ")
