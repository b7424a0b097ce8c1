"""The edits that put FSDP2's flags in the place of `no_sync` contexts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.code import (
    NOTHING,
    Code,
    Kept,
    Literal,
    Name,
    Part,
    attribute,
    block,
    both,
    call,
    code,
    either,
)
from fsdp_migrate.findings.edits import (
    Decorate,
    Define,
    Edit,
    InsertStatements,
    LeaveContext,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.inlined import arguments_of, assignment_of, with_arguments
from fsdp_migrate.rule.queries.method_calls import as_function
from fsdp_migrate.rule.queries.no_sync_contexts import Choice, StackEntry, Window
from fsdp_migrate.rule.queries.no_sync_returns import Provider
from fsdp_migrate.rule.queries.no_sync_shared import told_apart
from fsdp_migrate.rule.queries.no_sync_windows import Windows
from fsdp_migrate.rule.queries.no_sync_written import context_manager
from fsdp_migrate.rule.queries.spelling import spelled
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

SYNC = "set_requires_gradient_sync"
RESHARD = "set_reshard_after_backward"  # beside it where weights stay gathered
FSDP_MODULE = Name(ROOT, "FSDPModule")


def flags(choice: Choice, value: Part) -> Code:
    """The lines that set the flags of the model to `value`."""
    sync, *reshard = setters(choice)
    gathered = [call(setter, _reshards(choice, value)) for setter in reshard]
    return block(call(sync, value), *gathered)


def _reshards(choice: Choice, value: Part) -> Part:
    """Whether weights are given back after a backward pass, where `value` says if that is last."""
    if choice.released is None or value == Literal(True):
        return value
    return choice.released if value == Literal(False) else either(value, choice.released)


def setters(choice: Choice) -> list[Code]:
    """The methods that set the flags of the model."""
    model = Kept(choice.use.module.span(choice.receiver))
    stays = choice.keeps_unsharded or choice.released is not None
    return [attribute(model, name) for name in ([SYNC, RESHARD] if stays else [SYNC])]


# ---------------------------------------------------------------------- where it is entered
def without_window(facts: Facts, window: Window, windows: Windows) -> Iterator[Edit]:
    """The edits that put the flag in the place of a context."""
    module, choice = window.use.module, window.choice
    if choice.shared:
        yield from _beside_ddp(facts, window)
        return
    to = flags(choice, choice.condition)
    back = not window.idle and not windows.stays(window)
    for statement, item in window.entries:
        yield LeaveContext(
            module.span(item.context_expr),
            before=to if window.is_set_where_entered and not window.idle else None,
            after=flags(choice, Literal(True)) if back else None,
            guarded=statement in windows.guarded,
        )
    if window.stored is not None:
        here = not window.idle and not window.is_set_where_entered
        yield ReplaceStatement(module.span(window.stored), to if here else NOTHING)


def _beside_ddp(facts: Facts, window: Window) -> Iterator[Edit]:
    """The edits that set the flags of an FSDP model, and have DDP's context entered as before."""
    module, choice = window.use.module, window.choice
    assert choice.test is not None
    holes: dict[str, Part] = {
        "model": Kept(module.span(choice.receiver)),
        "fsdp_module": FSDP_MODULE,
    }
    found = told_apart(facts, module, choice.test, choice.receiver) if choice.negated else None
    new = code(
        "if isinstance({model}, {fsdp_module}):\n    {flags}",
        flags=flags(choice, found.sync if found is not None else choice.condition),
        **holes,
    )
    above = window.stored or window.statements[0]
    yield InsertStatements(module.span(above), new)
    yield _of_ddp_alone(
        module, choice, found.other if found is not None and found.is_apart else None
    )


def _of_ddp_alone(module: Module, choice: Choice, other: Part | None) -> Edit:
    """The edit that has DDP's context chosen for DDP's models only: by the test `other`, if any."""
    picked, context = choice.context, choice.use.call or choice.use.node
    holes: dict[str, Part] = {
        "model": Kept(module.span(choice.receiver)),
        "fsdp_module": FSDP_MODULE,
    }
    is_fsdp = code("isinstance({model}, {fsdp_module})", **holes)
    if not isinstance(picked, ast.IfExp):  # a statement chooses
        null = spelled(module, "contextlib.nullcontext")
        new = code(
            "{null} if {is_fsdp} else {own}",
            null=call(null) if choice.use.call is not None else null,
            is_fsdp=is_fsdp,
            own=Kept(module.span(context)),
        )
        return ReplaceExpression(module.span(context), new)
    test: Part = Kept(module.span(picked.test))
    if other is not None:
        test = other
    elif choice.negated:
        test = both(test, code("not {is_fsdp}", is_fsdp=is_fsdp))
    else:
        test = either(test, is_fsdp)
    yes, no = Kept(module.span(picked.body)), Kept(module.span(picked.orelse))
    new = code("{yes} if {test} else {no}", yes=yes, test=test, no=no)
    return ReplaceExpression(module.span(picked), new)


def on_stack(entry: StackEntry) -> ReplaceStatement:
    """An exit stack switches the sync on again when it unwinds."""
    module, choice = entry.choice.use.module, entry.choice
    stack = Kept(module.span(entry.stack))
    undone = [
        call(attribute(stack, "callback"), setter, Literal(True)) for setter in setters(choice)
    ]
    new = block(flags(choice, choice.condition), *undone)
    return ReplaceStatement(module.span(entry.statement), new)


# ---------------------------------------------------------------------- where it is returned
def set_by_call(facts: Facts, provider: Provider) -> Iterator[tuple[Module, Edit]]:
    """The edits that make a function set the flag instead of returning a context, by file."""
    choice, function = provider.choice, provider.function
    module = choice.use.module
    if choice.shared:
        yield module, _for_fsdp(facts, provider)
        return
    to = flags(choice, choice.condition)
    if isinstance(function, ast.Lambda):
        inlined = list(_inlined(provider, function, to))
        if inlined:
            yield from ((module, edit) for edit in inlined)
            return
        yield module, ReplaceExpression(module.span(function.body), to)
    else:
        yield from ((module, edit) for edit in _at_end(provider, to))
        if function.returns is not None:
            yield module, ReplaceExpression(module.span(function.returns), Literal(None))
    for entry in provider.entries:
        span = entry.module.span(entry.call)
        yield entry.module, LeaveContext(span, before=Kept(span))


def _inlined(provider: Provider, function: ast.Lambda, to: Code) -> Iterator[Edit]:
    """The edits that set the flags where a lambda was called; none where that isn't the same."""
    module = provider.use.module
    stored, calls = assignment_of(module, function), [entry.call for entry in provider.entries]
    given = arguments_of(module, function, calls)
    if stored is None or given is None:
        return
    if any(entry.module is not module for entry in provider.entries):
        return
    yield ReplaceStatement(module.span(stored), NOTHING)
    for call_, arguments in zip(calls, given, strict=True):
        before = with_arguments(module, to, function, arguments)
        yield LeaveContext(module.span(call_), before=before)


def _for_fsdp(facts: Facts, provider: Provider) -> Edit:
    """The edit that sets the flags of an FSDP model, and leaves DDP's context what it is."""
    choice, first = provider.choice, provider.tail[0]
    module = choice.use.module
    holes: dict[str, Part] = {
        "model": Kept(module.span(choice.receiver)),
        "fsdp_module": FSDP_MODULE,
    }
    if isinstance(first, ast.If) and choice.negated and len(provider.tail) > 1:
        tests = told_apart(facts, module, first.test, choice.receiver)
        assert choice.use.call is not None
        return ReplaceStatement(
            module.span(first),
            code(
                "if isinstance({model}, {fsdp_module}):\n    {flags}\n"
                "elif {test}:\n    return {own}",
                flags=flags(choice, tests.sync),
                test=tests.other,
                own=Kept(module.span(choice.use.call)),
                **holes,
            ),
        )
    return InsertStatements(
        module.span(first),
        code(
            "if isinstance({model}, {fsdp_module}):\n    {flags}\n    return {null}()",
            flags=flags(choice, choice.condition),
            null=spelled(module, "contextlib.nullcontext"),
            **holes,
        ),
    )


def as_manager(provider: Provider) -> Iterator[Edit]:
    """The edits that make the function that returns a context the context itself."""
    module, choice, function = provider.use.module, provider.choice, provider.function
    assert isinstance(function, ast.FunctionDef)
    new = code(
        """\
{off}
try:
    yield
finally:
    {on}""",
        off=flags(choice, choice.condition),
        on=flags(choice, Literal(True)),
    )
    yield Decorate(module.span(function), spelled(module, "contextlib.contextmanager"))
    yield from _at_end(provider, new)
    if function.returns is not None:
        gives = code("{iterator}[None]", iterator=Name("collections.abc", "Iterator"))
        yield ReplaceExpression(module.span(function.returns), gives)


def _at_end(provider: Provider, new: Code) -> Iterator[Edit]:
    """The edits that put `new` in the place of what the function returns."""
    first, *others = provider.tail
    yield ReplaceStatement(provider.use.module.span(first), new)
    for statement in others:
        yield ReplaceStatement(provider.use.module.span(statement), NOTHING)


# ---------------------------------------------------------------------- a function of its own
def defined(use: Use, *, gathered: bool, shared: bool, beside_shim: bool) -> list[Edit]:
    """The edits that enter a context manager which is defined in the file."""
    module = use.module
    definition, function = context_manager(
        module, gathered=gathered, shared=shared, beside_shim=beside_shim
    )
    return [Define(module.span(use.node), definition), as_function(use, function)]
