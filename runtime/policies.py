"""FSDP1's wrap policies: the same names and calling conventions, answering the same questions.

A policy is either an object with `_run_policy(root_module, ignored_modules, root_kwargs)`, which
names the units outright (`ModuleWrapPolicy`, `CustomPolicy`), or a callable
`(module, recurse, nonwrapped_numel) -> bool` that is asked twice per module: first whether to look
inside, later whether to make the module a unit. `grouping` turns either kind into units.

Source: torch/distributed/fsdp/wrap.py and https://docs.pytorch.org/docs/stable/fsdp.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

Kwargs = dict[str, Any]


class _Policy(ABC):
    """A policy that names its units in one go.

    The method has the name that torch gave it, so that subclasses of either base work with both.
    """

    @abstractmethod
    def _run_policy(
        self, root_module: nn.Module, ignored_modules: set[nn.Module], root_kwargs: Kwargs
    ) -> dict[nn.Module, Kwargs]:
        """The modules to shard, each with the keyword arguments to shard it with."""


class ModuleWrapPolicy(_Policy):
    """Every instance of the given classes becomes a unit, with the root's arguments."""

    def __init__(self, module_classes: Iterable[type[nn.Module]]) -> None:
        self._module_classes = set(module_classes)

    def _run_policy(
        self, root_module: nn.Module, ignored_modules: set[nn.Module], root_kwargs: Kwargs
    ) -> dict[nn.Module, Kwargs]:
        classes = tuple(self._module_classes)
        return {
            module: dict(root_kwargs)
            for module in root_module.modules()
            if isinstance(module, classes) and module not in ignored_modules
        }

    def __call__(self, module: nn.Module, recurse: bool, *args: Any, **kwargs: Any) -> bool:
        """The same policy in callable form, for `or_policy` and friends."""
        return recurse or isinstance(module, tuple(self._module_classes))

    def __repr__(self) -> str:
        return f"{super().__repr__()}({self._module_classes})"


class CustomPolicy(_Policy):
    """`lambda_fn(module)` decides: false, true, or a dict of arguments that override the root's.

    The dict uses FSDP1's argument names (`sharding_strategy`, `mixed_precision`, ...).
    """

    def __init__(self, lambda_fn: Callable[[nn.Module], bool | dict[str, Any]]) -> None:
        self._lambda_fn = lambda_fn

    def _run_policy(
        self, root_module: nn.Module, ignored_modules: set[nn.Module], root_kwargs: Kwargs
    ) -> dict[nn.Module, Kwargs]:
        """As in the base class.

        Raises:
            ValueError: the function answered with something other than a bool or a dict.
        """
        targets: dict[nn.Module, Kwargs] = {}
        for module in root_module.modules():
            if module in ignored_modules:
                continue
            answer = self._lambda_fn(module)
            if not isinstance(answer, (dict, bool)):
                raise ValueError(
                    "the function given to CustomPolicy should return a bool or a dict of "
                    f"arguments, but it returned {answer!r}"
                )
            if answer:
                targets[module] = {**root_kwargs, **(answer if isinstance(answer, dict) else {})}
        return targets


def always_wrap_policy(*args: Any, **kwargs: Any) -> bool:
    """Every module is a unit."""
    return True


def lambda_auto_wrap_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    lambda_fn: Callable[[nn.Module], bool],
) -> bool:
    """Modules for which `lambda_fn(module)` is true are units."""
    return recurse or lambda_fn(module)


def transformer_auto_wrap_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    transformer_layer_cls: set[type[nn.Module]],
) -> bool:
    """Instances of `transformer_layer_cls` are units."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


def module_wrap_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    module_classes: set[type[nn.Module]],
) -> bool:
    """Instances of `module_classes` are units."""
    return recurse or isinstance(module, tuple(module_classes))


def or_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    policies: Iterable[Callable[..., bool]],
) -> bool:
    """A unit (or worth looking into) if any of `policies` says so; they are asked in order."""
    return any(
        policy(module=module, recurse=recurse, nonwrapped_numel=nonwrapped_numel)
        for policy in policies
    )


def size_based_auto_wrap_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    min_num_params: int = int(1e8),
    force_leaf_modules: set[type[nn.Module]] | None = None,
    exclude_wrap_modules: set[type[nn.Module]] | None = None,
) -> bool:
    """A module becomes a unit once what its units below have left over is large enough.

    Sizes are numbers of elements. `force_leaf_modules` are never looked into,
    `exclude_wrap_modules` never become units; their defaults are the attributes
    `FORCE_LEAF_MODULES` and `EXCLUDE_WRAP_MODULES` of this function, which may be edited.
    """
    if nonwrapped_numel < min_num_params:
        return False
    if recurse:
        leaves = _attributes["FORCE_LEAF_MODULES"]
        return not isinstance(module, tuple(_or(force_leaf_modules, leaves)))
    excluded = _attributes["EXCLUDE_WRAP_MODULES"]
    return not isinstance(module, tuple(_or(exclude_wrap_modules, excluded)))


_attributes: dict[str, set[type[nn.Module]]] = vars(size_based_auto_wrap_policy)
_attributes["EXCLUDE_WRAP_MODULES"] = {nn.ModuleList, nn.ModuleDict}
_attributes["FORCE_LEAF_MODULES"] = {nn.MultiheadAttention}


def _or(given: set[type[nn.Module]] | None, default: set[type[nn.Module]]) -> set[type[nn.Module]]:
    return default if given is None else given
