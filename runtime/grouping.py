"""Which modules a policy turns into units: FSDP1's grouping rule, as a plan.

FSDP1 decided and wrapped in one recursion. Here the decision comes first, as an ordered list
(children before parents, the root left out), and nothing is changed until it is complete.

Source: `_auto_wrap`, `_recursive_wrap` and `_run_mixed_precision_override_policy` of
torch/distributed/fsdp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime.policies import or_policy

Kwargs = dict[str, Any]
PlannedUnit = tuple[nn.Module, Kwargs]


@runtime_checkable
class PolicyObject(Protocol):
    """A policy that names its units outright; torch's own policy objects are such, too."""

    def _run_policy(
        self, root_module: nn.Module, ignored_modules: set[nn.Module], root_kwargs: Kwargs
    ) -> dict[nn.Module, Kwargs]: ...


@dataclass
class _Recursion:
    """Ask a callable policy about every module, bottom up."""

    policy: Callable[..., bool]
    ignored_modules: set[nn.Module]
    ignored_params: set[nn.Parameter]
    chosen: dict[nn.Module, None] = field(default_factory=dict)

    def visit(self, module: nn.Module, *, is_root: bool = False) -> int:
        """Choose the units in and below `module`; the number of elements that they take."""
        total = sum(p.numel() for p in module.parameters() if p not in self.ignored_params)
        if isinstance(module, FSDPModule):
            return total
        if not self.policy(module=module, recurse=True, nonwrapped_numel=total):
            return 0
        children = (child for child in module.children() if child not in self.ignored_modules)
        taken = sum([self.visit(child) for child in children])
        if is_root or not self.policy(module=module, recurse=False, nonwrapped_numel=total - taken):
            return taken
        self.chosen.setdefault(module)
        return total


def plan_units(
    root: nn.Module,
    policy: PolicyObject | Callable[..., bool],
    ignored_modules: set[nn.Module],
    ignored_params: set[nn.Parameter],
    root_kwargs: Kwargs,
    full_precision: Sequence[type[nn.Module]] = (),
) -> list[PlannedUnit]:
    """The units below `root` with the arguments of each, children before parents.

    Args:
        full_precision: classes whose instances become units without mixed precision, whatever the
            policy says (FSDP1's `_module_classes_to_ignore`; empty without mixed precision).
    """
    exempt = tuple(set(full_precision))
    if isinstance(policy, PolicyObject):
        targets = dict(policy._run_policy(root, ignored_modules, dict(root_kwargs)))
        for module in root.modules():
            if isinstance(module, exempt) and module not in ignored_modules:
                kwargs = targets.get(module, root_kwargs)
                targets[module] = {**kwargs, "mixed_precision": None}
        return [(m, targets[m]) for m in post_order(root) if m in targets and m is not root]
    ask: Callable[..., bool] = policy
    if exempt:
        ask = partial(or_policy, policies=[ask, partial(_is_instance, classes=exempt)])
    recursion = _Recursion(ask, ignored_modules, ignored_params)
    recursion.visit(root, is_root=True)
    plain, exempted = dict(root_kwargs), {**root_kwargs, "mixed_precision": None}
    return [(m, dict(exempted if isinstance(m, exempt) else plain)) for m in recursion.chosen]


def post_order(root: nn.Module) -> list[nn.Module]:
    """Every module once, children before parents, in registration order."""
    seen = {root}
    order: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        for child in module.children():
            if child not in seen:
                seen.add(child)
                visit(child)
        order.append(module)

    visit(root)
    return order


def _is_instance(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, classes: tuple[type[nn.Module], ...]
) -> bool:
    return recurse or isinstance(module, classes)
