"""Windows without gradient synchronisation: where `no_sync` is entered, and what is read in it.

FSDP2 has a flag in the place of the context manager, and reads it in the backward pass alone.
Two things that the context manager did for any program need not be written down for most:
the flag need not be set again where no backward pass runs outside of such windows, and an
exception may leave it as it is where nothing catches exceptions.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.values import Result, Symbol, Value, Wrapped
from fsdp_migrate.rule.rule import Facts, Use
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span

NULL = {Symbol("contextlib.nullcontext"), Symbol("contextlib.suppress")}
BACKWARD = frozenset({"backward", "manual_backward"})
HARMLESS = ("torch.", "builtins.", "contextlib.", "copy.", "functools.", "itertools.")
DEPTH = 8  # calls that something is followed through
LOOPS = (ast.For, ast.AsyncFor, ast.While)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(eq=False)
class Window:
    """One `no_sync` context: the `with` statements that enter it, for one model."""

    use: Use
    statements: list[ast.With]
    items: list[ast.withitem]
    condition: str  # when gradients synchronise all the same: a template
    holes: tuple[Span, ...]
    stored: ast.stmt | None = None  # what puts the context into a variable
    keeps_unsharded: bool = False
    idle: bool = False  # inside of another one for the same model

    @property
    def receiver(self) -> str:
        """The model, as it is written."""
        assert self.use.receiver is not None
        return ast.unparse(self.use.receiver)


@dataclass(eq=False)
class Windows:
    """The windows of a program that are simple enough to do without a context manager."""

    facts: Facts
    by_use: dict[Use, Window] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for use in self.facts.uses:
            if use.name == "no_sync":
                found = _window(use, self.facts)
                if found is not None:
                    self.by_use[use] = found
        for window in self.by_use.values():
            around = self._around(window)
            window.idle = around is not None and around.condition == "False"
        for use, window in list(self.by_use.items()):
            if not window.idle and may_be_nested(use, self.facts):
                del self.by_use[use]  # it puts back what the other one has set
        for use, window in list(self.by_use.items()):
            if not self._is_simple(window):
                self.by_use.pop(use, None)

    @property
    def calls(self) -> CallGraph:
        """Who calls whom."""
        return self.facts.solver.call_graph

    def in_statement(self, statement: ast.With) -> list[Window]:
        """The windows that `statement` enters, in its own order."""
        found = [w for w in self.by_use.values() if statement in w.statements]
        return sorted(found, key=lambda w: statement.items.index(_item(w, statement)))

    def _around(self, window: Window) -> Window | None:
        """A window for the same model that this one is inside of."""
        ancestors = set(window.use.module.ancestors(window.statements[0]))
        for other in self.by_use.values():
            same = other.receiver == window.receiver and other.use.module is window.use.module
            if same and ancestors & set(other.statements):
                return other
        return None

    def _is_simple(self, window: Window) -> bool:
        """Whether what replaces a window can stand where the window is."""
        module = window.use.module
        names = {n.id for n in ast.walk(ast.parse(window.receiver)) if isinstance(n, ast.Name)}
        for statement in window.statements:
            bound = {
                n.id
                for item in statement.items
                if item.optional_vars is not None
                for n in ast.walk(item.optional_vars)
                if isinstance(n, ast.Name)
            }
            body = [n for s in statement.body for n in ast.walk(s)]
            bound |= {
                n.id for n in body if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            if names & bound:
                return False
        if window.stored is None:
            return True
        block = module.block(window.stored)
        adjacent = block.index(window.stored) + 1 == block.index(window.statements[0])
        if adjacent and len(window.statements) == 1:
            return True
        if len(window.statements) > 1:
            return self.stays(window)
        return self.stays(window) or not self.guarded(window.statements[0])

    # ------------------------------------------------------------------ what need not be done
    def stays(self, window: Window) -> bool:
        """Whether every backward pass of the program sets the flag of the window's model first."""
        return not window.idle and window.use in self._staying

    @cached_property
    def _staying(self) -> set[Use]:
        found = set()
        for window in self.by_use.values():
            same = [w for w in self.by_use.values() if w.use.wraps == window.use.wraps]
            if not self._is_one(window.use.wraps) or self._is_given_away(window.use.wraps):
                continue
            statements = [s for w in same for s in w.statements]
            if self._backwards and all(
                self._inside(module, node, statements) for module, node in self._backwards
            ):
                found.add(window.use)
        return found

    @cached_property
    def _backwards(self) -> list[tuple[Module, ast.AST]]:
        """The places that run a backward pass."""
        found: list[tuple[Module, ast.AST]] = []
        for module in self.facts.solver.project.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    graph = node.attr == "grad" and ast.unparse(node.value).endswith("autograd")
                    if node.attr in BACKWARD or graph:
                        found.append((module, node))
                elif isinstance(node, ast.Name) and node.id in BACKWARD:
                    found.append((module, node))
        return found

    def _inside(
        self, module: Module, node: ast.AST, statements: list[ast.With], depth: int = 0
    ) -> bool:
        """Whether `node` runs in the body of one of `statements`, here or in every caller."""
        child = node
        for around in module.ancestors(node):
            if isinstance(around, ast.With) and around in statements and child in around.body:
                return True
            if isinstance(around, FUNCTIONS):
                callers = self.calls.callers_of(module.site(around))
                return (
                    depth < DEPTH
                    and bool(callers)
                    and all(
                        self._inside(self.calls.module_of(c), c, statements, depth + 1)
                        for c in callers
                    )
                )
            child = around
        return False

    def _is_one(self, wraps: frozenset[Wrapped]) -> bool:
        """Whether `wraps` are one model, and not one after the other."""
        sites = [w.site for w in wraps]
        site = sites[0] if len(sites) == 1 else None
        fact = self.facts.solver.wraps.get(site) if site is not None else None
        return fact is not None and self._runs_once(fact.module, fact.node)

    def _is_given_away(self, wraps: frozenset[Wrapped]) -> bool:
        """Whether some library gets the model, which may train it."""
        solver = self.facts.solver
        for call in solver.call_nodes.values():
            names = [a.name for a in self.facts.value(call.func) if isinstance(a, Symbol)]
            if names and not all(name.startswith(HARMLESS) for name in names):
                arguments = [*call.args, *(k.value for k in call.keywords)]
                if any(self.facts.value(argument) & wraps for argument in arguments):
                    return True
        return False

    def _runs_once(self, module: Module, node: ast.AST, depth: int = 0) -> bool:
        for around in module.ancestors(node):
            if isinstance(around, (*LOOPS, ast.comprehension, ast.Lambda)):
                return False
            if isinstance(around, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                return False
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
                callers = self.calls.callers_of(module.site(around))
                return (
                    depth < DEPTH
                    and len(callers) < 2
                    and all(self._runs_once(self.calls.module_of(c), c, depth + 1) for c in callers)
                )
        return True

    def guarded(self, statement: ast.With) -> bool:
        """Whether what follows `statement` could be skipped, and the program go on."""
        return _leaves(statement) or self._caught(self._module(statement), statement)

    def _module(self, statement: ast.With) -> Module:
        return next(w.use.module for w in self.by_use.values() if statement in w.statements)

    def _caught(self, module: Module, node: ast.AST, depth: int = 0) -> bool:
        """Whether an exception at `node` is caught, here or by a caller that may not be known."""
        child = node
        for around in module.ancestors(node):
            if isinstance(around, ast.Try) and child in around.body:
                if any(not isinstance(h.body[-1], ast.Raise) for h in around.handlers):
                    return True
            if isinstance(around, ast.With) and any(
                getattr(atom, "symbol", "").startswith("contextlib.suppress")
                for item in around.items
                for atom in self.facts.value(item.context_expr)
            ):
                return True
            if isinstance(around, FUNCTIONS):
                callers = self.calls.callers_of(module.site(around))
                return (
                    depth == DEPTH
                    or not callers
                    or any(self._caught(self.calls.module_of(c), c, depth + 1) for c in callers)
                )
            child = around
        return False


@lru_cache(maxsize=2)
def windows(facts: Facts) -> Windows:
    """The windows of the program."""
    return Windows(facts)


def _item(window: Window, statement: ast.With) -> ast.withitem:
    return window.items[window.statements.index(statement)]


def _leaves(statement: ast.With) -> bool:
    """Whether the body can end early, or waits for somebody else."""

    def visit(node: ast.AST, in_loop: bool) -> bool:
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Await):
            return True
        if isinstance(node, ast.Break | ast.Continue):
            return not in_loop
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return False
        looping = in_loop or isinstance(node, LOOPS)
        return any(visit(child, looping) for child in ast.iter_child_nodes(node))

    return any(visit(child, False) for child in statement.body)


def is_repeatable(node: ast.expr) -> bool:
    """Whether evaluating the expression once more changes nothing."""
    doing = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
    return not any(isinstance(child, doing) for child in ast.walk(node))


def may_be_nested(use: Use, facts: Facts) -> bool:
    """Whether another `no_sync` may be open around this one, which must outlast it."""
    todo: list[tuple[Module, ast.AST]] = [(use.module, use.node)]
    seen: set[ast.AST] = set()
    while todo:
        module, node = todo.pop()
        inside = node
        for around in module.ancestors(node):
            if isinstance(around, ast.With | ast.AsyncWith) and inside in around.body:
                if any(_opens_no_sync(facts.value(i.context_expr)) for i in around.items):
                    return True
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef) and around not in seen:
                seen.add(around)
                calls = facts.solver.call_graph.callers_of(module.site(around))
                todo += [(facts.solver.call_graph.module_of(call), call) for call in calls]
                break
            inside = around
    return False


def _opens_no_sync(context: Value) -> bool:
    return any(isinstance(a, Result) and a.symbol == f"{FSDP1}.no_sync" for a in context)


# ---------------------------------------------------------------------- finding the `with`
def _window(use: Use, facts: Facts) -> Window | None:
    """The window that a use of `no_sync` opens, if it is easy to see."""
    call, module = use.call, use.module
    if not use.certain or use.args or use.keywords:
        return None
    keeps = keeps_unsharded(use, facts)
    assert use.receiver is not None
    if keeps is None or not is_repeatable(use.receiver):
        return None
    context: ast.expr = call if call is not None else use.node
    condition = "False"
    holes: tuple[Span, ...] = ()
    parent = module.parents[context]
    if isinstance(parent, ast.IfExp) and parent.test is not context:
        other = parent.orelse if parent.body is context else parent.body
        if not is_null(other, facts, called=call is not None):
            return None
        if keeps and not is_repeatable(parent.test):
            return None
        condition, holes = condition_of(use, parent.test, negated=parent.body is context)
        context = parent
        parent = module.parents[context]
    if isinstance(parent, ast.Call) and parent.func is context and call is None:
        context, parent = parent, module.parents[parent]
    elif use.call is None and not isinstance(parent, ast.Assign):
        return None
    if isinstance(parent, ast.withitem) and parent.optional_vars is None:
        statement = module.parents[parent]
        if isinstance(statement, ast.With):
            return Window(use, [statement], [parent], condition, holes, None, keeps)
    if isinstance(parent, ast.Assign):
        stored: ast.stmt = parent
        branch = module.parents[parent]
        if isinstance(branch, ast.If) and condition == "False":
            choice = _choice(use, facts, branch, parent)
            if choice is not None:
                stored, (condition, holes) = branch, choice
        entered = _withs(module, parent, stored, called=use.call is None)
        if entered:
            items = [item for _, item in entered]
            return Window(use, [s for s, _ in entered], items, condition, holes, stored, keeps)
    return None


def keeps_unsharded(use: Use, facts: Facts) -> bool | None:
    """Whether the model's weights stay gathered through the window; None if it isn't known."""
    plans = [facts.plan(w) for w in use.wraps]
    if None in plans:  # a model of unknown origin: one of those that the program makes
        plans = list(facts.plans.values())
    keeps = {plan.keeps_unsharded for plan in plans if plan is not None}
    return keeps.pop() if len(keeps) == 1 else None


def is_null(node: ast.expr, facts: Facts, called: bool) -> bool:
    if called and isinstance(node, ast.Call):
        node = node.func
    return bool(facts.value(node) & NULL)


def _choice(
    use: Use, facts: Facts, branch: ast.If, assignment: ast.Assign
) -> tuple[str, tuple[Span, ...]] | None:
    """`if last: context = nullcontext()`, `else: context = model.no_sync()`."""
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
    if (
        not is_repeatable(branch.test)
        or not same
        or (isinstance(parent, ast.If) and parent.orelse == [branch])
    ):
        return None
    return condition_of(use, branch.test, negated)


def _withs(
    module: Module, assignment: ast.Assign, stored: ast.stmt, called: bool
) -> list[tuple[ast.With, ast.withitem]]:
    """The `with` statements below that enter the assigned context, if nothing else reads it."""
    (target, *more) = assignment.targets
    if more or not isinstance(target, ast.Name):
        return []
    scope = module.function(stored) or module.tree
    mentions = {n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == target.id}
    mentions -= {n for n in ast.walk(stored) if isinstance(n, ast.Name)}
    block = module.block(stored)
    found = []
    for statement in block[block.index(stored) + 1 :]:
        for item in statement.items if isinstance(statement, ast.With) else ():
            entered = item.context_expr
            if called:
                if not isinstance(entered, ast.Call) or entered.args or entered.keywords:
                    continue
                entered = entered.func
            if entered in mentions and item.optional_vars is None:
                assert isinstance(statement, ast.With)
                found.append((statement, item))
                mentions -= {entered}
    return found if not mentions else []


# ---------------------------------------------------------------------- conditions
def condition_of(use: Use, test: ast.expr, negated: bool) -> tuple[str, tuple[Span, ...]]:
    """When gradients synchronise, given the test that picks `no_sync` (negated) or not."""
    if not negated:
        return "{1}", (use.module.span(test),)
    if isinstance(test, ast.BoolOp) and any(map(_flips, test.values)):
        if not any(isinstance(v, ast.BoolOp) for v in test.values):
            word = " or " if isinstance(test.op, ast.And) else " and "
            parts: list[str] = []
            holes: list[ast.expr] = []
            for text, nodes in map(_negation, test.values):
                parts.append(text.format(*(f"{{{i + 1 + len(holes)}}}" for i in range(len(nodes)))))
                holes += nodes
            return word.join(parts), tuple(map(use.module.span, holes))
    text, nodes = _negation(test)
    return text.format("{1}", "{2}"), tuple(map(use.module.span, nodes))


def _flips(test: ast.expr) -> bool:
    return _negation(test)[0] != "not {}"


def _negation(test: ast.expr) -> tuple[str, list[ast.expr]]:
    """The opposite of `test`, as a format of the expressions that follow."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return "{}", [test.operand]
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        flipped = _FLIPPED.get(type(test.ops[0]))
        if flipped is not None:
            return f"{{}} {flipped} {{}}", [test.left, test.comparators[0]]
    return "not {}", [test]


_FLIPPED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
