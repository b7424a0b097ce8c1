"""What is done with whole parameters inside of `summon_full_params`, if all of it is understood."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from fsdp_migrate.analysis.values import Bound, Cls, Func, Params, Result, Unknown, Wrapped, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.alike import ALIKE
from fsdp_migrate.rule.queries.summoned_aliases import change_by_another_name
from fsdp_migrate.rule.queries.summoned_births import (
    is_gathered_alone,
    is_read_inside,
    kept_of,
    models_read,
    strangers_in,
)
from fsdp_migrate.rule.queries.summoned_methods import has_nothing_to_do_with
from fsdp_migrate.rule.queries.summoned_runs import (
    Unclear,
    check_run,
    is_beside_forward,
    is_gone_through,
)
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# In-place methods that do the same to a shard as to the whole, with a number at most.
ELEMENTWISE = frozenset(
    {
        "abs_", "add_", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "div_", "exp_",
        "fill_", "floor_", "mul_", "neg_", "pow_", "relu_", "requires_grad_", "round_", "sigmoid_",
        "sign_", "sqrt_", "sub_", "tanh_", "zero_",
    }
)  # fmt: skip
LISTS = frozenset({"named_parameters", "parameters"})
QUIET = frozenset({"buffers", "eval", "named_buffers", "train"})


@dataclass(frozen=True, eq=False)
class Body:
    """The places in a body that have to do with the model's parameters."""

    lists: tuple[ast.Call, ...] = ()  # `model.named_parameters()`
    reads: tuple[ast.expr, ...] = ()  # a parameter whose values are read
    edits: tuple[ast.expr, ...] = ()  # a parameter that is changed in place
    edited: frozenset[ast.Call] = frozenset()  # lists whose parameters are
    runs: tuple[ast.Call, ...] = ()  # forward passes
    beside: tuple[ast.Attribute, ...] = ()  # methods that run parts of the model by themselves
    # Where a loop reads a parameter that it changes, or a comprehension one: it is whole there.
    each: tuple[tuple[ast.Call, ast.Name], ...] = ()
    # Whole tensors that a loop copies into the parameter.
    copies: tuple[tuple[ast.Call, ast.Name, ast.expr], ...] = ()
    strange: tuple[ast.expr, ...] = ()  # parameters from elsewhere whose values are read


def body_of(
    facts: Facts, module: Module, statement: ast.With, wraps: frozenset[Wrapped], *, units: bool
) -> Body:
    """What the body of `statement` does with the parameters of `wraps`, those of `units` too.

    Raises:
        Unclear: it may do something else.
    """
    reader = _Reader(facts, module, statement, wraps, units=units)
    for node in _nodes(statement.body):
        reader.look_at(node)
    return reader.found()


def _nodes(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for each in body:
        yield from nodes_in(each)


class _Reader:
    def __init__(
        self,
        facts: Facts,
        module: Module,
        statement: ast.With,
        wraps: frozenset[Wrapped],
        *,
        units: bool,
    ) -> None:
        self.facts, self.module, self.statement, self.wraps = facts, module, statement, wraps
        self.units = units
        self.same = wraps | {a for w in wraps for a in self._inner(w)}
        self.lists: list[ast.Call] = []
        self.reads: list[ast.expr] = []
        self.edits: list[ast.expr] = []
        self.runs: list[ast.Call] = []
        self.strangers = set(strangers_in(facts, module, statement))
        self.strange: list[ast.expr] = []
        self.kept = kept_of(facts, module, statement)
        self.beside: list[ast.Attribute] = []
        self.each: list[tuple[ast.Call, ast.Name]] = []
        self.copies: list[tuple[ast.Call, ast.Name, ast.expr]] = []

    def _inner(self, wrapped: Wrapped) -> frozenset[object]:
        plan = self.facts.plan(wrapped)
        return frozenset(plan.fact.inner) if plan is not None else frozenset()

    def found(self) -> Body:
        """What was found, with what becomes of the parameters in lists."""
        uses = {each: self._use_of(each) for each in self.lists}
        edited = frozenset(each for each, use in uses.items() if use == "edited")
        lists = tuple(each for each, use in uses.items() if use != "asked")
        if change_by_another_name(self.facts, self.module, self.statement.body, self._sources()):
            raise Unclear("what is read of a parameter is changed")
        return Body(
            lists,
            tuple(self.reads),
            tuple(self.edits),
            edited,
            tuple(self.runs),
            tuple(self.beside),
            tuple(self.each),
            tuple(self.copies),
            tuple(self.strange),
        )

    def _sources(self) -> Iterator[ast.expr]:
        """What gives a parameter to what is around it, but for what changes it in place."""
        yield from self.reads
        for node in self.edits:
            yield self._result(node)
        for listed in self.lists:
            if loop_target(self.module, listed) is None:
                yield listed
            for name in self._of_list(listed):
                yield self._result(name)

    def _result(self, node: ast.expr) -> ast.expr:
        """What a call gives that changes `node` in place, which is `node`; or itself."""
        method = self.module.parents[node]
        call = self.module.parents[method] if isinstance(method, ast.Attribute) else None
        if isinstance(method, ast.Attribute) and method.attr.endswith("_"):
            return call if isinstance(call, ast.Call) and call.func is method else node
        return node

    # ------------------------------------------------------------------ one node
    def look_at(self, node: ast.AST) -> None:
        """Note what a node does with the model.

        Raises:
            Unclear: that isn't known.
        """
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            raise Unclear("the body defines a function")
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.Global | ast.Delete):
            raise Unclear("others run before the body ends")
        if isinstance(node, ast.Call):
            self._called(node)
        if isinstance(node, ast.expr) and node in self.strangers:
            self._stranger(node)
        if isinstance(node, ast.Name | ast.Attribute) and self._is_model(node):
            parent = self.module.parents[node]
            if isinstance(parent, ast.Attribute) and self._is_model(parent):
                return  # `model.module`
            self._used(node)

    def _is_model(self, node: ast.expr) -> bool:
        value = self.facts.value(node)
        return bool(value & self.same)

    def _called(self, call: ast.Call) -> None:
        """A call of what the program defines may do anything with a model."""
        func = call.func
        value = self.facts.value(func)
        if isinstance(func, ast.Attribute) and self._is_model(func.value):
            return
        if self._is_model(func):
            return
        if any(isinstance(atom, Func | Bound | Cls) for atom in value):
            if has_nothing_to_do_with(self.facts, call, self.same):
                return
            raise Unclear("the body calls a function of the program's")
        if any(isinstance(atom, Unknown) for atom in value) and not isinstance(func, ast.Attribute):
            raise Unclear("the body calls a function that isn't known")
        if isinstance(func, ast.Attribute) and self._may_keep_model(func.value):
            raise Unclear("the body calls a method of what may keep the model")

    def _may_keep_model(self, owner: ast.expr) -> bool:
        """Whether an object has been given the model by code that isn't followed."""
        models = {wrapped.site for wrapped in self.wraps}
        for atom in self.facts.value(owner):
            if isinstance(atom, Unknown) and models & set(atom.models):
                return True
            if isinstance(atom, Result) and not atom.symbol.startswith(("torch.", "builtins.")):
                args, kwargs = self.facts.analysis.calls.get(atom.site, ([], {}))
                if any(self.same & given for given in (*args, *kwargs.values())):
                    return True
        return False

    def _used(self, model: ast.expr) -> None:
        """What the attributes behind the model lead to."""
        node, parent = model, self.module.parents[model]
        if isinstance(parent, ast.Call) and parent.func is node:
            self._run(parent)
            return
        while isinstance(parent, ast.Attribute):
            node, before, parent = parent, node, self.module.parents[parent]
            if self._is_parameter(node):
                if not self.units and before is not model:
                    raise Unclear("one unit alone is made whole")
                if not self._stays(node):
                    self._parameter(node)
                return
            if isinstance(parent, ast.Call) and parent.func is node:
                if before is not model:
                    break
                self._method(parent, node)
                return
        if node is not model and isinstance(node, ast.Attribute):
            raise Unclear(f"what `.{node.attr}` of the model is, is not known")
        raise Unclear("the model itself is handed on")

    def _method(self, call: ast.Call, func: ast.Attribute) -> None:
        if func.attr in LISTS and not call.args and not call.keywords:
            if not self.units:
                raise Unclear("one unit alone is made whole")
            self.lists.append(call)
        elif func.attr not in QUIET:
            self._run(call)

    def _run(self, call: ast.Call) -> None:
        check_run(self.facts, self.module, self.statement, call)
        plans = [self.facts.plan(wrapped) for wrapped in self.wraps]
        if None in plans:
            raise Unclear("what the model is wrapped with is not known")
        if any(plan is not None and "mixed_precision" in plan.arguments for plan in plans):
            raise Unclear("forward passes inside run in full precision")
        func = call.func
        if isinstance(func, ast.Attribute) and not self._is_model(func):
            if is_beside_forward(self.facts, func, units=self.units):
                self.beside.append(func)
        self.runs.append(call)

    def _is_parameter(self, node: ast.expr) -> bool:
        value = self.facts.value(node)
        return bool(value) and all(
            isinstance(atom, Params)
            or (isinstance(atom, Result) and atom.symbol == "torch.nn.Parameter")
            for atom in value
        )

    # ------------------------------------------------------------------ parameters
    def _stranger(self, node: ast.expr) -> None:
        """A parameter that is read, and that the model isn't asked for here."""
        if not is_gathered_alone(self.facts, self.module, self.statement, node):
            raise Unclear("parameters that were asked for outside are read")
        if not models_read(self.facts, self.module, node) <= self.same:
            raise Unclear("parameters of a model are read that isn't made whole here")
        before = len(self.reads)
        self._parameter(node)
        self.strange += self.reads[before:]
        del self.reads[before:]

    def _stays(self, node: ast.expr) -> bool:
        """Whether parameters that `node` asks for are kept as they are, beyond the body.

        Raises:
            Unclear: their values are read as well.
        """
        site = self.module.site(node)
        if site not in self.kept:
            return False
        if is_read_inside(self.facts, self.module, self.statement, site):
            raise Unclear("parameters are read, and kept beyond the block")
        return True

    def _parameter(self, node: ast.expr) -> None:
        parent = self.module.parents[node]
        if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            raise Unclear("a parameter is replaced")
        if isinstance(parent, ast.Attribute):
            if parent.attr in ALIKE:
                return
            if parent.attr in {"data", "grad"}:
                raise Unclear(f"`.{parent.attr}` of a parameter is used")
            if parent.attr.endswith("_"):
                self._edit(node, parent)
                return
        if self._is_written(node):
            raise Unclear("a part of a parameter is written")
        self.reads.append(node)

    def _edit(self, node: ast.expr, method: ast.Attribute) -> None:
        call = self.module.parents[method]
        plain = isinstance(call, ast.Call) and call.func is method
        given = (
            [*call.args, *(k.value for k in call.keywords)] if isinstance(call, ast.Call) else []
        )
        if method.attr not in ELEMENTWISE or not plain or not all(map(_is_number, given)):
            raise Unclear(f"`{method.attr}` changes a parameter as a whole")
        self.edits.append(node)

    def _is_written(self, node: ast.expr) -> bool:
        """Whether something in `node` is stored to: `p[0] = ...`, `p *= 2`, an initialiser."""
        inner, parent = node, self.module.parents[node]
        while isinstance(parent, ast.Subscript | ast.Attribute) and parent.value is inner:
            if isinstance(parent.ctx, ast.Store):
                return True
            inner, parent = parent, self.module.parents[parent]
        if isinstance(parent, ast.Call) and parent.func is inner and inner is not node:
            if isinstance(inner, ast.Attribute) and inner.attr.endswith("_"):
                return True
        if isinstance(parent, ast.AugAssign):
            return parent.target is inner
        if isinstance(parent, ast.keyword):
            return parent.arg == "out"
        return isinstance(parent, ast.Call) and parent.func is not inner and self._writes(parent)

    def _writes(self, call: ast.Call) -> bool:
        """Whether a function of a library changes what it is given; a method changes its own."""
        return any(name.endswith("_") for name in symbols(self.facts.value(call.func)))

    def _use_of(self, listed: ast.Call) -> str:
        """Whether the parameters of a list are edited, read, or only asked for their shapes."""
        changed, read = False, []
        if self._stays(listed):
            return "asked"
        for name in self._of_list(listed):
            parent = self.module.parents[name]
            if isinstance(parent, ast.Attribute) and parent.attr in ALIKE:
                continue
            if isinstance(parent, ast.Attribute) and parent.attr.endswith("_"):
                changed = True
                if parent.attr == "copy_":
                    self._copied(listed, name, parent)
                else:
                    before = len(self.edits)
                    self._edit(name, parent)
                    del self.edits[before:]
            elif isinstance(parent, ast.Attribute) and parent.attr in {"data", "grad"}:
                raise Unclear(f"`.{parent.attr}` of a parameter is used")
            elif self._is_written(name):
                raise Unclear("a part of a parameter is written")
            else:
                read.append(name)
        target = loop_target(self.module, listed)
        alone = len(read) == 1 and is_gone_through(self.facts, self.module, self.statement, listed)
        if target is not None and read and (changed or alone):
            self.each += [(listed, name) for name in read]
            return "edited" if changed else "asked"
        if target is None:
            return "read"
        return "edited" if changed else "read" if read else "asked"

    def _copied(self, listed: ast.Call, name: ast.Name, method: ast.Attribute) -> None:
        """`p.copy_(kept[name])`: what is kept by the names of parameters has their shapes."""
        call, target = self.module.parents[method], loop_target(self.module, listed)
        if not isinstance(call, ast.Call) or len(call.args) != 1 or call.keywords:
            raise Unclear("`copy_` changes a parameter as a whole")
        pair = target.elts if isinstance(target, ast.Tuple) else []
        key = pair[0] if len(pair) == 2 else None
        given = call.args[0]
        is_kept = isinstance(given, ast.Subscript) and isinstance(key, ast.Name)
        inside = {n.id for n in nodes_in(given) if isinstance(n, ast.Name)}
        if not is_kept or not isinstance(key, ast.Name) or key.id not in inside:
            raise Unclear("`copy_` changes a parameter as a whole")
        if name.id in inside or any(self._is_model(n) for n in nodes_in(given) if is_name(n)):
            raise Unclear("`copy_` changes a parameter as a whole")
        self.copies.append((listed, name, given))

    def _of_list(self, listed: ast.Call) -> Iterator[ast.Name]:
        """Where the parameters of a list are used, by the names that a loop gives them."""
        target = loop_target(self.module, listed)
        names = {n.id for n in nodes_in(target) if isinstance(n, ast.Name)} if target else set()
        for node in _nodes(self.statement.body):
            if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
                atoms = self.facts.value(node)
                if not all(isinstance(a, Params) and a.kind == "name" for a in atoms):
                    yield node


def loop_target(module: Module, listed: ast.Call) -> ast.expr | None:
    """What a loop over a list binds for each parameter."""
    parent = module.parents[listed]
    if isinstance(parent, ast.For | ast.comprehension) and parent.iter is listed:
        return parent.target
    return None


def is_name(node: ast.AST) -> TypeGuard[ast.expr]:
    """Whether a node is a name or an attribute."""
    return isinstance(node, ast.Name | ast.Attribute)


def _is_number(node: ast.expr) -> bool:
    """Whether an expression is a number that is written down."""
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float)
