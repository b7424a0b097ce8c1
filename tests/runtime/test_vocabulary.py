"""Every public name of the runtime has the shape of the FSDP1 name that it replaces."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch.distributed.fsdp as fsdp
import torch.distributed.fsdp.wrap as wrap
from torch.distributed.checkpoint.optimizer import load_sharded_optimizer_state_dict
from torch.distributed.fsdp.fully_sharded_data_parallel import OptimStateKeyType
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

import fsdp_migrate.runtime as runtime

FSDP = fsdp.FullyShardedDataParallel
ENUMS = {
    "ShardingStrategy": fsdp.ShardingStrategy,
    "BackwardPrefetch": fsdp.BackwardPrefetch,
    "StateDictType": fsdp.StateDictType,
    "OptimStateKeyType": OptimStateKeyType,
}
DATACLASSES = [
    "MixedPrecision",
    "CPUOffload",
    "StateDictConfig",
    "FullStateDictConfig",
    "LocalStateDictConfig",
    "ShardedStateDictConfig",
    "OptimStateDictConfig",
    "FullOptimStateDictConfig",
    "LocalOptimStateDictConfig",
    "ShardedOptimStateDictConfig",
    "StateDictSettings",
]
STATIC = [
    "summon_full_params",
    "state_dict_type",
    "set_state_dict_type",
    "get_state_dict_type",
    "fsdp_modules",
    "optim_state_dict",
    "optim_state_dict_to_load",
    "full_optim_state_dict",
    "sharded_optim_state_dict",
    "shard_full_optim_state_dict",
    "scatter_full_optim_state_dict",
    "flatten_sharded_optim_state_dict",
    "rekey_optim_state_dict",
]
FUNCTIONS = {
    "always_wrap_policy": wrap.always_wrap_policy,
    "lambda_auto_wrap_policy": wrap.lambda_auto_wrap_policy,
    "transformer_auto_wrap_policy": wrap.transformer_auto_wrap_policy,
    "size_based_auto_wrap_policy": wrap.size_based_auto_wrap_policy,
    "or_policy": wrap._or_policy,
    "module_wrap_policy": wrap._module_wrap_policy,
    "enable_wrap": wrap.enable_wrap,
    "wrap": wrap.wrap,
    "load_sharded_optimizer_state_dict": load_sharded_optimizer_state_dict,
    **{name: getattr(FSDP, name) for name in STATIC},
}
METHODS = {
    "fully_shard_from_fsdp1": FSDP.__init__,
    "no_sync": FSDP.no_sync,
    "clip_grad_norm_": FSDP.clip_grad_norm_,
    "is_root": FSDP.check_is_root,
}
OWN = {"broadcast_module_states", "copy_module", "load_model_state_dict", "load_optim_state_dict"}
OWN |= {"model_state_dict"}
RESIDUES = {
    "cast_buffers_from_fsdp1", "ignored_params_from_fsdp1",
    "mp_policy_from_fsdp1", "offload_policy_from_fsdp1", "sharding_kwargs", "sync_module_states",
    "units_from_policy",
}  # fmt: skip
OWN |= RESIDUES
CLASSES = {"ModuleWrapPolicy", "CustomPolicy"}
SCALER = "ShardedGradScaler"


def _shape(function: Any, skip_first: bool = False) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of the parameters; enum members by name."""
    parameters = list(inspect.signature(function).parameters.values())[skip_first:]
    return [(p.name, p.kind, _by_name(p.default)) for p in parameters]


def _by_name(value: Any) -> Any:
    return str(value) if isinstance(value, enum.Enum) else value


def test_nothing_is_unchecked() -> None:
    checked = {*ENUMS, *DATACLASSES, *FUNCTIONS, *METHODS, *CLASSES, *OWN, SCALER}
    assert checked == set(runtime.__all__)


@pytest.mark.parametrize("name", ENUMS)
def test_enums(name: str) -> None:
    ours = getattr(runtime, name)
    assert [(m.name, m.value) for m in ours] == [(m.name, m.value) for m in ENUMS[name]]


@pytest.mark.parametrize("name", DATACLASSES)
def test_dataclasses(name: str) -> None:
    ours, theirs = getattr(runtime, name), getattr(fsdp.api, name)

    def fields(of: Any) -> list[tuple[str, Any]]:
        return [(f.name, f.default) for f in dataclasses.fields(of)]

    assert fields(ours) == fields(theirs)
    assert [c.__name__ for c in ours.__mro__] == [c.__name__ for c in theirs.__mro__]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    assert _shape(getattr(runtime, name)) == _shape(FUNCTIONS[name])


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    """`self` is the model, by whatever name; more arguments may follow by keyword."""
    ours = _shape(getattr(runtime, name), skip_first=name != "fully_shard_from_fsdp1")
    theirs = _shape(METHODS[name], skip_first=True)
    assert ours[: len(theirs)] == theirs
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in ours[len(theirs) :])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes(name: str) -> None:
    assert _shape(getattr(runtime, name)) == _shape(getattr(wrap, name))
    ours, theirs = getattr(runtime, name)._run_policy, getattr(wrap, name)._run_policy
    assert _shape(ours) == _shape(theirs)


def test_scaler() -> None:
    assert _shape(getattr(runtime, SCALER)) == _shape(ShardedGradScaler)


def test_attributes_of_the_size_policy() -> None:
    ours, theirs = runtime.size_based_auto_wrap_policy, wrap.size_based_auto_wrap_policy
    assert ours.EXCLUDE_WRAP_MODULES == theirs.EXCLUDE_WRAP_MODULES
    assert ours.FORCE_LEAF_MODULES == theirs.FORCE_LEAF_MODULES


def test_docstrings() -> None:
    undocumented = [name for name in runtime.__all__ if not getattr(runtime, name).__doc__]
    assert not undocumented


def test_import_is_lean() -> None:
    """Training jobs load neither the command line nor the rewriting machinery, nor FSDP1 names."""
    program = (
        "import sys, fsdp_migrate.runtime as r;"
        "loaded = {n.split('.')[0] for n in sys.modules};"
        "assert not loaded & {'click', 'libcst', 'pathspec'}, loaded;"
        "own = [m for n, m in sys.modules.items() if n.startswith('fsdp_migrate.runtime')];"
        "old = {'FullyShardedDataParallel', 'FlatParameter'};"
        "assert not any(old & set(vars(m)) for m in own)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
