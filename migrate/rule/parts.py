"""Which FSDP1 model an expression is a part of: `model.encoder`, a child in a loop, `getattr`.

A part is a plain module to the eye: values say what it is, not where it comes from.  So the code is
followed back, through variables, loops, arguments and attributes, to the model that it is taken of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import OTHER_WRAPPERS, PARAMETERS, is_torch_module
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Instance,
    Method,
    Params,
    Result,
    Unknown,
    Wrapped,
    symbols,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.modules_inside import modules_of
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.lowering.steps import Step
from fsdp_migrate.rule.origins import Origins, Place
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.paths import path_of

Models = frozenset[Wrapped]
NO_MODEL: Models = frozenset()
DEPTH = 8
KEPT = frozenset({"param_groups", "state"})  # of an optimizer
MOST = 60  # expressions that one is followed back to


class Parts:
    """Answers for one program."""

    def __init__(self, analysis: Analysis, sharded: ShardedTensors) -> None:
        self._analysis = analysis
        self._sharded = sharded
        self._back = Origins(analysis)
        self._makers: dict[ast.AST, frozenset[ast.expr]] = {}
        self._owners: dict[ast.expr, Models] = {}

    def owners(self, module: Module, node: ast.expr) -> Models:
        """The models that `node` is a part of; none if it is one itself, or no module at all."""
        known = self._owners.get(node)
        if known is None:
            known = self._owners[node] = self._owners_of(module, node)
        return known

    def _owners_of(self, module: Module, node: ast.expr) -> Models:
        value = self._analysis.value(node)
        if any(isinstance(atom, Wrapped) for atom in value):
            return NO_MODEL
        if not all(map(self._may_be_module, value - NONE)):
            return NO_MODEL
        found = self._models((module, node), frozenset())
        return found or self._of_wrapped((module, node))

    def _of_wrapped(self, place: Place) -> Models:
        """The models that have what `place` is, or is a part of, inside of them.

        That is `net.encoder`, or a name for it, below `model = FSDP(net)`; and `net` itself.
        """
        origins = [place, *self._origins(place)]
        return frozenset(
            Wrapped(fact.site)
            for fact in self._analysis.wraps.values()
            if any(
                self._is_inside_of(fact, origin) and self._is_below(place, origin, fact)
                for origin in origins
            )
        )

    def around(self, module: Module, node: ast.expr) -> Models:
        """The models that `node` is inside of in the end, though it may not be wrapped yet."""
        origins = [(module, node), *self._origins((module, node))]
        found = {a for _, each in origins for a in self._analysis.value(each)}
        return frozenset(a for a in found if isinstance(a, Wrapped)) | frozenset(
            Wrapped(fact.site)
            for fact in self._analysis.wraps.values()
            if any(self._is_inside_of(fact, origin) for origin in origins)
        )

    def carried(self, module: Module, node: ast.expr) -> Models:
        """The models whose parameters `node` may be, out of an optimizer's groups or its state.

        Its value doesn't say so where what the optimizer was made with isn't followed.
        """
        if not any(map(_may_be_parameter, self._analysis.value(node))):
            return NO_MODEL
        place = (module, node)
        return frozenset(
            Wrapped(fact.site)
            for origin in self._carriers(place)
            for fact in self._analysis.wraps.values()
            if self._is_inside_of(fact, origin) and self._is_below(place, origin, fact)
        ) | frozenset(
            atom
            for _, origin in self._carriers(place)
            for atom in self._analysis.value(origin)
            if isinstance(atom, Wrapped)
        )

    def _carriers(self, place: Place) -> Iterator[Place]:
        """What parameters are taken of, however far, that come out of an optimizer."""
        found, todo = {place[1]}, [(place, False)]
        while todo and len(found) < MOST:
            (module, node), kept = todo.pop()
            kept = kept or (isinstance(node, ast.Attribute) and node.attr in KEPT)
            sources = [*self._back.sources(module, node)]
            if isinstance(node, ast.Call):
                sources += [(module, taken) for taken in _given(node, kept)]
            for source in sources:
                if source[1] not in found and not self._is_other_wrapper(source[1]):
                    found.add(source[1])
                    todo.append((source, kept))
                    if kept:
                        yield source

    def _is_below(self, place: Place, origin: Place, fact: WrapFact) -> bool:
        """Whether a place runs after the wrap of what comes from `origin`.

        Where both are steps of one function their order is known; the wrap may have others to do.
        """
        home, node = origin
        function = home.function(node)
        wraps = [
            wrap.lineno
            for module, wrap in self._sharded.places(fact)
            if module is home and module.function(wrap) is function and isinstance(wrap, ast.expr)
        ]
        steps = list(self._steps_in(function, *place, DEPTH)) if wraps else []
        if steps and max(steps) != min(wraps):  # else the same call makes both
            return max(steps) > min(wraps)
        return self._sharded.is_below(*place, fact)

    def _steps_in(
        self, home: Scope | None, module: Module, node: ast.AST, depth: int
    ) -> Iterator[int]:
        """The lines of the function `home` where `node` is run from."""
        function = module.function(node)
        if function is home:
            yield getattr(node, "lineno", 0)
        elif function is not None and depth:
            for outside, run in self._analysis.call_graph.runs_of(module.site(function)):
                yield from self._steps_in(home, outside, run, depth - 1)

    def _is_other_wrapper(self, node: ast.expr) -> bool:
        value = self._analysis.value(node) - NONE
        return bool(value) and all(
            isinstance(atom, Result) and atom.symbol in OTHER_WRAPPERS for atom in value
        )

    def _is_inside_of(self, fact: WrapFact, place: Place) -> bool:
        """Whether an expression is the module that a wrap was given."""
        module, node = place
        given = fact.arguments.get("module")
        if given is None or given.node is None:
            return False
        if node is given.node or (isinstance(node, ast.Call) and node in self._made(fact)):
            return True
        path = path_of(node)
        if path is None or module.function(node) is not fact.module.function(fact.node):
            return False
        return path == path_of(given.node) or path in self._sources(fact)

    def _sources(self, fact: WrapFact) -> frozenset[str]:
        """What the model may be made of, by the names where it is wrapped."""
        step = Step(fact.module, fact.module.statement(fact.node), frozenset())
        return self._sharded.made_of.sources(fact, step)

    def _made(self, fact: WrapFact) -> frozenset[ast.expr]:
        """The calls that make the module that a wrap was given."""
        known = self._makers.get(fact.node)
        if known is None:
            given = fact.arguments["module"].node
            assert given is not None
            known = self._makers[fact.node] = frozenset(
                node
                for _, node in [(fact.module, given), *self._origins((fact.module, given))]
                if isinstance(node, ast.Call) and fact.inner & self._analysis.value(node)
            )
        return known

    def _origins(self, place: Place) -> Iterator[Place]:
        """All that an expression is taken of, however far."""
        found, todo = {place[1]}, [place]
        while todo and len(found) < MOST:
            for source in self._back.sources(*todo.pop()):
                if source[1] not in found and not self._is_other_wrapper(source[1]):
                    found.add(source[1])
                    todo.append(source)
                    yield source

    def _may_be_module(self, atom: Atom) -> bool:
        if isinstance(atom, Instance):
            return self._analysis.is_module(atom)
        if isinstance(atom, Result):
            if atom.symbol.startswith("builtins."):
                return True  # an item of something
            wrapped = is_torch_module(atom.symbol) or atom in self._libraries
            return wrapped and atom.symbol not in OTHER_WRAPPERS
        return isinstance(atom, Unknown | Method)

    @cached_property
    def _libraries(self) -> frozenset[Atom]:
        """What libraries make and the program wraps, be it as a part of something."""
        found = (modules_of(self._analysis, fact)[0] for fact in self._analysis.wraps.values())
        return frozenset(atom for each in found for atom in each if isinstance(atom, Result))

    def _models(self, place: Place, seen: frozenset[ast.expr]) -> Models:
        """The models that an expression is, or is a part of."""
        _, node = place
        value = self._analysis.value(node)
        found = frozenset(a for a in value if isinstance(a, Wrapped))
        if found or node in seen or len(seen) > DEPTH:
            return found
        if value and all(isinstance(a, Result) and a.symbol in OTHER_WRAPPERS for a in value):
            return NO_MODEL
        sources = self._back.sources(*place, items=False)
        every = [self._models(source, seen | {node}) for source in sources]
        if not all(every) and self._holds_each(node):
            return NO_MODEL
        return NO_MODEL.union(*every)

    def _holds_each(self, node: ast.expr) -> bool:
        """Whether each of the sources of `node` may be what is taken out of it."""
        if isinstance(node, ast.Call):
            return "builtins.zip" in symbols(self._analysis.value(node.func))
        return isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict)


def _may_be_parameter(atom: Atom) -> bool:
    """Whether an object may be a parameter of a model, and isn't known to be another's."""
    if isinstance(atom, Params):
        return isinstance(atom.owner, Unknown | Method)
    return isinstance(atom, Unknown) or (
        isinstance(atom, Result) and atom.symbol.startswith("builtins.")
    )


def _given(call: ast.Call, kept: bool) -> Iterator[ast.expr]:
    """What parameters come from that `call` gives; if `kept`, it makes what keeps them."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in PARAMETERS:
        yield call.func.value
    elif kept:
        yield from call.args
        yield from (keyword.value for keyword in call.keywords)
