"""What a state-dict mode says: the kind of state dicts, and where they are wanted."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import NONE, Atom, Const, Result, Symbol, Value
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

LOCAL = "LOCAL"  # which no call of FSDP2 means
KINDS = {
    f"{ROOT}.StateDictType.FULL_STATE_DICT": "FULL",
    f"{ROOT}.StateDictType.SHARDED_STATE_DICT": "SHARDED",
    f"{ROOT}.StateDictType.LOCAL_STATE_DICT": LOCAL,
}
TYPE = f"{ROOT}.StateDictType"
PARAMETERS = ("module", "state_dict_type", "state_dict_config", "optim_state_dict_config")
FLAGS = ("offload_to_cpu", "rank0_only")
# The configurations, by the kind of state dicts that they are about.
CONFIGS = {
    f"{ROOT}.{name}": kind
    for kind, names in {
        "FULL": ("FullOptimStateDictConfig", "FullStateDictConfig"),
        "SHARDED": ("ShardedOptimStateDictConfig", "ShardedStateDictConfig"),
        LOCAL: ("LocalOptimStateDictConfig", "LocalStateDictConfig"),
        "": ("OptimStateDictConfig", "StateDictConfig"),
    }.items()
    for name in names
}
Arguments = Mapping[str, ast.expr]  # by parameter: what a function is called with


@dataclass(frozen=True)
class Setting:
    """What a mode says of state dicts, the flags of its configurations included.

    The optimizer's defaults are FSDP1's: on the CPU, on all ranks.  `optim_given` tells a flag
    that the program states from a default that it may not even know of.
    """

    kind: str = "FULL"
    offload: bool = False
    rank0: bool = False
    optim_offload: bool = True
    optim_rank0: bool = False
    optim_given: bool = False


def given_to_mode(call: ast.expr) -> dict[str, ast.expr] | None:
    """The arguments of a call that sets a mode, by name; None if they can't be told apart."""
    if not isinstance(call, ast.Call):
        return None
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if starred or any(keyword.arg is None for keyword in call.keywords):
        return None
    given = dict(zip(PARAMETERS, call.args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def setting_of(
    analysis: Analysis,
    module: Module,
    given: Mapping[str, ast.expr],
    passed: Arguments | None = None,
) -> Setting | None:
    """What a mode says that is set with `given`, in a function that is called with `passed`."""
    reader = _Reader(analysis, module, passed or {})
    configs = [reader.inner(given.get(name)) for name in PARAMETERS[2:]]
    kind = reader.kind(given.get("state_dict_type"), configs)
    model, optim = (reader.config(node, kind) for node in configs)
    if kind is None or model is None or optim is None:
        return None
    return Setting(
        kind,
        model.get("offload_to_cpu", False),
        model.get("rank0_only", False),
        optim.get("offload_to_cpu", True),
        optim.get("rank0_only", False),
        "optim_state_dict_config" in given,
    )


def tested_kind(analysis: Analysis, module: Module, made: ast.Call) -> str | None:
    """The kind that tests of the type around the call of a context let through."""
    node = made.args[1] if len(made.args) > 1 else None
    found = _Reader(analysis, module, {}).kind(node, [])
    return found if found != LOCAL else None


class _Reader:
    """Reads the arguments of a mode, where parameters of the function around are known."""

    def __init__(self, analysis: Analysis, module: Module, passed: Arguments) -> None:
        self.analysis = analysis
        self.module = module
        self.passed = passed

    # ------------------------------------------------------------------ expressions
    def inner(self, node: ast.expr | None) -> ast.expr | None:
        """What `node` comes to: an argument of the caller, or what a variable was set to."""
        for _ in range(8):
            if isinstance(node, ast.Name) and node.id in self.passed:
                return self.passed[node.id]
            found = definition(self.module, node) if isinstance(node, ast.Name) else None
            if self.passed and found is not None and found in self._own_statements(found):
                node = found.value
            elif isinstance(node, ast.IfExp) and (test := self.flag(node.test)) is not None:
                node = node.body if test else node.orelse
            else:
                break
        return node

    def _own_statements(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements of the function whose parameters are known, if `statement` is in it."""
        function = self.module.function(statement)
        known = isinstance(function, ast.FunctionDef) and self.passed.keys() & {
            argument.arg for argument in nodes_in(function.args) if isinstance(argument, ast.arg)
        }
        return function.body if known and isinstance(function, ast.FunctionDef) else []

    def flag(self, node: ast.expr) -> bool | None:
        """The value of a flag."""
        known = self.inner(node)
        if isinstance(known, ast.UnaryOp) and isinstance(known.op, ast.Not):
            inner = self.flag(known.operand)
            return None if inner is None else not inner
        return _flag(self.analysis.value(known))

    # ------------------------------------------------------------------ what is said
    def kind(self, node: ast.expr | None, configs: list[ast.expr | None]) -> str | None:
        """The kind, by the type, by tests of the type around, or by the configurations."""
        value = self.analysis.value(self.inner(node))
        kinds = {KINDS.get(a.name) if isinstance(a, Symbol) else None for a in value}
        if None in kinds or not kinds:
            kinds = set(self._tested(node)) or kinds
        if len(kinds) == 1 and None not in kinds:
            return kinds.pop()
        told = {self._told(config) for config in configs if config is not None} - {None}
        return told.pop() if len(told) == 1 else None

    def _told(self, config: ast.expr) -> str | None:
        """The kind of state dicts that a configuration is for: FSDP1 refuses another."""
        found = {CONFIGS.get(a.symbol) for a in self._configs(config) if isinstance(a, Result)}
        return next(iter(found)) or None if len(found) == 1 else None

    def _configs(self, node: ast.expr) -> Value:
        return frozenset(a for a in self.analysis.value(node) if isinstance(a, Result))

    def _tested(self, node: ast.expr | None) -> Iterator[str]:
        """The kinds that tests around let through: `if kind == StateDictType.FULL_STATE_DICT`."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return
        child: ast.AST = node
        for around in self.module.ancestors(node):
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                return
            if isinstance(around, ast.If) and child is not around.test:
                kind = self._compared(around.test, node)
                if kind is not None and child in around.body:
                    yield kind
                elif kind is not None and child in around.orelse:
                    yield from {"FULL", "SHARDED"} - {kind}
            child = around

    def _compared(self, test: ast.expr, node: ast.expr) -> str | None:
        """The kind that `test` asks `node` for."""
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            return None
        left, right = test.left, test.comparators[0]
        other = right if same(left, node) else left if same(right, node) else None
        if other is None or not isinstance(test.ops[0], ast.Eq | ast.Is):
            return None
        names = {a.name for a in self.analysis.value(other) if isinstance(a, Symbol)}
        return KINDS.get(names.pop()) if len(names) == 1 else None

    def config(self, node: ast.expr | None, kind: str | None) -> dict[str, bool] | None:
        """The flags of a configuration object; None if they can't be known."""
        if node is None:
            return {}
        value = self.analysis.value(node)
        if value == NONE:
            return {}
        if kind is None:
            return None
        fitting = {a for a in value if self._kind_of(a) in (kind, "")}
        others = value - fitting
        if not fitting or any(self._kind_of(atom) is None for atom in others):
            return None
        every = [self._flags(node, atom) for atom in fitting]
        return every[0] if all(flags == every[0] for flags in every) else None

    def _kind_of(self, atom: Atom) -> str | None:
        return CONFIGS.get(atom.symbol) if isinstance(atom, Result) else None

    def _flags(self, node: ast.expr, atom: Atom) -> dict[str, bool] | None:
        assert isinstance(atom, Result)
        made = self.analysis.call_nodes.get(atom.site)
        if made is None or any(isinstance(argument, ast.Starred) for argument in made.args):
            return None
        written: dict[str, ast.expr] = {}
        if made is node:  # whose parameters may be known
            written = dict(zip(FLAGS, made.args, strict=False))
            written |= {keyword.arg: keyword.value for keyword in made.keywords if keyword.arg}
        args, kwargs = self.analysis.calls[atom.site]
        named = dict(zip(FLAGS, args, strict=False)) | kwargs
        if CONFIGS[atom.symbol] == "SHARDED":
            named.pop("_use_dtensor", None)
        flags: dict[str, bool] = {}
        for name, value in named.items():
            known = self.flag(written[name]) if name in written else None
            known = _flag(value) if known is None else known
            if name not in FLAGS or known is None:
                return None
            flags[name] = known
        return flags


def _flag(value: Value) -> bool | None:
    known = next(iter(value)) if len(value) == 1 else None
    return known.value if isinstance(known, Const) and isinstance(known.value, bool) else None
