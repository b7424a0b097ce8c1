"""What a module is a part of, by its name."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.module_names import module_paths, wholes

PATHS = {
    "net": {"net"},
    "net.head": {"net.head"},
    "net.blocks[0]": {"net.blocks"},
    "net.blocks[0].inner": {"net.blocks"},
    "net.get_submodule('a.b')": {"net"},
    "getattr(net, name)": {"net"},
    "list(net.children())[-1]": {"net"},
    "dict(net.named_children())['a']": {"net"},
    "net.get_input_embeddings()": {"net"},
    "net.cuda().head": {"net"},
    "net.head if deep else net.tail": {"net.head", "net.tail"},
    "make(net)": set(),
    "net(x)": set(),
}
WHOLES = {
    "head = net.head\nuse(head)": "head",
    "a, b = net.a, teacher.b": "a",
    "for m in net.modules(): ...": "m",
    "for name, m in net.named_modules(): ...": "m",
    "for i, m in enumerate(net.blocks): ...": "m",
    "for m, t in zip(net.blocks, teacher.blocks): ...": "m",
    "use([p for m in net.children() for p in m.parameters()])": "m",
    "body = net.body\nfor m in body.layers: ...": "m",
    "if (m := net.head) is not None: ...": "m",
}


@pytest.mark.parametrize("text", PATHS)
def test_the_paths_of_an_expression(text: str) -> None:
    assert set(module_paths(ast.parse(text, mode="eval").body)) == PATHS[text]


@pytest.mark.parametrize("text", WHOLES)
def test_the_model_that_something_is_a_part_of(text: str) -> None:
    found = wholes(ast.parse(text), [WHOLES[text]])
    assert any(path == "net" or path.startswith("net.") for path in found)
    assert not any(path.startswith("teacher") for path in found)


def test_what_is_no_part() -> None:
    tree = ast.parse("self.m = net\nall['m'] = net\nteacher = make(net)")
    assert wholes(tree, ["m", "self", "all", "teacher"]) == {"m", "self", "all", "teacher"}
