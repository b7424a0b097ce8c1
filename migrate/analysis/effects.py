"""What a statement reads, binds and does: enough to tell whether two may change places."""

from __future__ import annotations

import ast
from functools import cache, cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.library.modules import is_torch_module
from fsdp_migrate.analysis.library_results import LibraryResults, Role, parts_given
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Method,
    Params,
    Result,
    Super,
    Symbol,
    Unknown,
    symbols,
)
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

# Library functions that do nothing but compute what they return.
QUIET = (
    "builtins.", "collections.", "copy.", "functools.", "inspect.signature", "itertools.",
    "math.", "operator.", "torch.device", "torch.optim.", "torch.tensor", "typing.",
)  # fmt: skip
LOUD_BUILTINS = frozenset(
    {"compile", "delattr", "eval", "exec", "input", "next", "open", "setattr", "__import__"}
)
# Functions of torch that make a new tensor.
MAKES_TENSOR = frozenset(
    f"torch.{name}"
    for name in ("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randn", "zeros")
)
# Methods that move or cast a module, and give it back with as many parameters as before.
KEEPS_PARAMETERS = frozenset(
    {"bfloat16", "cpu", "cuda", "double", "eval", "float", "half", "to", "train"}
)
STORES_ANY = frozenset({"builtins.setattr", "builtins.vars"})
OUTPUT = frozenset({"builtins.print", "logging.info", "logging.debug", "logging.warning"})
OUTPUT_METHODS = frozenset({"debug", "info", "print", "warning"})
# Methods of strings, lists, dicts, parameters and modules that change nothing outside.
QUIET_METHODS = frozenset(
    {
        "add", "append", "copy", "dim", "endswith", "extend", "format", "get", "insert", "items",
        "join", "keys", "lower", "modules", "named_modules", "named_parameters", "ndimension",
        "numel", "parameters", "children", "named_children", "replace", "size", "sort", "split",
        "startswith", "strip", "union", "update", "upper", "values",
    }
)  # fmt: skip


class Effects:
    """What calls do, as far as the program says."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._results = LibraryResults(analysis)
        self._quiet = cache(self._quiet_function)

    @cached_property
    def stored(self) -> frozenset[str]:
        """The attributes that the program stores somewhere; "*" for computed names."""
        found: set[str] = set()
        for module in self.analysis.project.modules.values():
            for node in nodes_in(module.tree):
                if isinstance(node, ast.Attribute):
                    if not isinstance(node.ctx, ast.Load):
                        found.add(node.attr)
                    elif node.attr in {"__dict__", "__setattr__"}:
                        found.add("*")
                elif isinstance(node, ast.Call):
                    if symbols(self.analysis.value(node.func)) & STORES_ANY:
                        found.add("*")
        return frozenset(found)

    def quiet(self, node: ast.AST) -> bool:
        """Whether running `node` does nothing but bind names (and print)."""
        for item in own_nodes(node):
            if isinstance(item, ast.Await | ast.Yield | ast.YieldFrom | ast.Delete):
                return False
            if isinstance(item, ast.Return | ast.Raise | ast.Global | ast.Nonlocal):
                return False
            if isinstance(item, ast.Call) and not self._quiet_call(item, ()):
                return False
        return True

    def builds(self, call: ast.Call) -> bool:
        """Whether `call` at most makes new modules, be it of others that it is given.

        They may be initialised at random, so that two such calls can't change places.
        """
        return self._building._quiet_call(call, ())

    @cached_property
    def _building(self) -> Effects:
        return _Building(self.analysis)

    def prints(self, node: ast.AST) -> bool:
        """Whether running `node` may print something, as far as its own calls go."""
        return any(self._may_print(item, 0) for item in nodes_in(node))

    def mentions(self, node: ast.AST, words: frozenset[str] | set[str]) -> bool:
        """Whether `node`, or a function of the program that it calls, names one of `words`."""
        return self._mentions(node, frozenset(words), frozenset())

    def _mentions(self, node: ast.AST, words: frozenset[str], seen: frozenset[Site]) -> bool:
        for item in nodes_in(node):
            name = getattr(item, "attr", None) or getattr(item, "id", None)
            if name in words:
                return True
            if not isinstance(item, ast.Call):
                continue
            for atom in self.analysis.value(item.func):
                site = self._function(atom)
                if site is not None and site not in seen:
                    body = self.analysis.functions[site].node
                    if self._mentions(body, words, seen | {site}):
                        return True
        return False

    def _may_print(self, item: ast.AST, depth: int) -> bool:
        if not isinstance(item, ast.Call):
            return False
        for atom in self.analysis.value(item.func):
            if isinstance(atom, Symbol) and atom.name in OUTPUT:
                return True
            site = self._function(atom)
            if site is not None:
                body = self.analysis.functions[site].node
                if depth > 3 or any(self._may_print(n, depth + 1) for n in nodes_in(body)):
                    return True
        return isinstance(item.func, ast.Attribute) and item.func.attr in OUTPUT_METHODS

    def _quiet_call(self, call: ast.Call, stack: tuple[Site, ...]) -> bool:
        value = self.analysis.value(call.func)
        attr = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if not value:
            return attr in QUIET_METHODS | OUTPUT_METHODS
        return all(self._quiet_atom(atom, attr, stack) for atom in value) or (
            all(isinstance(atom, Symbol | Result) for atom in value) and self._for_optimizers(call)
        )

    def _for_optimizers(self, call: ast.Call) -> bool:
        """Whether a library's call makes an optimizer, or a schedule: it is given no module."""
        made = self.analysis.value(call)
        if made and all(self._results.role(atom) is Role.OPTIMIZER for atom in made):
            return True
        given = [atom for part in parts_given(call) for atom in self.analysis.value(part)]
        known = [atom for atom in given if not isinstance(atom, Const | Func | Bound)]
        return bool(known) and all(self._results.role(atom) is Role.OPTIMIZER for atom in known)

    def _quiet_atom(self, atom: Atom, attr: str, stack: tuple[Site, ...]) -> bool:
        """Whether calling `atom`, as the method `attr` if it is one, changes nothing outside."""
        match atom:
            case Symbol():
                return self._quiet_symbol(atom.name)
            case Func() | Bound() | Cls():
                return self._quiet_callee(atom, stack)
            case Method(receiver=Super()):
                return True
            case Method(receiver=Params() | Container()):
                return attr in QUIET_METHODS | {"pop", "setdefault"}
            case Method() | Unknown():
                return attr in QUIET_METHODS | OUTPUT_METHODS
            case _:
                return self._results.role(atom) is Role.OPTIMIZER

    def _function(self, atom: Atom) -> Site | None:
        return called_function(atom, self.analysis.method)

    def _quiet_callee(self, atom: Func | Bound | Cls, stack: tuple[Site, ...]) -> bool:
        site = self._function(atom)
        if site is None:
            return isinstance(atom, Cls) and self.analysis.classes[atom.site].is_dataclass
        return site in stack or self._quiet(site, (*stack, site))

    def _quiet_function(self, site: Site, stack: tuple[Site, ...]) -> bool:
        info = self.analysis.functions[site]
        own = info.positional[0].arg if info.name == "__init__" and info.positional else None
        body = [info.node.body] if isinstance(info.node, ast.Lambda) else info.node.body
        for item in (n for statement in body for n in own_nodes(statement)):
            if isinstance(item, ast.Await | ast.Yield | ast.YieldFrom | ast.Global | ast.Nonlocal):
                return False
            if isinstance(item, ast.Call) and not self._quiet_call(item, stack):
                return False
            if isinstance(item, ast.Attribute) and not isinstance(item.ctx, ast.Load):
                if own is None or path_of(item.value) != own:
                    return False  # it stores something on an object that it doesn't make
        return True

    def _quiet_symbol(self, name: str) -> bool:
        if name in OUTPUT:
            return True
        if name.startswith("builtins."):
            return name.removeprefix("builtins.") not in LOUD_BUILTINS
        return name.startswith(QUIET)


class _Building(Effects):
    """The same, where new tensors and modules count as quiet."""

    def _quiet_atom(self, atom: Atom, attr: str, stack: tuple[Site, ...]) -> bool:
        if isinstance(atom, Method | Unknown) and attr in KEEPS_PARAMETERS:
            return True
        return super()._quiet_atom(atom, attr, stack)

    def _quiet_symbol(self, name: str) -> bool:
        return name in MAKES_TENSOR or is_torch_module(name) or super()._quiet_symbol(name)
