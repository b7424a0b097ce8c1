"""Policies and grouping, against torch's own, on trees of modules without any process group."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch.distributed.fsdp.wrap as wrap
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fsdp_migrate.runtime as runtime
from fsdp_migrate.runtime.grouping import plan_units, post_order


class Leaf(nn.Linear):
    pass


class Norm(nn.BatchNorm1d):
    pass


class Node(nn.Module):
    def __init__(self, children: list[nn.Module], size: int) -> None:
        super().__init__()
        for i, child in enumerate(children):
            self.add_module(f"c{i}", child)
        if size:
            self.own = nn.Parameter(__import__("torch").zeros(size))


def _leaves() -> st.SearchStrategy[nn.Module]:
    sizes = st.integers(1, 12)
    return st.one_of(
        st.builds(lambda n: Leaf(n, n), sizes),
        st.builds(lambda n: Norm(n), sizes),
        st.builds(lambda: nn.MultiheadAttention(4, 2)),
        st.builds(lambda: nn.ReLU()),
    )


def _inner(children: st.SearchStrategy[nn.Module]) -> st.SearchStrategy[nn.Module]:
    several = st.lists(children, min_size=1, max_size=4)
    return st.one_of(
        st.builds(Node, several, st.integers(0, 50)),
        st.builds(lambda found: nn.Sequential(*found), several),
        st.builds(nn.ModuleList, several),
        st.builds(lambda found: nn.ModuleDict({f"k{i}": m for i, m in enumerate(found)}), several),
    )


TREES = st.recursive(_leaves(), _inner, max_leaves=12)


class Wrapped(nn.Module):
    """What torch's recursion puts in the place of a unit."""

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        super().__init__()
        self.module, self.kwargs = module, kwargs


def _torch_units(
    root: nn.Module, policy: Any, ignored: set[nn.Module], exempt: tuple[type, ...]
) -> list[tuple[int, Any]]:
    """The units that FSDP1 would make, by the code that made them."""
    made: list[tuple[int, Any]] = []

    def make(module: nn.Module, **kwargs: Any) -> nn.Module:
        made.append((id(module), kwargs["mixed_precision"]))
        return module

    kwargs: dict[str, Any] = {"mixed_precision": "low"}
    if isinstance(policy, wrap._Policy):
        targets = policy._run_policy(root, ignored, kwargs)
        targets = wrap._run_mixed_precision_override_policy(root, exempt, ignored, kwargs, targets)
        wrap._post_order_apply(root, wrap._construct_wrap_fn(root, targets, make))
        return made
    if exempt:
        single = functools.partial(wrap._wrap_module_cls_individually, module_classes=exempt)
        policy = functools.partial(wrap._or_policy, policies=[policy, single])
        for module in root.modules():
            if isinstance(module, exempt):
                module._wrap_overrides = {"mixed_precision": None}
    params = {p for m in ignored for p in m.parameters()}
    wrap._recursive_wrap(root, policy, make, ignored, params, only_wrap_children=True, **kwargs)
    for module in root.modules():
        vars(module).pop("_wrap_overrides", None)
    return made


def _our_units(
    root: nn.Module, policy: Any, ignored: set[nn.Module], exempt: tuple[type, ...]
) -> list[tuple[int, Any]]:
    params = {p for m in ignored for p in m.parameters()}
    plan = plan_units(root, policy, ignored, params, {"mixed_precision": "low"}, exempt)
    return [(id(module), kwargs["mixed_precision"]) for module, kwargs in plan]


def _policies(namespace: Any, threshold: int) -> list[Any]:
    or_policy = getattr(namespace, "or_policy", None) or namespace._or_policy
    by_size = functools.partial(namespace.size_based_auto_wrap_policy, min_num_params=threshold)
    by_class = functools.partial(
        namespace.transformer_auto_wrap_policy, transformer_layer_cls={Leaf, Node}
    )
    by_name = functools.partial(
        namespace.lambda_auto_wrap_policy, lambda_fn=lambda m: type(m).__name__ == "Norm"
    )
    odd = functools.partial(
        namespace.size_based_auto_wrap_policy,
        min_num_params=threshold,
        force_leaf_modules={Node},
        exclude_wrap_modules={nn.Sequential},
    )
    answer = {"mixed_precision": "other"}
    return [
        namespace.ModuleWrapPolicy([Leaf, nn.Sequential]),
        namespace.CustomPolicy(lambda m: answer if isinstance(m, Node) else isinstance(m, Leaf)),
        namespace.always_wrap_policy,
        by_size,
        by_class,
        by_name,
        odd,
        functools.partial(or_policy, policies=[by_size, by_name]),
        functools.partial(or_policy, policies=[namespace.ModuleWrapPolicy([Norm]), by_size]),
    ]


@settings(max_examples=150, deadline=None)
@given(
    root=TREES,
    which=st.integers(0, 8),
    threshold=st.integers(1, 400),
    exempt=st.sampled_from([(), (nn.BatchNorm1d,), (nn.Sequential, nn.MultiheadAttention)]),
    ignored=st.sets(st.integers(0, 30), max_size=3),
)
def test_same_units_in_the_same_order(
    root: nn.Module, which: int, threshold: int, exempt: tuple[type, ...], ignored: set[int]
) -> None:
    modules = list(root.modules())
    left_out = {m for i in ignored if 0 < i < len(modules) for m in modules[i].modules()}
    old, new = _policies(wrap, threshold)[which], _policies(runtime, threshold)[which]
    ours = _our_units(root, new, left_out, exempt)
    assert ours == _torch_units(root, old, left_out, exempt)
    assert _our_units(root, old, left_out, exempt) == ours, "a policy object of torch's own"


def test_modules_in_two_places_are_units_once() -> None:
    shared = Leaf(3, 3)
    root = Node([Node([shared], 0), Node([shared], 0)], 1)
    policy = functools.partial(runtime.lambda_auto_wrap_policy, lambda_fn=lambda m: m is shared)
    assert [module for module, _ in plan_units(root, policy, set(), set(), {})] == [shared]
    assert post_order(root).count(shared) == 1


def test_units_do_not_share_their_arguments() -> None:
    root = nn.Sequential(Leaf(2, 2), Leaf(2, 2))
    for policy in (runtime.ModuleWrapPolicy([Leaf]), runtime.always_wrap_policy):
        one, two = plan_units(root, policy, set(), set(), {"a": 1})
        one[1]["a"] = 2
        assert two[1] == {"a": 1}


def test_defaults_of_the_size_policy_can_be_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = functools.partial(runtime.size_based_auto_wrap_policy, min_num_params=1)
    attention = nn.MultiheadAttention(4, 2)
    assert not ask(attention, recurse=True, nonwrapped_numel=5)
    attributes = runtime.size_based_auto_wrap_policy.__dict__
    monkeypatch.setitem(attributes, "FORCE_LEAF_MODULES", set())
    monkeypatch.setitem(attributes, "EXCLUDE_WRAP_MODULES", {nn.MultiheadAttention})
    assert ask(attention, recurse=True, nonwrapped_numel=5)
    assert not ask(attention, recurse=False, nonwrapped_numel=5)


def test_policies_describe_themselves() -> None:
    assert "Leaf" in repr(runtime.ModuleWrapPolicy([Leaf]))


def test_wrap_overrides_the_context() -> None:
    made: list[dict[str, Any]] = []

    def wrapper(module: nn.Module, **kwargs: Any) -> nn.Module:
        made.append(kwargs)
        return Wrapped(module)

    inner = Leaf(1, 1)
    assert runtime.wrap(inner, a=1) is inner
    with runtime.enable_wrap(wrapper_cls=wrapper, a=1, b=2):
        assert runtime.wrap(inner, b=3, c=4).module is inner
    assert made == [{"a": 1, "b": 3, "c": 4}]
    with pytest.raises(KeyError), runtime.enable_wrap(wrapper_cls=wrapper):
        raise KeyError
    assert runtime.wrap(inner) is inner
