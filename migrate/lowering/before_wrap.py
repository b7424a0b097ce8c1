"""What a program does to a model's parameters before it wraps the model.

The wrap and what precedes it may stand in functions of their own: both are followed up the
calls, to the block where one statement (leading to an optimizer) comes before another (leading
to the wrap), and both are about the same model by the same name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.analysis.library.modules import PARAMETERS
from fsdp_migrate.analysis.values import (
    Container,
    Instance,
    Params,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds, own_nodes, path_of, reads

DEPTH = 6  # calls and containers that something is followed through
SHARED = frozenset({"list", "tuple", "filter", "set", "dict", "chain", "sorted"})
SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)
LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
MAKES_OPTIMIZER = ("optim", "adam", "sgd", "lamb", "lion", "adafactor", "muon")


@dataclass(frozen=True)
class Frame:
    """A statement that leads to some place, and how the model is called there."""

    module: Module
    statement: ast.stmt
    paths: frozenset[str]
    inner: Frame | None = None  # the next one on the way to the place
    call: ast.Call | None = None  # in the statement, what leads to the next one

    @property
    def scope(self) -> ast.AST:
        """The function or module that the statement runs in."""
        return self.module.scope(self.statement)


@dataclass(frozen=True)
class Early:
    """A statement that takes hold of a model's parameters before the wrap replaces them."""

    wrap: WrapFact
    taker: Frame  # leads to the optimizer, or takes the list of parameters
    wrapping: Frame
    statement: ast.stmt  # around the taker's statement, in the block
    below: ast.stmt  # around the wrapping statement, in the same block
    path: str  # the model
    call: ast.Call | None  # what makes the optimizer; None for a list of parameters

    @property
    def module(self) -> Module:
        """Where both statements are."""
        return self.taker.module


@dataclass
class Order:
    """Finds what comes too early."""

    solver: Analysis
    effects: Effects = field(init=False)

    def __post_init__(self) -> None:
        self.effects = Effects(self.solver)

    def frames(self, module: Module, node: ast.AST, paths: frozenset[str]) -> Iterator[Frame]:
        """The statement around `node`, and those that call the function it is in, outwards."""
        queue = [(Frame(module, module.statement(node), paths), 0)]
        seen: set[tuple[ast.stmt, frozenset[str]]] = set()
        while queue:
            frame, depth = queue.pop(0)
            if (frame.statement, frame.paths) in seen:
                continue
            seen.add((frame.statement, frame.paths))
            yield frame
            function = frame.scope
            if depth == DEPTH or not isinstance(function, ast.FunctionDef):
                continue
            for call in self.solver.call_graph.callers_of(frame.module.site(function)):
                home = self.solver.call_graph.module_of(call)
                outside = {translated(path, function, call, home) for path in frame.paths}
                named = frozenset(path for path in outside if path is not None)
                outer = Frame(home, home.statement(call), named, frame, call)
                queue.append((outer, depth + 1))

    # ------------------------------------------------------------------ wraps and optimizers
    def wrapped_paths(self, fact: WrapFact) -> frozenset[str]:
        """How the model is called in the arguments of its wrap."""
        argument = fact.arguments.get("module")
        given: ast.AST = fact.node
        if argument is not None and argument.node is not None:
            given = argument.node
        path = path_of(given)
        if path is not None:
            return frozenset({path})
        found = set()
        for node in ast.walk(given):
            own = path_of(node)
            if own is not None and self.solver.value(node) & fact.inner:
                found.add(own)
        return frozenset(found)

    @cached_property
    def optimizers(self) -> list[tuple[Module, ast.Call, frozenset[str]]]:
        """The calls that make something which keeps parameters, and whose they are by name."""
        found = []
        for site, call in self.solver.call_nodes.items():
            if self.makes_optimizer(call) and self.holds(call) is not None:
                module = self.solver.project.modules[site.module]
                found.append((module, call, self.owners(module, call)))
        return found

    def makes_optimizer(self, call: ast.Call) -> bool:
        """Whether `call` makes an optimizer, or another object that is named like a class."""
        if self._names_optimizer(call):
            return True
        for atom in self.solver.value(call):
            if isinstance(atom, Result):
                if not atom.symbol.startswith("torch.nn.") and short(atom.symbol)[:1].isupper():
                    return True
            elif isinstance(atom, Instance):
                bases = self.solver.library_bases(atom.cls)
                if any("optim" in base.lower() for base in bases):
                    return True
        return False

    def _names_optimizer(self, call: ast.Call) -> bool:
        """Whether what `call` calls is of a library, and an optimizer by its name."""
        names = {
            atom.name if isinstance(atom, Symbol) else atom.symbol
            for atom in self.solver.value(call.func)
            if isinstance(atom, Symbol | Result)
        }
        return any(word in name.lower() for name in names for word in MAKES_OPTIMIZER)

    def holds(self, call: ast.Call) -> frozenset[object] | None:
        """The modules whose parameters `call` is given; None if it is given none."""
        found: set[object] = set()
        direct = False
        for argument in [*call.args, *(k.value for k in call.keywords)]:
            found |= self.params_in(self.solver.value(argument))
            direct = direct or any(True for _ in parameter_calls(argument))
            if self._names_optimizer(call):
                found |= self.solver.value(argument) & self._wrapped_modules
            for node in ast.walk(argument):
                found |= {a.owner for a in self.solver.value(node) if isinstance(a, Params)}
        return frozenset(found) if found or direct else None

    @cached_property
    def _wrapped_modules(self) -> Value:
        """All that is wrapped somewhere, as far as it is known."""
        inner: Value = frozenset().union(*(fact.inner for fact in self.solver.wraps.values()))
        return frozenset(atom for atom in inner if not isinstance(atom, Unknown))

    def params_in(self, value: Value, depth: int = 0) -> set[object]:
        """The modules whose parameters `value` holds, in lists and dicts too."""
        found: set[object] = set()
        for atom in value:
            if isinstance(atom, Params):
                found.add(atom.owner)
            elif isinstance(atom, Container) and depth < DEPTH:
                found |= self.params_in(self.solver.dict_values(atom), depth + 1)
        return found

    def owners(self, module: Module, call: ast.Call) -> frozenset[str]:
        """The names of the models whose parameters `call` is given."""
        paths = {path for path, _ in parameter_calls(call)}
        for argument in [*call.args, *(k.value for k in call.keywords)]:
            path = path_of(argument)
            if path is not None and self.solver.value(argument) & self._wrapped_modules:
                paths.add(path)
        if paths:
            return frozenset(paths)
        scope = module.scope(call)
        return frozenset(self._sources(scope, call)) or frozenset(
            path for path, _ in parameter_calls(scope) if path
        )

    def _sources(self, scope: ast.AST, call: ast.Call) -> Iterator[str]:
        """The models that are named where the variables which `call` is given are made."""
        held = self.holds(call) or frozenset()
        wanted = set(reads(call))
        nodes = [n for n in own_nodes(scope) if isinstance(n, ast.stmt) and n.lineno < call.lineno]
        for statement in sorted(nodes, key=lambda n: n.lineno, reverse=True):
            if isinstance(statement, SIMPLE) and binds(statement) & wanted:
                wanted |= reads(statement)
                yield from (path for path, _ in parameter_calls(statement))
                for node in own_nodes(statement):
                    path = path_of(node)
                    if path is not None and self.solver.value(node) & held:
                        yield path
            elif isinstance(statement, ast.For) and reads(statement) & wanted:
                yield from (path for path, _ in parameter_calls(statement.iter))

    # ------------------------------------------------------------------ before and after
    def early(self, fact: WrapFact) -> Iterator[Early]:
        """What takes hold of the parameters before the wrap of `fact`."""
        mine = Wrapped(fact.site)
        wrapping = list(self.frames(fact.module, fact.node, self.wrapped_paths(fact)))
        for module, call, paths in self.optimizers:
            held = self.holds(call) or frozenset()
            if held and not held & fact.inner and not all(isinstance(a, Unknown) for a in held):
                continue
            for taker in self.frames(module, call, paths):
                for frame in wrapping:
                    yield from self._matched(fact, mine, taker, frame, call)
        for frame in wrapping:
            yield from self._lists(fact, mine, frame)

    def _matched(
        self, fact: WrapFact, mine: Wrapped, taker: Frame, frame: Frame, call: ast.Call | None
    ) -> Iterator[Early]:
        if taker.module is not frame.module or taker.scope is not frame.scope:
            return
        siblings = common_block(taker.module, taker.statement, frame.statement)
        if siblings is None:
            return
        before, below = siblings
        if not runs_into(taker, before, frame, below):
            return
        paths = taker.paths & frame.paths
        if not paths:
            own = frozenset(p for p, _ in parameter_calls(taker.statement))
            paths = (own | binds(taker.statement)) & frame.paths
        for path in sorted(paths):
            if self.same_model(taker.module, before, below, path, mine):
                yield Early(fact, taker, frame, before, below, path, call)
                return

    def same_model(
        self, module: Module, before: ast.stmt, below: ast.stmt, path: str, mine: Wrapped
    ) -> bool:
        """Whether `path` is the bare model at `before`, and still that model at `below`."""
        if "." not in path and any(
            path_of(node) == path and mine in self.solver.value(node) for node in ast.walk(before)
        ):
            return False
        block = module.block(before)
        for statement in block[block.index(before) + 1 : block.index(below)]:
            if _leads(binds(statement), path) and not self.keeps_model(statement, path):
                return False
        return True

    def keeps_model(self, statement: ast.stmt, path: str) -> bool:
        """Whether `statement` binds `path` to the model that it was, as `m = m.cuda()` does."""
        blocks = list(_blocks(statement))
        if blocks:
            inside = [s for block in blocks for s in block]
            head = binds(statement) - frozenset().union(*map(binds, inside))
            binding = [s for s in inside if _leads(binds(s), path)]
            return not _leads(head, path) and all(self.keeps_model(s, path) for s in binding)
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return False
        if path_of(statement.targets[0]) != path:
            return False
        value = statement.value
        if not isinstance(value, ast.Call):
            return False
        receiver = value.func.value if isinstance(value.func, ast.Attribute) else None
        if receiver is not None and path_of(receiver) == path:
            return bool(self.solver.value(value) & self.solver.value(receiver))
        compiled = Symbol("torch.compile") in self.solver.value(value.func)
        return compiled and bool(value.args) and path_of(value.args[0]) == path

    def _lists(self, fact: WrapFact, mine: Wrapped, frame: Frame) -> Iterator[Early]:
        """Lists of parameters that are taken before the wrap and read after it."""
        module = frame.module
        scope = frame.scope
        for statement in (n for n in own_nodes(scope) if isinstance(n, ast.Assign)):
            if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
                continue
            paths = frozenset(kept_parameters(statement.value)) & frame.paths
            if not paths or statement is frame.statement:
                continue
            taker = Frame(module, statement, paths)
            yield from self._matched(fact, mine, taker, frame, None)


# ---------------------------------------------------------------------- syntax
def _leads(bound: Iterable[str], path: str) -> bool:
    """Whether one of the paths `bound` is `path`, or the start of it."""
    return any(b == path or path.startswith(f"{b}.") for b in bound)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a statement that has some, and runs each of them once at most."""
    if isinstance(statement, ast.If | ast.With | ast.Try):
        yield statement.body
        yield from (handler.body for handler in getattr(statement, "handlers", []))
        yield getattr(statement, "orelse", [])
        yield getattr(statement, "finalbody", [])


def parameter_calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls of `x.parameters()` and `x.named_parameters()` in `node`, and what `x` is."""
    for item in ast.walk(node):
        if (
            isinstance(item, ast.Call)
            and isinstance(item.func, ast.Attribute)
            and item.func.attr in PARAMETERS
        ):
            path = path_of(item.func.value)
            if path is not None:
                yield path, item


def kept_parameters(node: ast.expr) -> Iterator[str]:
    """The models whose parameters themselves (no copies) are in the list or dict at `node`."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in SHARED:
                for argument in node.args:
                    yield from kept_parameters(argument)
                    yield from (p for p, c in parameter_calls(argument) if c is argument)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        kept = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        if all(isinstance(k, ast.Name | ast.Tuple | ast.Dict) for k in kept):
            for generator in node.generators:
                yield from (p for p, _ in parameter_calls(generator.iter))
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        for item in node.elts:
            inner = item.value if isinstance(item, ast.Starred) else item
            yield from kept_parameters(inner)
            if isinstance(inner, ast.Dict | ast.Starred) or inner is not item:
                yield from (p for p, c in parameter_calls(inner) if c is inner)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from kept_parameters(value)
            yield from (p for p, c in parameter_calls(value) if c is value)
    elif isinstance(node, ast.BinOp):
        yield from kept_parameters(node.left)
        yield from kept_parameters(node.right)


def translated(path: str, function: ast.FunctionDef, call: ast.Call, module: Module) -> str | None:
    """What the caller of `function` calls the thing that `path` is inside it, or None."""
    head, _, rest = path.partition(".")
    args = function.args
    names = [a.arg for a in [*args.posonlyargs, *args.args]]
    if head not in [*names, *(a.arg for a in args.kwonlyargs)]:
        return None
    given: ast.expr | None = None
    is_method = names[:1] in (["self"], ["cls"])
    through = isinstance(call.func, ast.Attribute) and function.name != "__init__"
    if is_method and head == names[0]:
        if through:
            assert isinstance(call.func, ast.Attribute)
            given = call.func.value
        else:
            made = module.parents[call]
            if isinstance(made, ast.Assign) and len(made.targets) == 1:
                given = made.targets[0]
    else:
        named = [keyword.value for keyword in call.keywords if keyword.arg == head]
        if named:
            given = named[0]
        elif head in names:
            index = names.index(head) - is_method
            before = call.args[: index + 1]
            if 0 <= index < len(call.args) and not any(isinstance(a, ast.Starred) for a in before):
                given = call.args[index]
    outer = path_of(given) if given is not None else None
    if outer is None:
        return None
    return f"{outer}.{rest}" if rest else outer


def common_block(
    module: Module, one: ast.stmt, other: ast.stmt
) -> tuple[ast.stmt, ast.stmt] | None:
    """The statements around `one` and `other` in the same block, if the first comes first."""
    around = {}
    for node in (other, *module.ancestors(other)):
        if isinstance(node, ast.stmt):
            around[id(module.block(node))] = node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            break
    for node in (one, *module.ancestors(one)):
        if not isinstance(node, ast.stmt):
            continue
        block = module.block(node)
        partner = around.get(id(block))
        if partner is not None:
            if partner is node or block.index(node) > block.index(partner):
                return None
            return node, partner
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None
    return None


def runs_into(taker: Frame, before: ast.stmt, frame: Frame, below: ast.stmt) -> bool:
    """Whether the program can get from the taker to the wrap with what was taken in use."""
    if isinstance(taker.statement, ast.Return):
        return False
    module = taker.module
    node = taker.statement
    while node is not before:
        block = module.block(node)
        if any(isinstance(s, LEAVES) for s in block[block.index(node) :]):
            return False
        node = next(a for a in module.ancestors(node) if isinstance(a, ast.stmt))
    if before is not taker.statement and below is not frame.statement:
        same = isinstance(before, ast.If) and isinstance(below, ast.If)
        if not same or ast.dump(before.test) != ast.dump(below.test):  # type: ignore[attr-defined]
            return False
    targets = binds(taker.statement)
    block = module.block(frame.statement)
    for later in block[block.index(frame.statement) + 1 :]:
        if targets & reads(later):
            return True
        if isinstance(later, ast.Assign) and targets & binds(later):
            return False  # built anew after the wrap
    return True


def outward(frame: Frame, path: str, outer: Frame) -> str | None:
    """What `outer`, on the way out from `frame`, calls what `frame` calls `path`."""
    chain = [outer]
    while chain[-1] is not frame:
        inner = chain[-1].inner
        if inner is None:
            return None
        chain.append(inner)
    found: str | None = path
    for step in reversed(chain[:-1]):
        assert step.inner is not None
        assert step.call is not None
        function = step.inner.scope
        if found is None or not isinstance(function, ast.FunctionDef):
            return None
        found = translated(found, function, step.call, step.module)
    return found


def loads(node: ast.AST, path: str) -> bool:
    """Whether `node` reads `path`, or something below it."""
    return any(read == path or read.startswith(f"{path}.") for read in reads(node))
