"""What a chosen state-dict context says: one setting, or one for each way.

A condition that is known to come out one way is no choice: `isinstance(model, FSDP)` of what is
a model for certain.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.findings.code import Code, Kept, Literal, Name, Part, code
from fsdp_migrate.lowering.context_trees import Choice, Entered, Leaf, Tree
from fsdp_migrate.lowering.model_tests import model_asked_for, truth
from fsdp_migrate.lowering.state_dict_settings import LOCAL, Setting, given_to_mode, setting_of
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds_names, reads


@dataclass(frozen=True)
class Way:
    """What holds where `test` does; where no way has a test that does, the last one's."""

    test: Part | None  # None for the last
    setting: Setting | None  # None where no context is entered
    is_other: bool = False  # what the context is about is no model of FSDP1's there


@dataclass(frozen=True)
class Ways:
    """The settings that a condition chooses from."""

    ways: tuple[Way, ...]
    kept: tuple[ast.expr, ...]  # the parts of the program that the tests keep

    @property
    def paths(self) -> frozenset[str]:
        """What the tests read."""
        return frozenset().union(*map(reads, self.kept))


class _Unclear(Exception):
    """A way that isn't understood."""


def chosen(analysis: Analysis, entered: Entered) -> Setting | Ways | None:
    """What holds inside of a `with` statement; None where it isn't known."""
    try:
        return _Chooser(analysis, entered.module, entered.statement).chosen(entered.tree)
    except _Unclear:
        return None


class _Chooser:
    def __init__(self, analysis: Analysis, module: Module, entered: ast.With) -> None:
        self.analysis = analysis
        self.module = module
        self.function = module.function(entered)
        self.kept: list[ast.expr] = []

    def chosen(self, tree: Tree) -> Setting | Ways:
        """The one setting, or the ways."""
        ways = self._merged(list(self._ways(tree)))
        first = ways[0].setting
        if len(ways) == 1 and first is not None:
            return first
        if len(ways) == 1:
            raise _Unclear
        return Ways(tuple(ways), tuple(self.kept))

    def _ways(self, tree: Tree) -> Iterator[Way]:
        if isinstance(tree, Leaf):
            yield Way(None, self._setting(tree) if tree.call is not None else None)
            return
        known = truth(self.analysis, tree.module, tree.test, tree.passed)
        if known is not None:
            yield from self._ways(tree.body if known else tree.orelse)
            return
        asked = model_asked_for(self.analysis, tree.module, tree.test, tree.passed)
        body, orelse = list(self._ways(tree.body)), list(self._ways(tree.orelse))
        if len(body) == 1:
            yield replace(body[0], test=self._test(tree, asked, holds=True))
            yield from (_about_others(way) for way in orelse) if asked is not None else orelse
        elif len(orelse) == 1:
            yield replace(orelse[0], test=self._test(tree, asked, holds=False))
            yield from body
        else:
            raise _Unclear

    def _merged(self, ways: list[Way]) -> list[Way]:
        """The ways without those at the end that say what the last one says."""
        while len(ways) > 1 and ways[-2].setting == ways[-1].setting:
            ways = [*ways[:-2], ways[-1]]
        return ways

    def _setting(self, leaf: Leaf) -> Setting:
        given = given_to_mode(leaf.call) if leaf.call is not None else None
        if given is None or any(map(binds_names, given.values())):
            raise _Unclear
        found = setting_of(self.analysis, leaf.module, given, leaf.passed)
        if found is None or found.kind == LOCAL:
            raise _Unclear
        return found

    # ------------------------------------------------------------------ tests
    def _test(self, choice: Choice, asked: ast.expr | None, *, holds: bool) -> Part:
        test = choice.test
        if binds_names(test):
            raise _Unclear
        if asked is not None and not (choice.passed is None and _is_plain(test)):
            part: Part = _is_sharded(self._argument(asked))
        elif choice.passed is None:
            part = self._keep(test)
        else:
            part = self._by_arguments(test, choice.passed)
        return part if holds else code("not {test}", test=part)

    def _keep(self, node: ast.expr) -> Kept:
        self.kept.append(node)
        return Kept(self.module.span(node))

    def _by_arguments(self, test: ast.expr, passed: Mapping[str, ast.expr]) -> Part:
        """The test of a function that goes, about what the function was given."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return code("not {test}", test=self._by_arguments(test.operand, passed))
        if isinstance(test, ast.Name) and test.id in passed:
            return self._argument(passed[test.id])
        raise _Unclear

    def _argument(self, node: ast.expr) -> Part:
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | str):
            return Literal(node.value)
        if node not in self.module.parents or self.module.function(node) is not self.function:
            raise _Unclear  # a default
        if binds_names(node):
            raise _Unclear
        return self._keep(node)


def _about_others(way: Way) -> Way:
    return replace(way, is_other=way.setting is None)


def _is_plain(test: ast.expr) -> bool:
    """Whether a test asks `isinstance` itself."""
    return isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and len(test.args) == 2


def _is_sharded(model: Part) -> Code:
    return code("isinstance({model}, {sharded})", model=model, sharded=Name(ROOT, "FSDPModule"))
