"""The functions and classes of a project, found in its trees before anything is followed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.syntax.module import Function, Module, Scope, scope_nodes
from fsdp_migrate.syntax.nodes import children, nodes_in
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class FunctionInfo:
    """A function of the project."""

    module: Module
    node: Function
    outer: tuple[Site, ...]  # the functions around it, the innermost first
    cls: Site | None  # the class it is a method of
    locals: frozenset[str]
    captured: frozenset[str]  # names that functions nested in it use

    @property
    def name(self) -> str:
        """Its name; empty for a lambda."""
        return "" if isinstance(self.node, ast.Lambda) else self.node.name

    @property
    def positional(self) -> list[ast.arg]:
        """The parameters that can be passed by position."""
        return [*self.node.args.posonlyargs, *self.node.args.args]

    @cached_property
    def defaults(self) -> Mapping[str, ast.expr]:
        """The defaults, by the name of the parameter."""
        args = self.node.args
        named = self.positional[len(self.positional) - len(args.defaults) :]
        defaults = {a.arg: node for a, node in zip(named, args.defaults, strict=True)}
        keyword_only = zip(args.kwonlyargs, args.kw_defaults, strict=True)
        return defaults | {a.arg: node for a, node in keyword_only if node is not None}

    @cached_property
    def is_generator(self) -> bool:
        """Whether calling it gives an iterator over what it yields."""
        return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in scope_nodes(self.node))

    @cached_property
    def rebound(self) -> frozenset[str]:
        """Its variables that functions nested in it bind anew."""
        found = {
            name
            for node in nodes_in(self.node)
            if isinstance(node, ast.Nonlocal) and self.module.function(node) is not self.node
            for name in node.names
        }
        return self.locals & found

    @cached_property
    def mentions(self) -> frozenset[str]:
        """The names of variables and attributes in it, its own apart."""
        nodes = nodes_in(self.node)
        names = {getattr(n, "attr", None) or getattr(n, "id", None) for n in nodes}
        return frozenset(name for name in names if name and name != self.name)

    @cached_property
    def decorators(self) -> frozenset[str]:
        """The last names of its decorators."""
        nodes = [] if isinstance(self.node, ast.Lambda) else self.node.decorator_list
        return frozenset(_last_name(node) for node in nodes)

    @property
    def is_static(self) -> bool:
        """Whether it is a method that gets no object."""
        return "staticmethod" in self.decorators


# What makes an object of the fields that its class declares: decorators, and bases.
DATACLASSES = frozenset({"dataclass", "define", "frozen", "mutable"})
OF_FIELDS = frozenset({"BaseModel", "NamedTuple"})


@dataclass(frozen=True, eq=False)
class ClassInfo:
    """A class of the project."""

    module: Module
    node: ast.ClassDef
    methods: dict[str, Site]
    is_dataclass: bool
    field_order: tuple[str, ...]

    @classmethod
    def of(cls, module: Module, node: ast.ClassDef) -> ClassInfo:
        """What `node` says of its class."""
        methods = {
            item.name: module.site(item)
            for item in scope_nodes(node)
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        is_dataclass = any(_last_name(item) in DATACLASSES for item in node.decorator_list)
        is_dataclass |= any(_last_name(base) in OF_FIELDS for base in node.bases)
        order = tuple(
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        )
        return cls(module, node, methods, is_dataclass, order)


@dataclass(frozen=True, eq=False)
class Program:
    """All functions and classes, by their place, and the names that inner scopes use."""

    functions: dict[Site, FunctionInfo]
    classes: dict[Site, ClassInfo]
    captured: dict[str, frozenset[str]]  # by module: names that its functions and classes use
    rebound: dict[str, frozenset[str]]  # by module: its variables that functions bind anew

    @classmethod
    def of(cls, project: Project) -> Program:
        """The definitions of every module of `project`."""
        program = cls({}, {}, {}, {})
        for module in project.modules.values():
            program._index(module, module.tree, (), None)
            program.captured[module.name] = _inner_names(module.tree)
            program.rebound[module.name] = frozenset(
                name
                for node in nodes_in(module.tree)
                if isinstance(node, ast.Global)
                for name in node.names
            )
        return program

    def _index(
        self, module: Module, node: ast.AST, outer: tuple[Site, ...], owner: Site | None
    ) -> None:
        """Note what is defined below `node`, in the functions `outer` and the class `owner`."""
        for child in children(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                site = module.site(child)
                self.functions[site] = FunctionInfo(
                    module, child, outer, owner, _bound(child), _inner_names(child)
                )
                self._index(module, child, (site, *outer), None)
            elif isinstance(child, ast.ClassDef):
                self.classes[module.site(child)] = ClassInfo.of(module, child)
                self._index(module, child, outer, module.site(child))
            else:
                self._index(module, child, outer, owner)


def _last_name(decorator: ast.expr) -> str:
    """The last part of what a decorator is called: `b` of `@a.b(...)`."""
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _bound(function: Function) -> frozenset[str]:
    """The names that are local to `function`."""
    args = function.args
    names = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs]}
    names |= {a.arg for a in (args.vararg, args.kwarg) if a is not None}
    outer: set[str] = set()
    for node in scope_nodes(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            outer |= set(node.names)
    return frozenset(names - outer)


def _inner_names(scope: Scope) -> frozenset[str]:
    """The names that functions and classes nested in `scope` use."""
    names: set[str] = set()
    for node in scope_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            names |= {n.id for n in nodes_in(node) if isinstance(n, ast.Name)}
    return frozenset(names)
