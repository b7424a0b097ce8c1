"""What is done with the value of an expression: moved on, compared, printed, or more."""

from __future__ import annotations

import ast
from enum import Enum

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Container,
    Func,
    Instance,
    Method,
    Partial,
    Result,
    Symbol,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site


class Act(Enum):
    """What is done with a value."""

    MOVED = "it goes on as it is, to where it is looked at next"
    GIVEN = "an FSDP1 constructor or context takes it"
    COMPARED = "it is compared: ==, is, in, or a pattern of a match statement"
    TESTED = "it is asked whether it is true"
    FIELD = "an attribute of it is read"
    CALLED = "it is called"
    PRINTED = "it becomes text"
    CHECKED = "it is asked for its class"
    KEYED = "it is the key of a look-up"
    SEEN = "what it is inside of goes to a library that knows nothing of FSDP"
    UNKNOWN = "something that isn't followed takes it"


Done = tuple[Act, ast.AST, str]  # the act, the node around, and what isn't known of it

_DISPLAYS = (ast.Dict, ast.List, ast.Tuple, ast.Set)
_HANDING = (
    *(ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.Return, ast.Lambda),
    *(ast.Starred, ast.Expr, ast.arguments, ast.Await, ast.Yield, ast.YieldFrom),
    *(ast.For, ast.comprehension, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp),
    *(ast.Delete, ast.withitem),
)
# Functions that hand on what they are given, or keep it in what they make.
MOVERS = frozenset(
    {
        *(f"builtins.{n}" for n in ("dict", "enumerate", "filter", "frozenset", "getattr", "iter")),
        *(f"builtins.{n}" for n in ("list", "map", "next", "reversed", "set", "setattr", "sorted")),
        *("builtins.tuple", "builtins.zip", "builtins.vars", "builtins.len", "builtins.id"),
        *("copy.copy", "copy.deepcopy", "dataclasses.field", "dataclasses.replace"),
        *("dataclasses.asdict", "dataclasses.astuple", "dataclasses.fields"),
        *("functools.partial", "typing.cast", "types.SimpleNamespace", "collections.OrderedDict"),
    }
)
PARTIAL = Symbol("functools.partial")
TEXTS = frozenset({f"builtins.{n}" for n in ("format", "print", "repr", "str", "ascii")})
CHECKS = frozenset({f"builtins.{n}" for n in ("isinstance", "issubclass", "type", "callable")})
# Functions of FSDP1 that take values of its types.
TAKERS = frozenset(
    {f"{FSDP1}.{name}" for name in ("set_state_dict_type", "state_dict_type", "optim_state_dict")}
    | {f"{ROOT}.wrap.enable_wrap", f"{ROOT}.wrap.wrap", f"{ROOT}.StateDictSettings"}
    | {f"{ROOT}.wrap.{name}" for name in ("CustomPolicy", "ModuleWrapPolicy")}
)
KEY_LISTS = frozenset({f"builtins.{n}" for n in ("list", "set", "sorted", "tuple")})
# Libraries that look for FSDP1's types in what they are given.
AWARE = frozenset({"accelerate", "composer", "deepspeed", "lightning", "pytorch_lightning"}) | {
    "torch", "transformers", "trl",
}  # fmt: skip
KEYED_METHODS = frozenset({"get", "index", "count", "__contains__", "__getitem__"})


class Reads:
    """The acts of a program."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._given = {
            argument.node
            for fact in analysis.wraps.values()
            for argument in fact.arguments.values()
            if argument.node is not None
        }
        partials = {site for fact in analysis.wraps.values() for site in fact.partials}
        more = (k for site in partials for k in analysis.call_nodes[site].keywords)
        self._given |= {keyword.value for keyword in more if keyword.arg is not None}
        self._wraps = {fact.node for fact in analysis.wraps.values()}

    def act(self, module: Module, node: ast.expr) -> Done:
        """What is done with the value of `node` itself."""
        parent = module.parents[node]
        if node in self._given:
            return Act.GIVEN, parent, ""
        match parent:
            case ast.keyword():
                return self._of_call(module, module.parents[parent], parent)
            case ast.Call():
                if parent.func is node:
                    return Act.CALLED, parent, ""
                return self._of_call(module, parent, node)
            case ast.Attribute():
                return Act.FIELD, parent, ""
            case ast.Compare() | ast.MatchValue() | ast.Match():
                return Act.COMPARED, parent, ""
            case ast.If() | ast.While() | ast.Assert() | ast.UnaryOp():
                return Act.TESTED, parent, ""
            case ast.IfExp(test=test):
                return (Act.TESTED if test is node else Act.MOVED), parent, ""
            case ast.BoolOp(values=values):
                return (Act.MOVED if values[-1] is node else Act.TESTED), parent, ""
            case ast.FormattedValue():
                return Act.PRINTED, parent, ""
            case ast.BinOp(op=ast.Mod()) if parent.right is node:
                return Act.PRINTED, parent, ""
            case ast.Subscript():
                return self._of_subscript(parent, node)
            case ast.Dict(keys=keys) if node in keys:
                return Act.KEYED, parent, ""
        if isinstance(parent, (*_DISPLAYS, *_HANDING)) or _is_annotation(parent, node):
            return Act.MOVED, parent, ""
        return Act.UNKNOWN, parent, f"`{module.text(parent)}`"

    def act_on_holder(self, module: Module, node: ast.expr) -> Done:
        """What is done with a container or an object that has the value in it.

        To read an attribute or an item of it, to go through it, or to ask something of it is
        nothing: the value is followed to where that leads.
        """
        parent = module.parents[node]
        match parent:
            case ast.Attribute() | ast.Subscript() | ast.Compare():
                return Act.MOVED, parent, ""
            case ast.Call() if parent.func is node or parent in self._wraps:
                return Act.MOVED, parent, ""
            case ast.BinOp(op=ast.BitOr() | ast.Add()) if self._is_container(parent):
                return Act.MOVED, parent, ""
            case ast.keyword(arg=None):
                return self._spread(module, parent)
        if self._is_list_of_keys(node):
            return Act.MOVED, parent, ""
        what, around, why = self.act(module, node)
        if what is Act.UNKNOWN and isinstance(around, ast.Call) and self._is_elsewhere(around):
            return Act.SEEN, around, why
        harmless = what in (Act.TESTED, Act.GIVEN, Act.CHECKED, Act.KEYED, Act.FIELD)
        return (Act.MOVED, around, "") if harmless else (what, around, why)

    def _is_container(self, node: ast.expr) -> bool:
        """Whether `node` makes a dict or a list of what is in others."""
        value = self._analysis.value(node)
        return bool(value) and all(isinstance(atom, Container) for atom in value)

    def _is_elsewhere(self, call: ast.Call) -> bool:
        """Whether a library is called that has no business with FSDP1's types."""
        names = [_library(atom) for atom in self._analysis.value(call.func)]
        return bool(names) and all(name is not None and name not in AWARE for name in names)

    def _is_list_of_keys(self, node: ast.expr) -> bool:
        """Whether `node` goes through the keys of a dict, which are all that comes out of it."""
        if not isinstance(node, ast.Call) or len(node.args) != 1:
            return False
        callee, given = self._analysis.value(node.func), self._analysis.value(node.args[0])
        return (
            bool(given)
            and all(isinstance(a, Container) and a.kind == "dict" for a in given)
            and all(isinstance(a, Symbol) and a.name in KEY_LISTS for a in callee)
        )

    def _spread(self, module: Module, keyword: ast.keyword) -> Done:
        call = module.parents[keyword]
        if call in self._wraps:
            return Act.MOVED, call, ""
        return self._of_call(module, call, keyword)

    def _of_call(self, module: Module, call: ast.AST, argument: ast.AST) -> Done:
        """What a call does with an argument; a class definition's keyword is its base's matter."""
        if not isinstance(call, ast.Call):
            return Act.UNKNOWN, call, "a keyword of a class definition"
        acts = [self._by_callee(atom, call, argument) for atom in self._callees(call, argument)]
        for act in (Act.UNKNOWN, Act.PRINTED, Act.CHECKED, Act.KEYED, Act.GIVEN, Act.TESTED):
            if act in acts or not acts:
                if not acts or act is Act.UNKNOWN:
                    return Act.UNKNOWN, call, f"it is given to `{_said(module, call.func)}`"
                return act, call, ""
        return Act.MOVED, call, ""

    def _callees(self, call: ast.Call, argument: ast.AST) -> frozenset[Atom]:
        """What is called with an argument: of a partial, now or later, what it is a partial of."""
        called = self._analysis.value(call.func)
        if called != {PARTIAL} or not call.args or call.args[0] is argument:
            return called
        later = self._analysis.value(call.args[0])
        return called if later == {Symbol(FSDP1)} else later

    def _by_callee(self, atom: Atom, call: ast.Call, argument: ast.AST) -> Act:
        match atom:
            case Func() | Bound() | Cls():
                return Act.MOVED
            case Partial(site=site) if self._is_of_ours(site):
                return Act.MOVED
            case Symbol(name="builtins.bool"):
                return Act.TESTED
            case Symbol(name=name) if name in TAKERS or call in self._wraps:
                return Act.GIVEN
            case Symbol(name=name):
                return _by_name(name)
            case Method(receiver=Container(), name=name):
                first = call.args[:1] == [argument]
                return Act.KEYED if name in KEYED_METHODS and first else Act.MOVED
            case Method(receiver=Symbol(name=name)) | Method(receiver=Result(symbol=name)):
                return Act.PRINTED if name.startswith("logging.") else Act.UNKNOWN
            case Instance(cls=cls) if self._analysis.method(cls, "__call__") is not None:
                return Act.MOVED
        return Act.UNKNOWN

    def _is_of_ours(self, site: Site) -> bool:
        """Whether a partial is of a function of the program, whose parameters are followed."""
        given, _ = self._analysis.calls.get(site, ([], {}))
        return bool(given and given[0]) and all(isinstance(a, Func | Bound | Cls) for a in given[0])

    def _of_subscript(self, parent: ast.Subscript, node: ast.expr) -> Done:
        if parent.slice is node:
            return Act.KEYED, parent, ""
        return Act.FIELD, parent, ""


def _by_name(name: str) -> Act:
    if name in MOVERS:
        return Act.MOVED
    if name in TEXTS or name.startswith(("logging.", "warnings.")):
        return Act.PRINTED
    return Act.CHECKED if name in CHECKS else Act.UNKNOWN


def _is_annotation(parent: ast.AST, node: ast.expr) -> bool:
    """Whether `node` is where a type is stated."""
    if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
        return parent.returns is node or node in parent.decorator_list
    return isinstance(parent, ast.arg)


def _said(module: Module, callee: ast.expr) -> str:
    return path_of(callee) or module.text(callee)


def _library(atom: Atom) -> str | None:
    """The library that something is of, or None."""
    match atom:
        case Symbol(name=name) | Result(symbol=name):
            return name.partition(".")[0]
        case Method(receiver=receiver):
            return _library(receiver)
    return None
