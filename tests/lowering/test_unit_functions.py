"""The functions that list units give what FSDP1's recursion makes units, on trees of all shapes."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp.wrap import _or_policy, _recursive_wrap, size_based_auto_wrap_policy

from fsdp_migrate.findings.code import Code
from fsdp_migrate.lowering.unit_functions import (
    BY_POLICY,
    BY_RECURSING,
    BY_SIZE,
    BY_SIZE_BESIDE_ALL,
    BY_SIZE_BESIDE_LISTS,
    BY_SIZE_BESIDE_WHOLE,
)
from fsdp_migrate.syntax.module import Module
from support.edits import module_of
from support.wraps import shown

MODULE: Module = module_of("")
Policy = Callable[..., bool]


def _function(definition: Code) -> Callable[..., list[nn.Module]]:
    text = shown(MODULE, definition)
    for name in ("ModuleList", "ModuleDict", "MultiheadAttention"):
        text = text.replace(name, f"nn.{name}")
    names: dict[str, Any] = {"nn": nn}
    exec(text, names)
    (made,) = (value for name, value in names.items() if name.startswith("units_by"))
    return made  # type: ignore[no-any-return]


def _tree(draw: random.Random, depth: int, special: bool) -> nn.Module:
    kinds = ["linear", "linear", "empty", "sequential", "own"]
    kinds += ["list", "dict", "attention"] if special else []
    kind = draw.choice(kinds) if depth else draw.choice(["linear", "empty"])
    if kind == "linear":
        return nn.Linear(draw.randint(1, 6), draw.randint(1, 6), bias=draw.random() < 0.5)
    if kind == "empty":
        return nn.ReLU()
    if kind == "attention":
        return nn.MultiheadAttention(draw.choice([2, 4]), 1)
    children = [_tree(draw, depth - 1, special) for _ in range(draw.randint(1, 3))]
    if kind == "list":
        return nn.ModuleList(children)
    if kind == "dict":
        return nn.ModuleDict({str(n): child for n, child in enumerate(children)})
    made = nn.Sequential(*children)
    if kind == "own":
        made.weight = nn.Parameter(torch.zeros(draw.randint(1, 20)))
    return made


def _of_fsdp1(model: nn.Module, policy: Policy) -> list[nn.Module]:
    units: list[nn.Module] = []

    def wrapper(module: nn.Module) -> nn.Module:
        units.append(module)
        return module

    _recursive_wrap(model, policy, wrapper, set(), set(), only_wrap_children=True)
    return units


def _trees(special: bool, count: int = 300) -> list[nn.Module]:
    draw = random.Random(11)
    trees = [nn.Sequential(*(_tree(draw, 4, special) for _ in range(3))) for _ in range(count)]
    return [*trees]


@pytest.mark.parametrize("definition", [BY_SIZE, BY_SIZE_BESIDE_LISTS, BY_SIZE_BESIDE_ALL])
def test_by_size(definition: Code) -> None:
    listed = _function(definition)
    for number, model in enumerate(_trees(special=definition is BY_SIZE_BESIDE_ALL)):
        least = number % 60
        policy = functools.partial(size_based_auto_wrap_policy, min_num_params=least)
        assert listed(model, min_num_params=least) == _of_fsdp1(model, policy)


def test_by_size_as_the_precision_has_it() -> None:
    listed = _function(BY_SIZE_BESIDE_WHOLE)
    for number, model in enumerate(_trees(special=True)):
        least = number % 60
        policy = functools.partial(size_based_auto_wrap_policy, min_num_params=least)
        looks = functools.partial(_or_policy, policies=[policy, _look_everywhere])
        whole = nn.MultiheadAttention
        assert listed(model, min_num_params=least, whole=whole) == _of_fsdp1(model, policy)
        assert listed(model, min_num_params=least) == _of_fsdp1(model, looks)


def _look_everywhere(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    return recurse


def _by_kind(least: int, module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    return recurse or (len(list(module.children())) != 1 and nonwrapped_numel >= least)


def _that_stops(least: int, module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    if recurse:
        return len(list(module.children())) != 2 and nonwrapped_numel > least
    return nonwrapped_numel % 3 == 0 or nonwrapped_numel > 2 * least


@pytest.mark.parametrize(
    ("definition", "asked"), [(BY_POLICY, _by_kind), (BY_RECURSING, _that_stops)]
)
def test_by_policy(definition: Code, asked: Policy) -> None:
    listed = _function(definition)
    for number, model in enumerate(_trees(special=True)):
        policy = functools.partial(asked, number % 60)
        assert listed(model, policy) == _of_fsdp1(model, policy)
