"""How a `no_sync` context gets to where it is entered: at once, by a variable, or on a stack."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.library.modules import DDP
from fsdp_migrate.analysis.values import Result, Symbol
from fsdp_migrate.findings.code import Kept, Literal, Part
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.opposites import opposite
from fsdp_migrate.rule.queries.strategy_names import released_if
from fsdp_migrate.rule.queries.values import library_name, results
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

ASKING = frozenset({f"builtins.{name}" for name in ("hasattr", "isinstance", "len")})
NULL = {Symbol("contextlib.nullcontext"), Symbol("contextlib.suppress")}


@dataclass(frozen=True)
class Choice:
    """A `no_sync` context that is entered, or another one that does nothing.

    Gradients synchronise all the same where `test` holds, or where it does not if `negated`.
    """

    use: Use
    context: ast.expr  # what stands for either of the two
    test: ast.expr | None = None  # None: it is entered in any case
    negated: bool = False
    keeps_unsharded: bool = False
    released: Part | None = None  # when they do not stay so, where only the run knows
    shared: bool = False  # the model may be one of DDP's, whose method stays

    @property
    def receiver(self) -> ast.expr:
        """The model, as it is written."""
        assert self.use.receiver is not None
        return self.use.receiver

    @property
    def condition(self) -> Part:
        """When gradients synchronise."""
        if self.test is None:
            return Literal(False)
        module = self.use.module
        return opposite(module, self.test) if self.negated else Kept(module.span(self.test))


@dataclass(frozen=True, eq=False)
class Window:
    """One `no_sync` context: the `with` statements that enter it, for one model."""

    choice: Choice
    entries: tuple[tuple[ast.With, ast.withitem], ...]
    stored: ast.stmt | None = None  # what puts the context into a variable
    idle: bool = False  # inside of another one for the same model

    @property
    def use(self) -> Use:
        """The use of `no_sync`."""
        return self.choice.use

    @property
    def receiver(self) -> ast.expr:
        """The model, as it is written."""
        return self.choice.receiver

    @property
    def test(self) -> ast.expr | None:
        """What picks the context, or None if it is entered in any case."""
        return self.choice.test

    @property
    def statements(self) -> list[ast.With]:
        """The `with` statements that enter the context."""
        return [statement for statement, _ in self.entries]

    @property
    def is_stored_beside(self) -> bool:
        """Whether the context is stored right above the one statement that enters it."""
        if self.stored is None or len(self.entries) > 1:
            return False
        block = self.use.module.block(self.stored)
        return block[block.index(self.stored) + 1 :][:1] == self.statements

    @property
    def is_set_where_entered(self) -> bool:
        """Whether the flag is set at the `with`, and not where the context was stored."""
        return self.stored is None or self.is_stored_beside


@dataclass(frozen=True)
class StackEntry:
    """`stack.enter_context(model.no_sync())`, a statement of its own."""

    choice: Choice
    statement: ast.Expr
    stack: ast.expr


def is_repeatable(facts: Facts, node: ast.expr, *, asking: bool = True) -> bool:
    """Whether evaluating the expression once more changes nothing: of calls, it may be `asking`."""
    doing = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
    calls = ASKING if asking else frozenset()
    return not any(
        isinstance(child, doing)
        or (isinstance(child, ast.Call) and library_name(facts.value(child.func)) not in calls)
        for child in nodes_in(node)
    )


# ---------------------------------------------------------------------- entered by `with`
def find_window(use: Use, facts: Facts) -> Window | None:
    """The window that a use of `no_sync` opens, if it is easy to see."""
    choice = find_choice(use, facts)
    if choice is None:
        return None
    module, context = use.module, choice.context
    parent = module.parents[context]
    if use.call is None and isinstance(parent, ast.Call) and parent.func is context:
        context, parent = parent, module.parents[parent]
    elif use.call is None and not isinstance(parent, ast.Assign):
        return None
    if isinstance(parent, ast.withitem) and parent.optional_vars is None:
        statement = module.parents[parent]
        return Window(choice, ((statement, parent),)) if isinstance(statement, ast.With) else None
    return _stored(choice, facts, parent) if isinstance(parent, ast.Assign) else None


def _stored(choice: Choice, facts: Facts, assignment: ast.Assign) -> Window | None:
    """The window of a context that `assignment` puts into a variable."""
    use, stored = choice.use, assignment
    branch = use.module.parents[assignment]
    around: ast.stmt = stored
    if isinstance(branch, ast.If) and choice.test is None:
        picked = _picked_by_branch(choice, facts, branch, assignment)
        if picked is not None:
            around, choice = branch, picked
    entries = tuple(_entries(use.module, assignment, around, called=use.call is None))
    return Window(choice, entries, around) if entries else None


def _entries(
    module: Module, assignment: ast.Assign, stored: ast.stmt, called: bool
) -> Iterator[tuple[ast.With, ast.withitem]]:
    """The `with` statements below that enter the assigned context, if nothing else reads it."""
    (target, *more) = assignment.targets
    if more or not isinstance(target, ast.Name):
        return
    scope = module.function(stored) or module.tree
    mentions = _named(scope, target.id) - _named(stored, target.id)
    block = module.block(stored)
    below = [s for s in block[block.index(stored) + 1 :] if isinstance(s, ast.With)]
    every = [(statement, item) for statement in below for item in statement.items]
    found = [(s, item) for s, item in every if _variable(item, called) in mentions]
    if {_variable(item, called) for _, item in found} == mentions:
        yield from found


def _named(node: ast.AST, name: str) -> set[ast.expr]:
    return {n for n in nodes_in(node) if isinstance(n, ast.Name) and n.id == name}


def _variable(item: ast.withitem, called: bool) -> ast.expr | None:
    """What is entered as it is, or `called` without arguments before it is entered."""
    entered = item.context_expr
    if item.optional_vars is not None:
        return None
    if not called:
        return entered
    plain = isinstance(entered, ast.Call) and not entered.args and not entered.keywords
    return entered.func if isinstance(entered, ast.Call) and plain else None


# ---------------------------------------------------------------------- entered on a stack
def find_stack_entry(use: Use, facts: Facts) -> StackEntry | None:
    """The exit stack that the context is put on, which leaves it when it unwinds."""
    choice = find_choice(use, facts) if use.call is not None else None
    if choice is None or choice.shared:
        return None
    module = use.module
    entering = module.parents[choice.context]
    if not isinstance(entering, ast.Call) or entering.args != [choice.context]:
        return None
    statement, func = module.parents[entering], entering.func
    if entering.keywords or not isinstance(statement, ast.Expr):
        return None
    if not isinstance(func, ast.Attribute) or func.attr != "enter_context":
        return None
    if results(facts.value(func.value)) != frozenset({"contextlib.ExitStack"}):
        return None
    return StackEntry(choice, statement, func.value)


# ---------------------------------------------------------------------- chosen by a test
def find_choice(use: Use, facts: Facts) -> Choice | None:
    """What is entered, and when; None if the context can't be done without."""
    call = use.call
    shared = is_shared(use)
    if (
        not (use.certain or shared)
        or use.receiver is None
        or not is_repeatable(facts, use.receiver, asking=False)
    ):
        return None
    if call is not None and (call.keywords or call.args not in ([], [use.receiver])):
        return None
    known = keeps_unsharded(use, facts)
    keeps, released = known is True, released_if(use, facts) if known is None else None
    context: ast.expr = call if call is not None else use.node
    parent = use.module.parents[context]
    if not isinstance(parent, ast.IfExp) or parent.test is context:
        return Choice(use, context, None, False, keeps, released, shared)
    other = parent.orelse if parent.body is context else parent.body
    if not is_null(other, facts, called=call is not None):
        return None
    if (keeps or released is not None) and not is_repeatable(facts, parent.test):
        return None  # the condition is written twice
    return Choice(use, parent, parent.test, parent.body is context, keeps, released, shared)


def _picked_by_branch(
    choice: Choice, facts: Facts, branch: ast.If, assignment: ast.Assign
) -> Choice | None:
    """`if last: context = nullcontext()`, `else: context = model.no_sync()`."""
    use = choice.use
    negated = branch.body == [assignment]
    other = branch.orelse if negated else branch.body
    if [assignment] not in (branch.body, branch.orelse) or len(other) != 1:
        return None
    plain = other[0]
    same = (
        isinstance(plain, ast.Assign)
        and [ast.dump(t) for t in plain.targets] == [ast.dump(t) for t in assignment.targets]
        and is_null(plain.value, facts, called=use.call is not None)
    )
    parent = use.module.parents[branch]
    is_elif = isinstance(parent, ast.If) and parent.orelse == [branch]
    if not same or is_elif or not is_repeatable(facts, branch.test):
        return None
    return replace(choice, test=branch.test, negated=negated)


def is_shared(use: Use) -> bool:
    """Whether the receiver is an FSDP1 model or one of DDP's, and nothing else."""
    return bool(use.wraps and use.others) and all(
        isinstance(atom, Result) and atom.symbol == DDP for atom in use.others
    )


def keeps_unsharded(use: Use, facts: Facts) -> bool | None:
    """Whether the model's weights stay gathered through the window; None if it isn't known."""
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    if None in plans:  # a model of unknown origin: one of those that the program makes
        plans = list(facts.wraps.values())
    keeps = {plan.keeps_unsharded for plan in plans if plan is not None}
    return keeps.pop() if len(keeps) == 1 else None


def is_null(node: ast.expr, facts: Facts, called: bool = True) -> bool:
    """Whether `node` is a context that does nothing (or makes one, unless it is `called`)."""
    if called and isinstance(node, ast.Call):
        node = node.func
    return bool(facts.value(node) & NULL)
