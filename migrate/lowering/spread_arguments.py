"""`FSDP(model, **kwargs)`, whose keys are known: what the call is that names each argument.

A dict that is filled elsewhere, returned by a function or taken as `**kwargs` says the same as its
items, read one by one.  Said so, each argument is lowered alone, and its value migrates where it is
born.  What comes out here is still FSDP1, on the same lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import scope_of
from fsdp_migrate.analysis.library.fsdp1 import WRAP_PARAMETERS
from fsdp_migrate.analysis.values import Container, Instance
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.filled_dicts import keys_for_sure
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Span
from fsdp_migrate.syntax.splices import Splice

# What FSDP1 takes where an argument is left out, apart from None.
DEFAULTS = {"sync_module_states": "False", "use_orig_params": "False", "limit_all_gathers": "True"}
# Flags that FSDP2 has no use for, and nothing asks for.
FLAGS = ("forward_prefetch", "limit_all_gathers")
MODELS = ("model", "module", "net")  # of a model that has none yet
NAMES = ("kwargs", "settings", "arguments")  # of a dict that has none yet


@dataclass(frozen=True, eq=False)
class Spelt:
    """What makes a call name its arguments."""

    fact: WrapFact
    splices: tuple[Splice, ...]


def spelt_out(analysis: Analysis, facts: Iterable[WrapFact]) -> tuple[Spelt, ...]:
    """The calls among `facts` that can name their arguments, and how."""
    speller = _Speller(analysis, list(facts))
    found = [Spelt(fact, speller.splices(fact)) for fact in speller.facts]
    return tuple(each for each in found if each.splices)


class _Speller:
    """Spells out the calls of a program; new variables have names of their own."""

    def __init__(self, analysis: Analysis, facts: Sequence[WrapFact]) -> None:
        self.facts = [fact for fact in facts if _is_open(fact)]
        self._analysis = analysis
        self._taken: set[tuple[str, str]] = set()
        self._spreads = {s.value for fact in self.facts for s in _spreads(fact)}

    def splices(self, fact: WrapFact) -> tuple[Splice, ...]:
        """What has to change for a call; nothing if it can't be said."""
        found: list[Splice] = []
        before: list[str] = []
        for keyword in _spreads(fact):
            keys = self._keys(keyword.value)
            if keys is None:
                return ()
            stated = self._as_parameters(fact, keyword.value, keys)
            if stated is not None:
                found += [stated, _in_place(fact.module, keyword, [f"{k}={k}" for k in keys])]
                continue
            name, above = self._named(fact, keyword.value)
            if name is None:
                return ()
            before += above
            said = [self._read(fact, keyword.value, name, key) for key in keys if key not in FLAGS]
            found.append(_in_place(fact.module, keyword, said))
        if before:
            first = self._model_first(fact)
            if first is None:
                return ()
            names, moved = first
            found += [*moved, _above(fact, [*names, *before])]
        return tuple(found)

    # ------------------------------------------------------------------ the keys
    def _keys(self, node: ast.expr) -> tuple[str, ...] | None:
        """The keys that a dict can have; None where some aren't known."""
        value = self._analysis.value(node)
        found: dict[str, None] = {}
        for atom in value:
            if not isinstance(atom, Container) or atom.kind != "dict":
                return None
            keys = [*map(str, self._analysis.item_keys(atom.site))]
            found.update(dict.fromkeys(k for k in keys if self._is_given(atom, k)))
        return tuple(found) if found and all(key.isidentifier() for key in found) else None

    def _is_given(self, made: Container, key: str) -> bool:
        """Whether a key can be in a dict that FSDP1 takes: it refuses what it has no name for."""
        return key in WRAP_PARAMETERS or self._analysis.has_always(made.site, key)

    def _read(self, fact: WrapFact, spread: ast.expr, name: str, key: str) -> str:
        quoted = f"{fact.module.quote}{key}{fact.module.quote}"
        if self._is_there(fact, spread, key):
            return f"{key}={name}[{quoted}]"
        default = f", {DEFAULTS[key]}" if key in DEFAULTS else ""
        return f"{key}={name}.get({quoted}{default})"

    def _is_there(self, fact: WrapFact, spread: ast.expr, key: str) -> bool:
        """Whether the dict has a key for certain."""
        return all(
            isinstance(atom, Container)
            and (
                self._analysis.has_always(atom.site, key)
                or key in keys_for_sure(self._analysis, atom, fact.module, fact.node)
            )
            for atom in self._analysis.value(spread)
        )

    # ------------------------------------------------------------------ names
    def _named(self, fact: WrapFact, spread: ast.expr) -> tuple[str | None, list[str]]:
        """What a dict is called, and the statement that it takes to call it so."""
        if self._is_variable(spread):
            return fact.module.text(spread), []
        module, statement = fact.module, fact.module.statement(fact.node)
        if getattr(statement, "value", None) is not fact.node:
            return None, []
        name = self._free(fact, NAMES)
        return (name, [f"{name} = {module.text(spread)}"]) if name is not None else (None, [])

    def _is_variable(self, node: ast.expr) -> bool:
        """Whether an expression names a value, and nothing happens when it is read."""
        if isinstance(node, ast.Name):
            return True
        if not isinstance(node, ast.Attribute) or path_of(node) is None:
            return False
        owners = self._analysis.value(node.value)
        plain = all(
            isinstance(a, Instance) and self._analysis.method(a.cls, node.attr) is None
            for a in owners
        )
        return bool(owners) and plain and self._is_variable(node.value)

    def _model_first(self, fact: WrapFact) -> tuple[list[str], list[Splice]] | None:
        """The model under a name above the dict, where making it may do something."""
        model = fact.arguments.get("module")
        if model is None or model.node is None:
            return None
        if path_of(model.node) is not None:
            return [], []
        module, name = fact.module, self._target(fact) or self._free(fact, MODELS)
        if name is None:
            return None
        return [f"{name} = {module.text(model.node)}"], [Splice(module.span(model.node), name)]

    def _target(self, fact: WrapFact) -> str | None:
        """The variable that the model is put in, where no argument reads what was in there."""
        statement = fact.module.statement(fact.node)
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return None
        target = path_of(statement.targets[0])
        others = [*fact.node.args[1:], *(k.value for k in fact.node.keywords)]
        if target is None or any(path_of(n) == target for o in others for n in nodes_in(o)):
            return None
        return target

    def _free(self, fact: WrapFact, names: Sequence[str]) -> str | None:
        """One of `names` that nothing around a call has, and that no other call is given."""
        module = fact.module
        around = nodes_in(module.function(fact.node) or module.tree)
        used = {n.id for n in around if isinstance(n, ast.Name)}
        used |= {n.arg for n in around if isinstance(n, ast.arg)}
        for name in names:
            if name not in used and (module.name, name) not in self._taken:
                self._taken.add((module.name, name))
                return name
        return None

    # ------------------------------------------------------------------ parameters
    def _as_parameters(
        self, fact: WrapFact, spread: ast.expr, keys: Sequence[str]
    ) -> Splice | None:
        """`**kwargs` of a function that only hands it on, as parameters with names."""
        module = fact.module
        scope = scope_of(module, spread) if isinstance(spread, ast.Name) else None
        if not isinstance(spread, ast.Name) or not isinstance(scope, ast.FunctionDef):
            return None
        star = scope.args.kwarg
        if star is None or star.arg != spread.id or star.lineno != star.end_lineno:
            return None
        named = [n for n in nodes_in(scope) if isinstance(n, ast.Name)]
        if any(n.id == star.arg and n not in self._spreads for n in named):
            return None
        inside = {n.id for n in named} | {a.arg for a in nodes_in(scope) if isinstance(a, ast.arg)}
        if inside & set(keys):
            return None
        stated = f": {module.text(star.annotation)} = " if star.annotation is not None else "="
        text = ", ".join(f"{key}{stated}{DEFAULTS.get(key)}" for key in keys)
        span = module.span(star)
        line = module.lines[span.line - 1]
        start = line.rfind("**", 0, span.col)
        if start < 0 or len(line) - (span.end_col - start) + len(text) > module.line_length:
            return None
        return Splice(Span(span.line, start, span.end_line, span.end_col), text)


def _is_open(fact: WrapFact) -> bool:
    """Whether a call may be spelt out: all that it is given is known, and it is the class's."""
    starred = any(isinstance(argument, ast.Starred) for argument in fact.node.args)
    plain = fact.direct and not fact.contexts and not fact.opaque and not starred
    return plain and fact.module.given and fact.module.rewrite and bool(_spreads(fact))


def _spreads(fact: WrapFact) -> list[ast.keyword]:
    return [k for k in fact.node.keywords if k.arg is None and not isinstance(k.value, ast.Dict)]


def _in_place(module: Module, keyword: ast.keyword, said: Sequence[str]) -> Splice:
    return Splice(module.span(keyword), ", ".join(said) or "limit_all_gathers=True")


def _above(fact: WrapFact, statements: Sequence[str]) -> Splice:
    span = fact.module.span(fact.module.statement(fact.node))
    text = "".join(f"{statement}; " for statement in statements)
    return Splice(Span(span.line, span.col, span.line, span.col), text)
