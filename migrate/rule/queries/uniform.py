"""Whether a condition comes out the same on every rank, as far as that can be proven.

What isn't known counts as different: a flag may stand for `rank == 0`, whatever it is called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import Symbol, Wrapped, constant
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.conditions import conditions
from fsdp_migrate.rule.queries.functions_run import functions_run
from fsdp_migrate.rule.queries.running import callers
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import children, nodes_in, own_nodes

DEPTH = 8  # definitions that are followed
# What depends on nothing but its arguments, or is the same for the whole job.
PURE = frozenset(
    {
        "builtins.abs", "builtins.bool", "builtins.float", "builtins.int", "builtins.max",
        "builtins.min", "builtins.range", "builtins.round", "builtins.str", "builtins.tuple",
        "torch.cuda.is_available", "torch.distributed.get_world_size",
        "torch.distributed.is_available", "torch.distributed.is_initialized",
    }
)  # fmt: skip
ASKS = frozenset({"builtins.hasattr", "builtins.isinstance"})  # what a model is
PARSING = frozenset({"parse_args", "parse_known_args"})
SEPARATE = "rank"  # launchers hand each process its own, by an argument that is called so
OPERATIONS = (
    ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.List,
    ast.Set, ast.Tuple, ast.UnaryOp,
)  # fmt: skip


def _is_in_class(module: Module, node: ast.Name) -> bool:
    return isinstance(module.scope(node), ast.ClassDef)


def is_uniform(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` certainly has the same value on every rank."""
    return _Proof(facts).holds(module, node, 0)


class _Proof:
    """Follows an expression to what it is computed from."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._open: set[ast.AST] = set()

    def holds(self, module: Module, node: ast.expr, depth: int) -> bool:
        """Whether `node` is the same everywhere; what depends on itself adds nothing."""
        if isinstance(node, ast.Constant) or node in self._open:
            return True
        if depth > DEPTH:
            return False
        self._open.add(node)
        try:
            return self._holds(module, node, depth + 1)
        finally:
            self._open.discard(node)

    def _holds(self, module: Module, node: ast.expr, depth: int) -> bool:
        if isinstance(node, ast.Name):
            return self._name(module, node, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(module, node, depth)
        if isinstance(node, ast.Call):
            return self._call(module, node, depth)
        if isinstance(node, OPERATIONS):
            parts = [part for part in children(node) if isinstance(part, ast.expr)]
            return all(self.holds(module, part, depth) for part in parts)
        return False

    # ------------------------------------------------------------------ variables
    def _name(self, module: Module, node: ast.Name, depth: int) -> bool:
        scope = scope_of(module, node)
        bound = list(bindings(scope, node.id)) if scope is not None else []
        if not bound:
            return node.id == "__name__"
        return all(self._binding(module, item, depth) for item in bound)

    def _binding(self, module: Module, bound: ast.AST, depth: int) -> bool:
        if isinstance(bound, ast.arg):
            return self._parameter(module, bound, depth)
        if isinstance(bound, ast.alias):
            return constant(self.facts.value(bound)) is not None
        if not isinstance(bound, ast.Name):
            return False
        statement = module.statement(bound)
        if isinstance(statement, ast.For) and any(bound is n for n in nodes_in(statement.target)):
            return self._counts(module, statement, bound, depth)
        if isinstance(statement, ast.AugAssign):
            return self.holds(module, statement.value, depth) and self._runs(module, bound, depth)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            alone = all(isinstance(target, ast.Name) for target in targets)
            own = alone and self.holds(module, statement.value, depth)
            return own and self._runs(module, bound, depth)
        return False

    def _runs(self, module: Module, node: ast.AST, depth: int) -> bool:
        """Whether every rank comes to an assignment, or none."""
        return all(
            condition.tests and self.holds(module, condition.tests[0], depth)
            for condition in conditions(module, node)
        )

    def _counts(self, module: Module, loop: ast.For, bound: ast.Name, depth: int) -> bool:
        """Whether a loop's variable counts its rounds, which the ranks go through together."""
        call = loop.iter
        if not isinstance(call, ast.Call):
            return self.holds(module, call, depth)
        names = {a.name for a in self.facts.value(call.func) if isinstance(a, Symbol)}
        if names == {"builtins.enumerate"} and isinstance(loop.target, ast.Tuple):
            starts = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
            first = loop.target.elts[0] is bound
            return first and all(self.holds(module, start, depth) for start in starts)
        return self.holds(module, call, depth)

    def _parameter(self, module: Module, bound: ast.arg, depth: int) -> bool:
        """Whether every caller hands in the same on every rank."""
        given = list(given_to(self.facts, module, bound))
        return bool(given) and all(
            value is not None and self.holds(home, value, depth) for home, value in given
        )

    # ------------------------------------------------------------------ objects and calls
    def _attribute(self, module: Module, node: ast.Attribute, depth: int) -> bool:
        if SEPARATE in node.attr.lower():
            return False
        scope = module.function(node) or module.tree
        named = self.facts.analysis.named_tests.find(module, scope, node)
        if named is not None and named.is_property:
            return self.holds(named.module, named.test, depth)
        stored = list(self._stored(node.attr))
        if not all(
            value is not None and self.holds(home, value, depth) and self._runs(home, at, depth)
            for home, value, at in stored
        ):
            return False
        return bool(stored) or self._is_command_line(module, node.value, depth)

    def _stored(self, name: str) -> Iterator[tuple[Module, ast.expr | None, ast.AST]]:
        """What is assigned to an attribute of that name, or a field of a class, anywhere."""
        index = self.facts.analysis.project.index
        for module, attribute in index.of_attribute(name):
            if not isinstance(attribute.ctx, ast.Load):
                yield module, _assigned(module.statement(attribute)), attribute
        for module, field in index.named(name):
            if not isinstance(field.ctx, ast.Load) and _is_in_class(module, field):
                yield module, _assigned(module.statement(field)), field

    def _is_command_line(self, module: Module, node: ast.expr, depth: int) -> bool:
        """Whether `node` is what an argument parser gives, the same wherever it is run."""
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Attribute) and node.func.attr in PARSING
        return isinstance(node, ast.Name) and self._names_arguments(module, node, depth)

    def _names_arguments(self, module: Module, node: ast.Name, depth: int) -> bool:
        """Whether a variable is the parsed command line, here or in every caller."""
        scope = scope_of(module, node)
        found: list[tuple[Module, ast.expr | None]] = []
        for item in bindings(scope, node.id) if scope is not None else ():
            if isinstance(item, ast.arg):
                found += given_to(self.facts, module, item) or [(module, None)]
            else:
                found.append((module, _assigned(module.statement(item))))
        return (
            bool(found)
            and depth < DEPTH
            and all(
                value is not None and self._is_command_line(home, value, depth + 1)
                for home, value in found
            )
        )

    def _call(self, module: Module, node: ast.Call, depth: int) -> bool:
        called = self.facts.value(node.func)
        names = {atom.name for atom in called if isinstance(atom, Symbol)}
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if names and names <= ASKS and given:
            if any(isinstance(atom, Wrapped) for atom in self.facts.value(given[0])):
                return True
        if not all(self.holds(module, argument, depth) for argument in given):
            return False
        if names and len(names) == len(called):
            return names <= PURE
        sites = [site for atom in called for site in functions_run(self.facts, atom)]
        return len(sites) == len(called) > 0 and all(
            self._returned(self.facts.analysis.functions[site], depth) for site in sites
        )

    def _returned(self, info: FunctionInfo, depth: int) -> bool:
        """Whether a function gives the same everywhere."""
        if isinstance(info.node, ast.Lambda):
            return self.holds(info.module, info.node.body, depth)
        returns = [node for node in own_nodes(info.node) if isinstance(node, ast.Return)]
        return all(
            (node.value is None or self.holds(info.module, node.value, depth))
            and self._runs(info.module, node, depth)
            for node in returns
        )


def _assigned(statement: ast.stmt) -> ast.expr | None:
    """What a plain assignment assigns."""
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return statement.value
    return None


def given_to(facts: Facts, module: Module, bound: ast.arg) -> list[tuple[Module, ast.expr | None]]:
    """What each caller hands in for a parameter; None where that can't be told."""
    function = module.parents[module.parents[bound]]
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    return [
        (home, _given(call, function, bound)) for home, call in callers(facts, module, function)
    ]


def _given(
    call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef, bound: ast.arg
) -> ast.expr | None:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if bound.arg in named:
        return named[bound.arg]
    if None in named or any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    every = [*function.args.posonlyargs, *function.args.args]
    positional = every[1:] if every and every[0].arg in ("self", "cls") else every
    if bound in positional and positional.index(bound) < len(call.args):
        return call.args[positional.index(bound)]
    defaults: dict[ast.arg, ast.expr | None] = dict(
        zip(reversed(every), reversed(function.args.defaults), strict=False)
    )
    defaults |= dict(zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True))
    default = defaults.get(bound)
    return default if isinstance(default, ast.Constant) else None
