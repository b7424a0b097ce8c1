"""Where the class of what may be sharded is asked for, and which classes are sharded."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.class_identity import ClassAsked, Whose, classes_asked
from fsdp_migrate.rule.queries.class_names import found_by_prefix, is_named, words_in
from fsdp_migrate.rule.queries.sharded_classes import sharded_classes
from support.facts import Program

HEAD = """\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import ModuleWrapPolicy, size_based_auto_wrap_policy


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(2, 2)


class Wide(Block):
    pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Wide()])


def main(net, x, optimizer, unwrap):
    model = FSDP(Net(){policy})
"""
EVERY = {"Net", "Block", "Wide", "Linear", "ModuleList"}  # of what the model consists
UNITS = ", auto_wrap_policy=ModuleWrapPolicy({Block})"


def program(body: str, policy: str = UNITS) -> Program:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return Program(HEAD.replace("{policy}", policy) + lines)


def asked(body: str, policy: str = UNITS) -> list[ClassAsked]:
    return list(classes_asked(program(body, policy).facts))


# ---------------------------------------------------------------------- which classes
@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("", {"Net"}),
        (UNITS, {"Net", "Block", "Wide"}),
        (", auto_wrap_policy=ModuleWrapPolicy({Wide, nn.Linear})", {"Net", "Wide", "Linear"}),
        (", auto_wrap_policy=size_based_auto_wrap_policy", EVERY),
        (", auto_wrap_policy=x", EVERY),
    ],
)
def test_classes_that_are_sharded(policy: str, names: set[str]) -> None:
    found = program("pass", policy)
    assert sharded_classes(found.facts, found.module()).names(found.facts) == names


def test_a_model_that_is_not_known_may_be_of_any_class() -> None:
    found = Program(f"{HEAD.replace('Net(){policy}', 'net')}    pass\n")
    assert sharded_classes(found.facts, found.module()).open


# ---------------------------------------------------------------------- whose class
@pytest.mark.parametrize(
    ("body", "whose"),
    [
        ("type(model.module)", Whose.INNER),
        ("inner = model.module\ntype(inner)", Whose.INNER),
        ("type(model)", Whose.WRAPPER),
        ("for m in model.modules(): type(m)", Whose.MAYBE),
        ("for n, m in model.named_modules(): m.__class__", Whose.MAYBE),
        ("model.apply(lambda m: m._get_name())", Whose.MAYBE),
        ("for b in model.module.blocks: type(b)", Whose.WRAPPER),
        ("for b in model.module.children(): type(b)", Whose.WRAPPER),
        ("for i, b in enumerate(model.blocks): type(b)", Whose.WRAPPER),
        ("for m in model.children(): type(m)", Whose.INNER),
        ("first = next(model.children())\ntype(first)", Whose.INNER),
        ("type(x)", Whose.UNKNOWN),
        ("mod = model\nmod = mod.module\ntype(mod)", Whose.MAYBE),
        ("a = x\nfor x in a: b = x\nx = b\ntype(b)", Whose.UNKNOWN),
    ],
)
def test_whose_class_it_is(body: str, whose: Whose) -> None:
    assert [found.whose for found in asked(body)] == [whose]


@pytest.mark.parametrize(
    "body",
    [
        "type(nn.Linear(1, 1))",
        "type(3)",
        "type('Name', (), {})",
        "def type(x): pass\ntype(model.module)",
        "model.module.__dict__",
    ],
)
def test_other_things(body: str) -> None:
    assert asked(body) == []


def test_parts_are_no_wrappers_where_only_the_root_is_one() -> None:
    assert asked("for b in model.module.blocks: type(b)", policy="") == []


def test_what_is_asked() -> None:
    (found,) = asked("print(type(model.module).__name__)")
    assert (found.name, ast.unparse(found.whole)) == ("__name__", "type(model.module).__name__")
    (found,) = asked("print(model.module._get_name())")
    assert (found.name, ast.unparse(found.instance)) == ("__name__", "model.module")
    (found,) = asked("print(type(model.module).from_config)")
    assert (found.name, ast.unparse(found.whole)) == ("", "type(model.module)")


# ---------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("word", "folded", "found"),
    [
        ("Block", False, False),
        ("FSDP", False, True),
        ("PBlock", False, True),
        ("pwide", True, True),
        ("wide", True, False),
        ("Pool", False, False),
    ],
)
def test_what_the_prefix_adds(word: str, folded: bool, found: bool) -> None:
    shown = program("for m in model.modules(): type(m)")
    (place,) = classes_asked(shown.facts)
    assert found_by_prefix(shown.facts, place, word, folded=folded) is found


def test_names_of_sharded_classes() -> None:
    shown = program("for m in model.modules(): type(m)")
    (place,) = classes_asked(shown.facts)
    assert [is_named(shown.facts, place, w) for w in ("Block", "Linear")] == [True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'a'", ["a"]),
        ("('a', 'b')", ["a", "b"]),
        ("{'a'}", ["a"]),
        ("x", None),
        ("('a', x)", None),
        ("('a', *x)", None),
        ("3", None),
    ],
)
def test_words_that_are_written_out(text: str, words: list[str] | None) -> None:
    shown = program(f"probe = {text}")
    assert words_in(shown.facts, shown.node(ast.unparse(ast.parse(text, mode="eval")))) == words
