"""What a test of a class, or of its name, comes to when sharded classes have a prefix."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import Cls, Container, Instance, Symbol, Value
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_identity import ClassAsked, Whose
from fsdp_migrate.rule.queries.sharded_classes import PREFIX
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.syntax.module import Module

DISPLAYS = ast.Tuple | ast.List | ast.Set
FINDING_WORDS = frozenset({"count", "endswith", "find", "index", "rfind", "rindex"})
CASES = frozenset({"casefold", "lower", "upper"})


# ---------------------------------------------------------------------- classes
def tests_sharded(facts: Facts, asked: ClassAsked, others: Iterable[ast.expr]) -> bool | None:
    """Whether a sharded class is among `others`; None where that isn't known."""
    answers: set[bool | None] = set()
    for other in others:
        value = facts.value(other)
        if not value or not all(isinstance(atom, Cls | Symbol) for atom in value):
            answers.add(None)
        else:
            answers.add(any(_is_sharded(facts, asked, atom) for atom in value))
    return True if True in answers else None if None in answers else False


def _is_sharded(facts: Facts, asked: ClassAsked, atom: object) -> bool:
    """Whether a class is one of those that the object can be of, and that are sharded."""
    classes = asked.classes
    if isinstance(atom, Cls):
        is_module = facts.analysis.is_module(Instance(atom.site))
        return atom.site in classes.own or (classes.open and is_module)
    if not isinstance(atom, Symbol):
        return False
    foreign = not atom.name.startswith(("builtins.", "collections.", "torch."))
    known = atom.name.startswith("torch.nn.") or (foreign and asked.whose is not Whose.UNKNOWN)
    return atom.name in classes.libraries or (classes.open and known)


def has_no_subclasses(facts: Facts, others: Iterable[ast.expr]) -> bool:
    """Whether each of `others` is one class of the project, from which none derives."""
    for other in others:
        (atom,) = value if len(value := facts.value(other)) == 1 else (None,)
        if not isinstance(atom, Cls) or facts.analysis.descendants(atom.site):
            return False
    return True


def items(node: ast.expr) -> list[ast.expr] | None:
    """The elements of a display that is written out."""
    if not isinstance(node, DISPLAYS) or any(isinstance(e, ast.Starred) for e in node.elts):
        return None
    return node.elts


# ---------------------------------------------------------------------- names
def may_begin_so(facts: Facts) -> bool:
    """Whether a module class of the project has a name that begins as those of FSDP2 do."""
    return any(
        info.node.name.startswith(PREFIX) and facts.analysis.is_module(Instance(site))
        for site, info in facts.analysis.classes.items()
    )


def words_in(facts: Facts, node: ast.expr) -> list[str] | None:
    """The strings that `node` is, or holds; None if they aren't known."""
    elements = items(node)
    if elements is not None:
        found = [words_in(facts, element) for element in elements]
        return None if None in found else [word for words in found for word in words or ()]
    value = facts.value(node)
    held = _held(facts, value)
    known = literals(held if held is not None else value)
    if known is None or not all(isinstance(word, str) for word in known):
        return None
    return [str(word) for word in known]


def _held(facts: Facts, value: Value) -> Value | None:
    (atom,) = value if len(value) == 1 else (None,)
    return facts.analysis.dict_values(atom) if isinstance(atom, Container) else None


def is_named(facts: Facts, asked: ClassAsked, word: str) -> bool:
    """Whether `word` may be the name of a sharded class."""
    names = asked.classes.names(facts)
    if names is not None:
        return word in names
    own = {
        info.node.name
        for site, info in facts.analysis.classes.items()
        if facts.analysis.is_module(Instance(site))
    }
    return word in own or (asked.whose is not Whose.UNKNOWN and word.isidentifier())


def found_by_prefix(facts: Facts, asked: ClassAsked, word: str, *, folded: bool) -> bool:
    """Whether `word` may be found in a name with the prefix, and not in the name without it."""
    prefix = PREFIX.lower() if folded else PREFIX
    names = asked.classes.names(facts)
    if folded:
        word = word.lower()
    if names is not None:
        plain = {name.lower() if folded else name for name in names}
        return any(word in prefix + name and word not in name for name in plain)
    return word in prefix or word.startswith(prefix)


def read_by(module: Module, node: ast.expr) -> tuple[ast.expr, bool]:
    """`node`, or what stands there in one case: `name.lower()`; and whether it does."""
    parent = module.parents[node]
    if isinstance(parent, ast.Attribute) and parent.attr in CASES:
        made = module.parents[parent]
        if isinstance(made, ast.Call) and made.func is parent:
            return made, True
    return node, False


def test_of_name(facts: Facts, asked: ClassAsked) -> tuple[bool, bool]:
    """Whether the name is only tested, and whether the prefix may matter there."""
    node, folded = read_by(asked.module, asked.whole)
    parent = asked.module.parents[node]
    unknown = asked.whose is not Whose.UNKNOWN
    if isinstance(parent, ast.Expr):
        return True, False
    if isinstance(parent, ast.Compare) and len(parent.ops) == 1:
        op = parent.ops[0]
        other = parent.comparators[0] if parent.left is node else parent.left
        words = words_in(facts, other)
        if words is None:
            return True, unknown
        if isinstance(op, ast.In | ast.NotIn) and parent.left is not node:
            return True, any(found_by_prefix(facts, asked, w, folded=folded) for w in words)
        return True, any(folded or is_named(facts, asked, word) for word in words)
    called = asked.module.parents[parent] if isinstance(parent, ast.Attribute) else None
    if isinstance(parent, ast.Attribute) and isinstance(called, ast.Call) and called.args:
        words = words_in(facts, called.args[0])
        if parent.attr in FINDING_WORDS and words is not None:
            return True, any(found_by_prefix(facts, asked, w, folded=folded) for w in words)
        if parent.attr in {"startswith", "removeprefix"}:
            return True, unknown and words != ["FSDP"]
    return False, True
