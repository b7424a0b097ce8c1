"""One run over the body of a function or module: statements and expressions to values."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.library import calls as library
from fsdp_migrate.analysis.solver import ANY, FunctionInfo, Solver, Unit
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Atom,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Instance,
    ModuleRef,
    Params,
    Partial,
    Result,
    Super,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constant,
    join,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, canonical, starred
from fsdp_migrate.syntax.module import BUILTINS, Module
from fsdp_migrate.syntax.span import Site

Env = dict[str, Value]
COMPUTED = unknown("computed")
LOOPS = 3  # runs of a loop body; its values only have to be seen once more than they change


class Frame:
    """The state of one run: the local variables, by name, and `self.x` paths as if they were."""

    def __init__(self, solver: Solver, unit: Unit) -> None:
        self.solver = solver
        self.unit = unit
        self.module: Module = solver.project.modules[unit.module]
        self.info: FunctionInfo | None = solver.functions[unit.site] if unit.site else None
        self.env: Env = {}
        self.live = True
        self.ambient = solver.contexts.get(unit, frozenset({None}))
        self.cls: Site | None = None  # the class whose body is being run
        self._looking: set[str] = set()  # modules that a name is being looked for in
        self.outward: set[str] = set()  # names declared global or nonlocal

    # ------------------------------------------------------------------ running
    def run(self) -> None:
        """Run the unit's body, and put what outlives it on the heap."""
        if self.info is None:
            self.block(self.module.tree.body)
            self._expose(self.env)
            return
        node = self.info.node
        self._bind_parameters()
        if isinstance(node, ast.Lambda):
            self.solver.write(self.ev(node.body), "return", self.unit)
        else:
            self.block(node.body)
            if self.live and not self.info.is_generator:
                self.solver.write(NONE, "return", self.unit)
        self._expose(self.env)
        self._flush_attributes()

    def _bind_parameters(self) -> None:
        assert self.info is not None
        args = self.info.node.args
        named = [*args.posonlyargs, *args.args]
        defaults = dict(
            zip(
                [a.arg for a in named[len(named) - len(args.defaults) :]],
                args.defaults,
                strict=True,
            )
        )
        defaults |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d}
        for arg in [*named, *args.kwonlyargs]:
            value = self.solver.read("param", self.unit, arg.arg)
            missing = self.solver.read("unpassed", self.unit, arg.arg)
            if missing:
                stated = self._annotated(arg.annotation)
                if arg.arg in defaults:
                    default = self.solver.value(defaults[arg.arg])
                    value = join(value, default)
                    missing = NOTHING if not _unpassed(missing) else missing
                value = join(value, stated or missing)
            if value and all(isinstance(atom, Unknown) for atom in value):
                value = self._annotated(arg.annotation) or value
            self.env[arg.arg] = value
        for star, kind in ((args.vararg, "tuple"), (args.kwarg, "dict")):
            if star is not None:
                site = self.module.site(star)
                self.env[star.arg] = frozenset({Container(site, kind)})

    def _annotated(self, annotation: ast.expr | None) -> Value:
        """The instances that an annotation promises: of classes of the project, or FSDP models."""
        found: Value = NOTHING
        for atom in self._annotation_atoms(annotation):
            if isinstance(atom, Cls):
                found = join(found, frozenset({Instance(atom.site)}))
            elif atom == Symbol(FSDP1):
                found = join(found, frozenset({Wrapped(None)}))
        return found

    def _annotation_atoms(self, node: ast.expr | None) -> Value:
        if node is None:
            return NOTHING
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self._annotation_atoms(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                return NOTHING
        if isinstance(node, ast.BinOp):
            return join(self._annotation_atoms(node.left), self._annotation_atoms(node.right))
        if isinstance(node, ast.Subscript):
            outer = self.ev(node.value)
            if any(isinstance(a, Symbol) and a.name.endswith(("Optional", "Union")) for a in outer):
                items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                return join(*(self._annotation_atoms(item) for item in items))
            return NOTHING
        return self.ev(node)

    def _expose(self, env: Env, only_captured: bool = False) -> None:
        """Let other scopes see the variables of this one."""
        scope: str | Site = self.unit.site or self.unit.module
        captured = self.info.captured if self.info else self.solver.captured[self.module.name]
        for name, value in env.items():
            if "." in name:
                continue
            if name in captured or (self.info is None and not only_captured):
                self.solver.write(value, "name", scope, name)

    def _flush_attributes(self) -> None:
        """Write the `self.x` that were assigned here where other functions see them."""
        for path, value in list(self.env.items()):
            if path.endswith("!"):  # assigned here, and not seen outside yet
                base, _, attr = path[:-1].rpartition(".")
                self._store_attribute(self._path_value(base), attr, value)
                del self.env[path]

    def snapshot(self) -> None:
        """A call into the project: what it can see of this scope is what holds now."""
        self._expose(self.env, only_captured=True)
        self._flush_attributes()
        for path in [p for p in self.env if "." in p]:
            del self.env[path]

    # ------------------------------------------------------------------ statements
    def block(self, body: list[ast.stmt]) -> None:
        """Run statements in order."""
        for statement in body:
            if not self.live:
                # unreachable by our reckoning; look at it all the same, nothing may be missed
                self.live = True
            getattr(self, f"do_{type(statement).__name__}", self.do_other)(statement)

    def do_other(self, node: ast.stmt) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.ev(child)

    def do_Expr(self, node: ast.Expr) -> None:
        value = self.ev(node.value)
        if library.sets_mode(value):
            self.ambient = library.entered(self.ambient, value)

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.ev(node.value)
        for target in node.targets:
            self.assign(target, value, node.value)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.ev(node.annotation)
        if node.value is not None:
            self.assign(node.target, self.ev(node.value), node.value)
        elif self.cls is None and isinstance(node.target, ast.Name):
            self.env.setdefault(node.target.id, NOTHING)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        old = self.ev(node.target)
        self.solver.values[node.value] = join(self.solver.values[node.value], self.ev(node.value))
        self.assign(node.target, join(old, self.solver.values[node.value]), node.value)

    def do_Return(self, node: ast.Return) -> None:
        value = self.ev(node.value) if node.value else NONE
        if self.info is None or not self.info.is_generator:
            self.solver.write(value, "return", self.unit)
        self.snapshot()
        self.live = False

    def do_Raise(self, node: ast.Raise) -> None:
        self.do_other(node)
        self.live = False

    def do_Break(self, node: ast.Break) -> None:
        self._leave_loop()

    do_Continue = do_Break

    def _leave_loop(self) -> None:
        self._breaks[-1].append(dict(self.env))
        self.live = False

    @property
    def _breaks(self) -> list[list[Env]]:
        stack: list[list[Env]] = self.__dict__.setdefault("_break_stack", [[]])
        return stack

    def do_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.outward |= set(node.names)

    do_Nonlocal = do_Global

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for expression in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            if expression is not None:
                self.ev(expression)
        annotations = [a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg)]
        for annotation in [*annotations, node.returns]:
            if annotation is not None:
                self.ev(annotation)
        value: Value = frozenset({Func(self.module.site(node))})
        self.assign(ast.Name(node.name, ast.Store()), value, None)

    do_AsyncFunctionDef = do_FunctionDef

    def do_ClassDef(self, node: ast.ClassDef) -> None:
        site = self.module.site(node)
        for expression in node.decorator_list:
            self.ev(expression)
        for base in node.bases:
            self.solver.write(self.ev(base), "bases", site)
        for keyword in node.keywords:
            self.ev(keyword.value)
        outer, self.cls = self.cls, site
        saved = dict(self.env)
        self.block(node.body)
        self.env = saved
        self.cls = outer
        self.assign(ast.Name(node.name, ast.Store()), frozenset({Cls(site)}), None)

    def do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            found = self.solver.project.resolve(self.module, alias.name if alias.asname else top)
            name = alias.name if alias.asname else top
            value: Value = (
                frozenset({ModuleRef(found)}) if found else frozenset({Symbol(canonical(name))})
            )
            self.assign(ast.Name(alias.asname or top, ast.Store()), value, None)

    def do_ImportFrom(self, node: ast.ImportFrom) -> None:
        home = self.solver.project.resolve(self.module, node.module or "", node.level)
        for alias in node.names:
            if alias.name == "*":
                continue
            value = self._imported(home, node, alias.name)
            self.solver.values[alias] = join(self.solver.values[alias], value)
            self.assign(ast.Name(alias.asname or alias.name, ast.Store()), value, None)

    def _imported(self, home: str | None, node: ast.ImportFrom, name: str) -> Value:
        if home is not None:
            return self.global_name(home, name)
        if node.level:
            return unknown(f"`{'.' * node.level}{node.module or ''}` is not among the files")
        return frozenset({Symbol(canonical(f"{node.module}.{name}"))})

    def do_If(self, node: ast.If) -> None:
        self.ev(node.test)
        before = dict(self.env)
        ambient = self.ambient
        self.narrow(node.test, True)
        self.block(node.body)
        after, live, opened = self.env, self.live, self.ambient
        self.env, self.live, self.ambient = before, True, ambient
        self.narrow(node.test, False)
        self.block(node.orelse)
        if live:
            self.ambient = self.ambient | opened if self.live else opened
        self._merge(after, live)

    def _merge(self, other: Env, live: bool) -> None:
        """Join the state of another path into this one."""
        if live and self.live:
            self.env = _join_env(self.env, other)
        elif live:
            self.env, self.live = other, True

    def do_For(self, node: ast.For | ast.AsyncFor) -> None:
        items = self.elements(self.ev(node.iter))
        self._breaks.append([])
        before = dict(self.env)
        for _ in range(LOOPS):
            start = dict(self.env)
            self.assign(node.target, items, None)
            self.block(node.body)
            self.live = True
            self.env = _join_env(start, self.env)
            if self.env == start:
                break
        self.env = _join_env(before, self.env)
        self.block(node.orelse)
        for env in self._breaks.pop():
            self.env = _join_env(self.env, env)
        self.live = True

    do_AsyncFor = do_For

    def do_While(self, node: ast.While) -> None:
        self._breaks.append([])
        for _ in range(LOOPS):
            start = dict(self.env)
            self.ev(node.test)
            self.narrow(node.test, True)
            self.block(node.body)
            self.live = True
            self.env = _join_env(start, self.env)
            if self.env == start:
                break
        self.narrow(node.test, False)
        self.block(node.orelse)
        for env in self._breaks.pop():
            self.env = _join_env(self.env, env)
        self.live = True

    def do_Try(self, node: ast.Try) -> None:
        before = dict(self.env)
        self.block(node.body)
        self.block(node.orelse)
        after, live = self.env, self.live
        for handler in node.handlers:
            self.env, self.live = _join_env(before, after), True
            if handler.type is not None:
                self.ev(handler.type)
            if handler.name:
                self.env[handler.name] = COMPUTED
            self.block(handler.body)
            if self.live:
                after, live = (_join_env(after, self.env) if live else self.env), True
        self.env, self.live = after, True
        self.block(node.finalbody)
        self.live = self.live and live

    do_TryStar = do_Try

    def do_With(self, node: ast.With | ast.AsyncWith) -> None:
        saved = self.ambient
        for item in node.items:
            value = self.ev(item.context_expr)
            self.ambient = library.entered(self.ambient, value)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, item.context_expr)
        self.block(node.body)
        self.ambient = saved

    do_AsyncWith = do_With

    def do_Match(self, node: ast.Match) -> None:
        self.ev(node.subject)
        before = dict(self.env)
        ends: list[Env] = []
        for case in node.cases:
            self.env, self.live = dict(before), True
            for pattern in ast.walk(case.pattern):
                if isinstance(pattern, ast.MatchAs | ast.MatchStar) and pattern.name:
                    self.env[pattern.name] = COMPUTED
                elif isinstance(pattern, ast.MatchValue):
                    self.ev(pattern.value)
                elif isinstance(pattern, ast.MatchClass):
                    self.ev(pattern.cls)
            if case.guard is not None:
                self.ev(case.guard)
            self.block(case.body)
            if self.live:
                ends.append(self.env)
        if not any(map(_matches_all, node.cases)):
            ends.append(before)
        self.env, self.live = (ends[0], True) if ends else (before, False)
        for env in ends[1:]:
            self.env = _join_env(self.env, env)

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.ev(target)

    # ------------------------------------------------------------------ assignment
    def assign(self, target: ast.expr, value: Value, source: ast.expr | None) -> None:
        """Bind `value` to a target of any shape."""
        if isinstance(target, ast.Name):
            self._assign_name(target.id, value)
        elif isinstance(target, ast.Attribute):
            base = self.ev(target.value)
            path = _path(target)
            if path is not None and any(isinstance(atom, Instance) for atom in base):
                self._forget(path)
                self.env[path] = value
                self.env[f"{path}!"] = value
            else:
                self._store_attribute(base, target.attr, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value, source)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, COMPUTED, None)
        elif isinstance(target, ast.Subscript):
            key = constant(self.ev(target.slice))
            for atom in self.ev(target.value):
                self.store_item(atom, key.value if key else ANY, value)

    def _assign_name(self, name: str, value: Value) -> None:
        if self.cls is not None:
            self.solver.write(value, "class", self.cls, name)
        if name in self.outward:
            self.solver.write(value, "name", self.unit.module, name)
            for outer in self.info.outer if self.info else ():
                self.solver.write(value, "name", outer, name)
            return
        self._forget(name)
        self.env[name] = value

    def _forget(self, path: str) -> None:
        """Drop what is known of `path.x` when `path` is bound anew."""
        for known in [k for k in self.env if k.startswith(f"{path}.")]:
            del self.env[known]

    def _unpack(self, target: ast.Tuple | ast.List, value: Value, source: ast.expr | None) -> None:
        if isinstance(source, ast.Tuple | ast.List) and len(source.elts) == len(target.elts):
            for inner, node in zip(target.elts, source.elts, strict=True):
                self.assign(inner, self.solver.value(node), node)
            return
        for index, inner in enumerate(target.elts):
            self.assign(inner, join(*(self.item(atom, index) for atom in value)), None)

    def _store_attribute(self, base: Value, attr: str, value: Value) -> None:
        for atom in base:
            if isinstance(atom, Instance):
                self.solver.write(value, "field", atom.cls, attr)
            elif isinstance(atom, Cls):
                self.solver.write(value, "class", atom.site, attr)
            elif isinstance(atom, ModuleRef):
                self.solver.write(value, "name", atom.module, attr)
            elif isinstance(atom, Wrapped) and atom.site in self.solver.wraps:
                inner = self.solver.wraps[atom.site].inner
                self._store_attribute(inner - {atom}, attr, value)
            elif isinstance(atom, Result):
                self.solver.write(value, "result", atom.site, attr)

    def store_item(self, atom: Atom, key: object, value: Value) -> None:
        """Write an item of a container."""
        if isinstance(atom, Container):
            self.solver.write(value, "item", atom.site, key)
        elif isinstance(atom, Result):
            self.solver.write(value, "item", atom.site, ANY)

    # ------------------------------------------------------------------ narrowing
    def narrow(self, test: ast.expr, truth: bool) -> None:
        """Use what a condition says about a variable: `isinstance`, `is None`."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.narrow(test.operand, not truth)
        elif isinstance(test, ast.BoolOp):
            if isinstance(test.op, ast.And) == truth:
                for part in test.values:
                    self.narrow(part, truth)
        elif isinstance(test, ast.Call) and _is_name(test.func, "isinstance"):
            if len(test.args) == 2:
                self._narrow_class(test.args[0], test.args[1], truth)
        elif isinstance(test, ast.Call) and _is_name(test.func, "hasattr"):
            if len(test.args) == 2:
                self._narrow_attribute(test.args[0], test.args[1], truth)
        elif isinstance(test, ast.Compare) and len(test.ops) == 1:
            is_none = isinstance(test.comparators[0], ast.Constant) and (
                test.comparators[0].value is None
            )
            if is_none and isinstance(test.ops[0], ast.Is | ast.IsNot):
                self._narrow_none(test.left, isinstance(test.ops[0], ast.Is) == truth)
        elif isinstance(test, ast.Name | ast.Attribute) and truth:
            self._narrow_none(test, False)

    def _narrow_none(self, node: ast.expr, is_none: bool) -> None:
        path = _path(node)
        if path is not None and not is_none:
            value = self.ev(node)
            if value - NONE:
                self.env[path] = value - NONE

    def _narrow_class(self, node: ast.expr, classes: ast.expr, truth: bool) -> None:
        path = _path(node)
        if path is None:
            return
        named = classes.elts if isinstance(classes, ast.Tuple) else [classes]
        tested = join(*(self.ev(c) for c in named))
        for atom in tested:
            if isinstance(atom, Container):  # a tuple of classes by its name
                tested = join(tested - {atom}, self.elements(frozenset({atom})))
        value = self.ev(node)
        known = {library.class_name(atom) for atom in tested} - {None}
        if not known or len(known) != len(tested):
            return
        kept: set[Atom] = set()
        for atom in value:
            answer = library.is_instance(self.solver, atom, known)
            if answer is None:
                if truth and FSDP1 in known:
                    kept.add(Wrapped(None))
                if truth and known == {library.DDP} and isinstance(atom, Unknown):
                    kept.add(Result(library.DDP, self.module.site(node)))
                elif not truth or known != {FSDP1}:
                    kept.add(atom)
            elif answer == truth:
                kept.add(atom)
        self.env[path] = frozenset(kept)

    def _narrow_attribute(self, node: ast.expr, name: ast.expr, truth: bool) -> None:
        """`hasattr(model, "no_sync")`: FSDP1 models have its methods, plain modules do not."""
        path, attr = _path(node), constant(self.ev(name))
        if path is None or attr is None or attr.value not in library.OWN_METHODS:
            return
        kept = {
            atom
            for atom in self.ev(node)
            if library.has_method(self.solver, atom, str(attr.value)) in (None, truth)
        }
        self.env[path] = frozenset(kept)

    # ------------------------------------------------------------------ expressions
    def ev(self, node: ast.expr | None) -> Value:
        """The value of an expression, noted for the rules."""
        if node is None:
            return NOTHING
        value = getattr(self, f"ev_{type(node).__name__}", self.ev_other)(node)
        self.solver.values[node] = join(self.solver.values[node], value)
        return value

    def ev_other(self, node: ast.expr) -> Value:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.ev(child)
        return COMPUTED

    def ev_Constant(self, node: ast.Constant) -> Value:
        if node.value is ...:
            return COMPUTED
        return frozenset({Const.of(node.value)})

    def ev_Name(self, node: ast.Name) -> Value:
        return self.name(node.id)

    def name(self, name: str) -> Value:
        """The value of a variable, in the scope that binds it."""
        if name in self.env and name not in self.outward:
            return self.env[name]
        if self.info is not None:
            if name in self.info.locals:
                return NOTHING
            for outer in self.info.outer:
                if name in self.solver.functions[outer].locals:
                    return self.solver.read("name", outer, name)
            return self.global_name(self.module.name, name)
        return self._fallback(self.module, name)

    def global_name(self, home: str, name: str) -> Value:
        """A name of a module of the project: a variable, a star import, a submodule, a builtin."""
        self.solver.require(home)
        if home not in self.solver.project.modules:
            inner = f"{home}/{name}"
            if self.solver.project.exists(inner):
                return frozenset({ModuleRef(inner)})
            return unknown(f"`{name}` is not among the files")
        module = self.solver.project.modules[home]
        found = self.solver.read("name", home, name)
        return found or self._fallback(module, name, builtin=name not in module.global_names)

    def _fallback(self, module: Module, name: str, builtin: bool = True) -> Value:
        inner = f"{module.name}/{name}"
        if self.solver.project.exists(inner):
            return frozenset({ModuleRef(inner)})
        for node in module.tree.body:
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                home = self.solver.project.resolve(module, node.module or "", node.level)
                symbol = starred(node.module, name) if home is None else None
                if symbol is not None:
                    return frozenset({Symbol(symbol)})
                if home is None or home in self._looking or name.startswith("_"):
                    continue
                self._looking.add(home)
                found = self.global_name(home, name)
                self._looking.discard(home)
                if not found:
                    return NOTHING  # it has the name, and doesn't know its value yet
                unsure = any(isinstance(a, Unknown) for a in found)
                if not unsure and not all(map(_is_builtin, found)):
                    return found
        if builtin and name in BUILTINS:
            return frozenset({Symbol(f"builtins.{name}")})
        if name in module.global_names:
            return NOTHING
        return unknown(f"`{name}` is not defined in this file")

    def ev_Attribute(self, node: ast.Attribute) -> Value:
        base = self.ev(node.value)
        path = _path(node)
        if path is not None and path in self.env:
            return self.env[path]
        return join(*(self.attribute(atom, node.attr) for atom in base))

    def attribute(self, atom: Atom, attr: str) -> Value:
        """The attribute `attr` of one object."""
        return library.attribute(self, atom, attr)

    def _path_value(self, path: str) -> Value:
        head, *rest = path.split(".")
        value = self.name(head)
        for index, attr in enumerate(rest):
            prefix = ".".join([head, *rest[: index + 1]])
            if prefix in self.env:
                value = self.env[prefix]
            else:
                value = join(*(self.attribute(atom, attr) for atom in value))
        return value

    def ev_Subscript(self, node: ast.Subscript) -> Value:
        base, index = self.ev(node.value), self.ev(node.slice)
        known = constant(index)
        key: object = known.value if known else ANY
        found: list[Value] = []
        for atom in base:
            if isinstance(atom, Symbol):
                found.append(frozenset({Result(atom.name, self.module.site(node))}))
            else:
                found.append(self.item(atom, key))
        return join(*found)

    def item(self, atom: Atom, key: object) -> Value:
        """What `atom[key]` can be; `ANY` for an index that isn't known."""
        if isinstance(atom, Container):
            if key == ANY:
                return self.solver.dict_values(atom)
            known = self.solver.read("item", atom.site, key)
            return join(known, self.solver.read("item", atom.site, ANY))
        if isinstance(atom, Result):
            found = self.solver.read("item", atom.site, ANY)
            return found or unknown(f"an item of a {atom.symbol}")
        if isinstance(atom, Params):
            return frozenset({atom})
        if isinstance(atom, Unknown):
            return frozenset({atom})
        if isinstance(atom, Instance):
            method = self.solver.method(atom.cls, "__getitem__")
            if method is not None:
                return self.call(Bound(Func(method), atom), [COMPUTED], {}, None)
        if isinstance(atom, Wrapped) and atom.site in self.solver.wraps:
            inner = self.solver.wraps[atom.site].inner - {atom}
            return join(*(self.item(a, key) for a in inner))
        return COMPUTED

    def elements(self, value: Value) -> Value:
        """What iterating over `value` gives."""
        found: list[Value] = []
        for atom in value:
            if isinstance(atom, Container):
                if atom.kind == "dict":
                    keys = self.solver.item_keys(atom.site)
                    found.append(_key_values(keys) or COMPUTED)
                else:
                    found.append(self.solver.dict_values(atom))
            else:
                found.append(library.elements(self, atom))
        return join(*found)

    def container(self, node: ast.AST, kind: str) -> Container:
        """The container that `node` makes."""
        return Container(self.module.site(node), kind)

    def ev_List(self, node: ast.List | ast.Set) -> Value:
        made = self.container(node, "list")
        for item in node.elts:
            if isinstance(item, ast.Starred):
                self.store_item(made, ANY, self.elements(self.ev(item.value)))
            else:
                self.store_item(made, ANY, self.ev(item))
        return frozenset({made})

    ev_Set = ev_List

    def ev_Tuple(self, node: ast.Tuple) -> Value:
        made = self.container(node, "tuple")
        starred = any(isinstance(item, ast.Starred) for item in node.elts)
        for index, item in enumerate(node.elts):
            if isinstance(item, ast.Starred):
                self.store_item(made, ANY, self.elements(self.ev(item.value)))
            else:
                self.store_item(made, ANY if starred else index, self.ev(item))
        return frozenset({made})

    def ev_Dict(self, node: ast.Dict) -> Value:
        made = self.container(node, "dict")
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            value = self.ev(value_node)
            if key_node is None:
                self.merge_dict(made, value)
                continue
            key = constant(self.ev(key_node))
            self.store_item(made, key.value if key else ANY, value)
        return frozenset({made})

    def merge_dict(self, made: Container, value: Value) -> None:
        """`made.update(value)`."""
        for atom in value:
            if isinstance(atom, Container) and atom.kind == "dict":
                for key in self.solver.item_keys(atom.site):
                    self.store_item(made, key, self.solver.read("item", atom.site, key))
            else:
                self.store_item(made, ANY, unknown("merged from a dict that isn't known"))

    def _comprehension(self, node: ast.expr, generators: list[ast.comprehension]) -> None:
        for generator in generators:
            self.assign(generator.target, self.elements(self.ev(generator.iter)), None)
            for test in generator.ifs:
                self.ev(test)
                self.narrow(test, True)

    def ev_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        saved = dict(self.env)
        self._comprehension(node, node.generators)
        made = self.container(node, "list")
        self.store_item(made, ANY, self.ev(node.elt))
        self.env = saved
        return frozenset({made})

    ev_SetComp = ev_ListComp
    ev_GeneratorExp = ev_ListComp

    def ev_DictComp(self, node: ast.DictComp) -> Value:
        saved = dict(self.env)
        self._comprehension(node, node.generators)
        made = self.container(node, "dict")
        key = constant(self.ev(node.key))
        self.store_item(made, key.value if key else ANY, self.ev(node.value))
        self.env = saved
        return frozenset({made})

    def ev_IfExp(self, node: ast.IfExp) -> Value:
        self.ev(node.test)
        saved = dict(self.env)
        self.narrow(node.test, True)
        body = self.ev(node.body)
        self.env = dict(saved)
        self.narrow(node.test, False)
        orelse = self.ev(node.orelse)
        self.env = saved
        return join(body, orelse)

    def ev_BoolOp(self, node: ast.BoolOp) -> Value:
        saved = dict(self.env)
        values: list[Value] = []
        for index, part in enumerate(node.values):
            value = self.ev(part)
            self.narrow(part, isinstance(node.op, ast.And))
            last = index == len(node.values) - 1
            if isinstance(node.op, ast.Or) and not last:
                value = value - NONE - {Const.of(False)}
            values.append(value)
        self.env = saved
        return join(*values)

    def ev_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.ev(node.value)
        self.assign(node.target, value, node.value)
        return value

    def ev_Lambda(self, node: ast.Lambda) -> Value:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.ev(default)
        site = self.module.site(node)
        unit = Unit(self.module.name, site)
        for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            self.solver.write(
                unknown(f"parameter `{arg.arg}` of a lambda"), "unpassed", unit, arg.arg
            )
        self._expose(self.env, only_captured=True)
        self.solver.enter(unit, self.ambient)
        return frozenset({Func(site)})

    def ev_Starred(self, node: ast.Starred) -> Value:
        return self.ev(node.value)

    def ev_Await(self, node: ast.Await) -> Value:
        return self.ev(node.value)

    def ev_Yield(self, node: ast.Yield) -> Value:
        made = self.container(node, "list")
        self.store_item(made, ANY, self.ev(node.value) if node.value else NONE)
        self.solver.write(frozenset({made}), "return", self.unit)
        return COMPUTED

    def ev_YieldFrom(self, node: ast.YieldFrom) -> Value:
        made = self.container(node, "list")
        self.store_item(made, ANY, self.elements(self.ev(node.value)))
        self.solver.write(frozenset({made}), "return", self.unit)
        return COMPUTED

    def ev_BinOp(self, node: ast.BinOp) -> Value:
        left, right = self.ev(node.left), self.ev(node.right)
        if isinstance(node.op, ast.BitOr | ast.Add):
            kinds = {a.kind for a in left | right if isinstance(a, Container)}
            if kinds == {"dict"}:
                made = self.container(node, "dict")
                self.merge_dict(made, left)
                self.merge_dict(made, right)
                return frozenset({made})
            if kinds:
                made = self.container(node, "list")
                self.store_item(made, ANY, join(self.elements(left), self.elements(right)))
                return frozenset({made})
        return COMPUTED

    def ev_Call(self, node: ast.Call) -> Value:
        callee = self.ev(node.func)
        args: list[Value] = []
        kwargs: dict[str, Value] = {}
        for arg in node.args:
            value = self.ev(arg)
            if isinstance(arg, ast.Starred):
                args.extend(self._spread(value))
            else:
                args.append(value)
        for keyword in node.keywords:
            value = self.ev(keyword.value)
            if keyword.arg is not None:
                kwargs[keyword.arg] = join(kwargs.get(keyword.arg, NOTHING), value)
            else:
                kwargs.update(self.expand(value))
        site = self.module.site(node)
        self.solver.calls[site] = (args, kwargs)
        self.solver.call_nodes[site] = node
        self.solver.ambient[node] |= self.ambient
        if any(isinstance(a, Func | Bound | Cls | Instance | Wrapped | Partial) for a in callee):
            self.snapshot()
        return join(*(self.call(atom, args, kwargs, node) for atom in callee))

    def _spread(self, value: Value) -> list[Value]:
        for atom in value:
            if isinstance(atom, Container) and atom.kind == "tuple":
                keys = sorted(k for k in self.solver.item_keys(atom.site) if isinstance(k, int))
                if keys:
                    return [self.item(atom, k) for k in keys]
        return [self.elements(value) or COMPUTED]

    def expand(self, value: Value) -> dict[str, Value]:
        """The keyword arguments that `**value` passes; `ANY` where some aren't known."""
        found: dict[str, Value] = {}
        for atom in value:
            if isinstance(atom, Container) and atom.kind == "dict":
                for key in self.solver.item_keys(atom.site):
                    value = self.solver.read("item", atom.site, key)
                    found[str(key)] = join(found.get(str(key), NOTHING), value)
            else:
                found[ANY] = unknown("`**` of a dict that isn't known")
        return found

    def call(
        self,
        callee: Atom,
        args: list[Value],
        kwargs: dict[str, Value],
        node: ast.Call | None,
    ) -> Value:
        """What calling one object gives."""
        if isinstance(callee, Func):
            return self._call_function(callee, None, args, kwargs)
        if isinstance(callee, Bound):
            return self._call_function(callee.func, callee.receiver, args, kwargs)
        if isinstance(callee, Cls):
            return self._instantiate(callee, args, kwargs, node)
        if isinstance(callee, Instance):
            for name in ("__call__", "forward"):
                method = self.solver.method(callee.cls, name)
                if method is not None:
                    return self.call(Bound(Func(method), callee), args, kwargs, node)
            return COMPUTED
        return library.call(self, callee, args, kwargs, node)

    def _call_function(
        self, func: Func, receiver: Atom | None, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        info = self.solver.functions[func.site]
        node = info.node
        static = "staticmethod" in info.decorators
        bound = receiver if receiver is not None and not static else None
        owner = receiver.cls if isinstance(receiver, Instance) else None
        if isinstance(receiver, Cls):
            owner = receiver.site
        unit = Unit(info.module.name, func.site, owner)
        if bound is not None:
            args = [frozenset({bound}), *args]
        named = [*node.args.posonlyargs, *node.args.args]
        passed: dict[str, Value] = {}
        for arg, value in zip(named, args, strict=False):
            passed[arg.arg] = value
        if node.args.vararg is not None:
            star = Container(info.module.site(node.args.vararg), "tuple")
            for value in args[len(named) :]:
                self.store_item(star, ANY, value)
        names = {a.arg for a in [*named, *node.args.kwonlyargs]}
        rest = Container(info.module.site(node.args.kwarg), "dict") if node.args.kwarg else None
        for name, value in kwargs.items():
            if name in names:
                passed[name] = join(passed.get(name, NOTHING), value)
            elif rest is not None:
                self.store_item(rest, name, value)
        for name in names:
            if name in passed:
                self.solver.write(passed[name], "param", unit, name)
            else:
                reason = kwargs.get(ANY) or unknown(f"parameter `{name}` is left out")
                self.solver.write(reason, "unpassed", unit, name)
        self.solver.enter(unit, self.ambient)
        return self.solver.read("return", unit)

    def _instantiate(
        self, cls: Cls, args: list[Value], kwargs: dict[str, Value], node: ast.Call | None
    ) -> Value:
        info = self.solver.classes[cls.site]
        instance = Instance(cls.site)
        init = self.solver.method(cls.site, "__init__")
        if init is not None:
            self.call(Bound(Func(init), instance), args, kwargs, node)
        elif info.is_dataclass:
            for name, value in zip(info.field_order, args, strict=False):
                self.solver.write(value, "field", cls.site, name)
            for name, value in kwargs.items():
                self.solver.write(value, "field", cls.site, name)
        made: Value = frozenset({instance})
        bases = self.solver.library_bases(cls.site)
        if FSDP1 in bases:
            made = made | {Wrapped(None)}
        return made

    def bind(self, func: Func, receiver: Atom) -> Value:
        """A function of a class, taken from an object of it."""
        info = self.solver.functions[func.site]
        if "staticmethod" in info.decorators:
            return frozenset({func})
        if info.decorators & {"property", "cached_property"}:
            return self._call_function(func, receiver, [], {})
        if "classmethod" in info.decorators and isinstance(receiver, Instance):
            receiver = Cls(receiver.cls)
        return frozenset({Bound(func, receiver)})

    def super_of(self) -> Value:
        """What `super()` means here."""
        info = self.info
        if info is None:
            return COMPUTED
        first = next(iter([*info.node.args.posonlyargs, *info.node.args.args]), None)
        if first is None or info.cls is None:
            return COMPUTED
        return frozenset(Super(info.cls, atom) for atom in self.name(first.arg))


def _unpassed(missing: Value) -> bool:
    """Whether a parameter with a default may get something else that isn't known."""
    return any(isinstance(atom, Unknown) and "is left out" not in atom.reason for atom in missing)


def _path(node: ast.expr) -> str | None:
    """`a.b.c` as a string, or None if the expression is anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return None


def _key_values(keys: Iterable[object]) -> Value:
    return frozenset(Const.of(k) for k in keys if isinstance(k, str | int) and k != ANY)


def _matches_all(case: ast.match_case) -> bool:
    """Whether a case takes everything: `case _` or `case name`."""
    return (
        case.guard is None
        and isinstance(case.pattern, ast.MatchAs)
        and case.pattern.pattern is None
    )


def _is_builtin(atom: Atom) -> bool:
    return isinstance(atom, Symbol) and atom.name.startswith("builtins.")


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _join_env(one: Env, other: Env) -> Env:
    """Join two states; a path that only one of them knows is dropped, a name is kept."""
    joined: Env = {}
    for name in {**one, **other}:
        if name in one and name in other:
            joined[name] = join(one[name], other[name])
        elif "." not in name or name.endswith("!"):
            joined[name] = one.get(name, NOTHING) | other.get(name, NOTHING)
    return joined
