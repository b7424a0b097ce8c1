"""Where a program asks for the class of a module: `type(m)`, `m.__class__`, and their names.

FSDP1 put a wrapper around a module and left its class alone; `fully_shard` makes it another one,
a subclass of the original.  Only the module inside of a wrapper is asked here: the wrapper itself
never had a class of the user's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Atom, Instance, Method, Unknown, Wrapped
from fsdp_migrate.findings.code import Kept, Name, Part, code
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.maybe_models import handed_models
from fsdp_migrate.rule.queries.after_wrap import Running, walks_models
from fsdp_migrate.rule.queries.class_tests import instance_asked
from fsdp_migrate.rule.queries.model_attributes import is_of_inner, is_repeatable
from fsdp_migrate.rule.queries.module_walks import takes_inner
from fsdp_migrate.rule.queries.parameters import modules
from fsdp_migrate.rule.queries.running import callers
from fsdp_migrate.rule.queries.sharded_classes import ShardedClasses, sharded_classes
from fsdp_migrate.rule.queries.values import library_name, models
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in

CHILDREN = frozenset({"children", "get_submodule", "items", "named_children", "values"})
OF_DICTS = frozenset({"items", "values"})  # of ModuleDict, and of any other
GIVE_ITEMS = frozenset(
    f"builtins.{name}" for name in ("enumerate", "getattr", "list", "next", "reversed", "zip")
) | {"builtins.iter"}
FSDP_MODULE = Name(ROOT, "FSDPModule")
NAMES = frozenset({"__name__", "__qualname__", "__module__"})
SUBMODULE = "a submodule"
DEPTH = 4  # assignments and calls that a model is followed back through


class Whose(Enum):
    """Whose class is asked for."""

    INNER = "of a module that is sharded, for certain"
    MAYBE = "of a module that may be sharded"
    WRAPPER = "of FSDP1's wrapper, which was of FSDP1's class"
    UNKNOWN = "of something that isn't known"


@dataclass(frozen=True, eq=False)
class ClassAsked:
    """A place that asks for the class of an object, or for the name of its class."""

    module: Module
    node: ast.expr  # `type(m)`, `m.__class__`, `m._get_name()`
    whole: ast.expr  # the same, or with `.__name__`
    instance: ast.expr
    name: str  # "" for the class itself, else what of it is asked
    whose: Whose
    classes: ShardedClasses  # the sharded classes that it may be one of
    from_modules: bool  # it is one of those that a walk over all submodules gives
    may_be_wrapper: bool  # now and then it may have been FSDP1's wrapper
    beside: Whose | None  # whose class it is compared with: `type(m) is type(other)`

    @property
    def is_repeatable(self) -> bool:
        """Whether the object can be asked twice."""
        return is_repeatable(self.instance)


def classes_asked(facts: Facts) -> Iterator[ClassAsked]:
    """The places that ask for the class of what may be sharded when they run."""
    running = Running(facts)
    for module in modules(facts):
        sharded = sharded_classes(facts, module)
        if not sharded:
            continue
        for node in module.parents:
            found = _asked(running, module, node, sharded) if isinstance(node, ast.expr) else None
            if found is not None and running.may_be_sharded(module, node):
                yield found


def _asked(
    running: Running, module: Module, node: ast.expr, sharded: ShardedClasses
) -> ClassAsked | None:
    facts = running.facts
    instance = instance_asked(facts, node)
    name = ""
    if instance is None and isinstance(node, ast.Call) and not node.args:
        func = node.func
        if isinstance(func, ast.Attribute) and func.attr == "_get_name":
            instance, name = func.value, "__name__"
    if instance is None:
        return None
    whole, parent = node, module.parents[node]
    if not name and isinstance(parent, ast.Attribute) and parent.attr in NAMES:
        whole, name = parent, parent.attr
    whose = _whose(running, module, instance, sharded)
    if whose is None:
        return None
    known = _classes_of(facts, instance, sharded)
    value = facts.value(instance)
    wrapper = bool(models(value) or handed_models(facts.analysis, value))
    return ClassAsked(
        module,
        node,
        whole,
        instance,
        name,
        whose,
        known,
        from_modules=_is_walked(running, module, instance),
        may_be_wrapper=whose is Whose.MAYBE and wrapper,
        beside=_beside(running, module, node, sharded),
    )


def _beside(
    running: Running, module: Module, node: ast.expr, sharded: ShardedClasses
) -> Whose | None:
    """Whose class the one at `node` is compared with."""
    compare = module.parents[node]
    if not isinstance(compare, ast.Compare) or len(compare.comparators) != 1:
        return None
    other = compare.comparators[0] if compare.left is node else compare.left
    instance = instance_asked(running.facts, other)
    return _whose(running, module, instance, sharded) if instance is not None else None


def _whose(
    running: Running, module: Module, node: ast.expr, sharded: ShardedClasses
) -> Whose | None:
    """Whose class is asked for; None where it is none that is sharded."""
    facts = running.facts
    value = facts.value(node)
    if models(value):
        if is_of_inner(facts, module, node):
            return Whose.INNER
        if all(isinstance(atom, Wrapped) for atom in value):
            return Whose.MAYBE if _may_be_inner(facts, module, node) else Whose.WRAPPER
        return Whose.MAYBE
    if handed_models(facts.analysis, value) or _is_walked(running, module, node):
        return Whose.MAYBE
    unknown = not value or any(isinstance(atom, Unknown | Method) for atom in value)
    can_be = frozenset(atom for atom in value if not _is_other_object(facts, atom))
    if not unknown and not sharded.instances(can_be):
        return None
    if _is_only_child(facts, module, node):
        return Whose.INNER
    if _is_part(facts, module, node):
        return Whose.WRAPPER if sharded.has_units else None
    if unknown:
        return Whose.UNKNOWN if sharded.models else None
    return None if _is_under_construction(module, node) else Whose.MAYBE


def _is_other_object(facts: Facts, atom: Atom) -> bool:
    """Whether `atom` is an object of the program's, and no module."""
    return isinstance(atom, Instance) and not facts.analysis.may_be_module(atom.cls)


def _may_be_inner(facts: Facts, module: Module, node: ast.expr, depth: int = 0) -> bool:
    """Whether a model may be called `node` by what is inside of its wrapper."""
    if is_of_inner(facts, module, node):
        return True
    if depth == DEPTH:
        return False
    if isinstance(node, ast.Attribute):
        return any(
            _may_be_inner(facts, home, value, depth + 1)
            for home, value in _stored_as(facts, node.attr)
        )
    scope = scope_of(module, node) if isinstance(node, ast.Name) else None
    if scope is None or not isinstance(node, ast.Name):
        return False
    given = (one for bound in bindings(scope, node.id) for one in _bound_to(facts, module, bound))
    return any(_may_be_inner(facts, home, one, depth + 1) for home, one in given)


def _bound_to(facts: Facts, module: Module, bound: ast.AST) -> list[tuple[Module, ast.expr]]:
    """What a variable is bound to by one assignment, or as a parameter by the callers."""
    if not isinstance(bound, ast.arg):
        value = getattr(module.parents.get(bound), "value", None)
        return [(module, value)] if isinstance(value, ast.expr) else []
    return [
        (home, argument)
        for home, call in callers(facts, module, module.scope(bound))
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        if models(facts.value(argument))
    ]


def _stored_as(facts: Facts, attr: str) -> Iterator[tuple[Module, ast.expr]]:
    """What is assigned to attributes of a name."""
    for module in modules(facts):
        for node in module.parents:
            if isinstance(node, ast.Assign) and models(facts.value(node.value)):
                if any(isinstance(t, ast.Attribute) and t.attr == attr for t in node.targets):
                    yield module, node.value


def _is_part(
    facts: Facts, module: Module, node: ast.AST, seen: frozenset[str] = frozenset()
) -> bool:
    """Whether `node` is reached through a module: where FSDP1 has wrapped it, as the wrapper."""
    if isinstance(node, ast.Attribute | ast.Subscript):
        value = facts.value(node.value)
        is_module = bool(models(value)) or any(facts.analysis.is_module(a) for a in value)
        return is_module or (
            isinstance(node, ast.Subscript) and _is_part(facts, module, node.value, seen)
        )
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHILDREN:
            own = node.func.value
            return node.func.attr not in OF_DICTS or _is_part(facts, module, own, seen)
        return library_name(facts.value(node.func)) in GIVE_ITEMS and any(
            _is_part(facts, module, argument, seen) for argument in node.args
        )
    scope = scope_of(module, node) if isinstance(node, ast.Name) else None
    if not isinstance(node, ast.Name) or scope is None or node.id in seen:
        return False
    sources = _sources(module, node, scope)
    return any(_is_part(facts, module, source, seen | {node.id}) for source in sources)


def _is_only_child(
    facts: Facts, module: Module, node: ast.AST, seen: frozenset[str] = frozenset()
) -> bool:
    """Whether `node` is the one child that FSDP1's wrapper had: the module inside."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHILDREN - OF_DICTS:
            return takes_inner(facts, module, node)
        return library_name(facts.value(node.func)) in GIVE_ITEMS and any(
            _is_only_child(facts, module, argument, seen) for argument in node.args
        )
    if isinstance(node, ast.Subscript):
        return _is_only_child(facts, module, node.value, seen)
    scope = scope_of(module, node) if isinstance(node, ast.Name) else None
    if not isinstance(node, ast.Name) or scope is None or node.id in seen:
        return False
    sources = _sources(module, node, scope)
    return bool(sources) and all(
        _is_only_child(facts, module, source, seen | {node.id}) for source in sources
    )


def _sources(module: Module, name: ast.Name, scope: Scope) -> list[ast.expr]:
    """What the variable is made of, or taken out of by a loop."""
    found: list[ast.expr] = []
    for bound in bindings(scope, name.id):
        parent = module.parents.get(bound)
        while isinstance(parent, ast.Tuple):
            parent = module.parents.get(parent)
        if isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension):
            found.append(parent.iter)
        elif isinstance(parent, ast.Assign | ast.NamedExpr):
            found.append(parent.value)
    return [source for source in found if not _reads(source, name.id)]


def _reads(node: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in nodes_in(node))


def _is_under_construction(module: Module, node: ast.expr) -> bool:
    """Whether `node` is `self` in `__init__`: nobody has sharded the object yet."""
    function = module.function(node)
    return (
        isinstance(node, ast.Name)
        and isinstance(function, ast.FunctionDef)
        and function.name == "__init__"
        and bool(function.args.args)
        and function.args.args[0].arg == node.id
    )


def _is_walked(running: Running, module: Module, node: ast.expr) -> bool:
    """Whether `node` is one of the modules that something walks through."""
    value = running.facts.value(node)
    if any(isinstance(atom, Unknown) and atom.reason == SUBMODULE for atom in value):
        return True
    function = module.function(node)
    if not isinstance(node, ast.Name) or function is None:
        return False
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    unknown = all(isinstance(atom, Unknown) for atom in value)
    return unknown and node.id in names[:2] and walks_models(running, module, function)


def _classes_of(facts: Facts, node: ast.expr, sharded: ShardedClasses) -> ShardedClasses:
    """Those of the sharded classes that `node` can be of."""
    value = facts.value(node)
    own = frozenset(atom.cls for atom in value if isinstance(atom, Instance))
    if value and len(own) == len(value):
        family = {site for cls in own for site in (cls, *facts.analysis.descendants(cls))}
        kept = frozenset(family) if sharded.open else frozenset(family) & sharded.own
        return ShardedClasses(kept, models=sharded.models)
    return sharded


def original_class(asked: ClassAsked) -> Part | None:
    """The class without what `fully_shard` put on top of it."""
    kept = Kept(asked.module.span(asked.node))
    of_sharded = code("{cls}.__bases__[1]", cls=kept)
    if asked.whose is Whose.INNER:
        return of_sharded
    if not asked.is_repeatable:
        return None
    return code(
        "{of_sharded} if isinstance({instance}, {fsdp}) else {cls}",
        of_sharded=of_sharded,
        instance=Kept(asked.module.span(asked.instance)),
        fsdp=FSDP_MODULE,
        cls=kept,
    )
