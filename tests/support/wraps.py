"""Wraps for tests of the lowering: a program with one constructor call, and its plan."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from fsdp_migrate.findings.code import (
    Code,
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Starred,
    Variable,
)
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.lowering.wraps import plan_wraps
from fsdp_migrate.syntax.module import Module
from support.programs import Analysis, migrate

HEAD = """\
import functools
import os
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import BackwardPrefetch, CPUOffload, MixedPrecision, ShardingStrategy
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import ModuleWrapPolicy, lambda_auto_wrap_policy
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)


"""


def solved(text: str, others: Mapping[str, str] | None = None) -> Analysis:
    """The facts of `text` below the imports above, and of other files."""
    return Analysis({"train.py": HEAD + text, **(others or {})})


def plans(
    text: str, others: Mapping[str, str] | None = None, style: Style = "native"
) -> list[WrapPlan]:
    """The plans of a program, in the order of the source."""
    made = plan_wraps(solved(text, others).solver, style).plans
    return [made[site] for site in sorted(made)]


def plan(text: str, others: Mapping[str, str] | None = None, style: Style = "native") -> WrapPlan:
    """The plan of the one wrap of a program."""
    (only,) = plans(text, others, style)
    return only


def wrapped(
    arguments: str,
    *lines: str,
    parameters: str = "net, flag, other",
    style: Style = "native",
) -> WrapPlan:
    """The plan of `model = FSDP(net, ...)` in a function, below some lines."""
    body = "".join(f"    {line}\n" for line in (*lines, f"model = FSDP(net, {arguments})"))
    return plan(f"def build({parameters}):\n{body}    return model\n", style=style)


def facts(text: str, others: Mapping[str, str] | None = None) -> ProgramFacts:
    """The facts of the program `text`."""
    made = solved(text, others)
    return ProgramFacts.of(made.solver, made.module())


def migrated(text: str) -> str:
    """What becomes of `text`, without the imports and the class above it."""
    run = migrate(HEAD + text)
    assert not run.errors, run.errors
    after = run.after["train.py"]
    return after[after.index("self.linear") :].partition("\n")[2].lstrip("\n")


def shown(module: Module, part: Element | None) -> str:
    """New code as text: for people, without a care for parentheses."""
    if isinstance(part, Code):
        return "".join(_shown(module, part))
    if isinstance(part, Kept):
        text = module.lines[part.span.line - 1]
        assert part.span.line == part.span.end_line
        for span, other in sorted(part.instead, reverse=True):
            text = text[: span.col] + shown(module, other) + text[span.end_col :]
        cut = len(text) - len(module.lines[part.span.line - 1])
        return text[part.span.col : part.span.end_col + cut]
    if isinstance(part, Keyword):
        return f"{part.name}={shown(module, part.value)}"
    if isinstance(part, Starred):
        return ("**" if part.double else "*") + shown(module, part.value)
    if isinstance(part, Item):
        return f"{shown(module, part.key)}: {shown(module, part.value)}"
    if isinstance(part, Literal):
        return part.source
    if isinstance(part, Variable):
        return part.names[0]
    return part.name if isinstance(part, Name) else str(part)


def _shown(module: Module, part: Code) -> list[str]:
    pieces = []
    for literal, hole, _, _ in Formatter().parse(part.template):
        pieces.append(literal)
        if hole is not None:
            filled = part[hole]
            every = filled if isinstance(filled, tuple) else (filled,)
            pieces.append(", ".join(shown(module, item) for item in every))
    return pieces
