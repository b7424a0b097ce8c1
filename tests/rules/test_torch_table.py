"""The tool's tables against the installed torch: nothing of FSDP1 forgotten, nothing invented."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.distributed import fsdp  # noqa: E402
from torch.distributed.checkpoint import state_dict  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh  # noqa: E402
from torch.distributed.fsdp import FullyShardedDataParallel, wrap  # noqa: E402

from fsdp_migrate import runtime  # noqa: E402
from fsdp_migrate.analysis.library import fsdp1 as library  # noqa: E402
from fsdp_migrate.analysis.values import Symbol  # noqa: E402
from fsdp_migrate.cli.explain import coverage  # noqa: E402
from fsdp_migrate.findings.finding import Safety, Tier  # noqa: E402
from fsdp_migrate.lowering import sharding_function, state_dict_settings  # noqa: E402
from fsdp_migrate.lowering.arguments import LOWERINGS, nothing, precision_fields  # noqa: E402
from fsdp_migrate.rewriting import import_plan as rewrite  # noqa: E402
from fsdp_migrate.rule.registry import load_rules  # noqa: E402
from fsdp_migrate.rules import constructor  # noqa: E402
from fsdp_migrate.syntax import fsdp1_members as members  # noqa: E402
from fsdp_migrate.syntax import fsdp1_names as names  # noqa: E402
from support import contract  # noqa: E402
from support.cases import all_cases  # noqa: E402
from support.programs import migrate  # noqa: E402

ROOT = names.ROOT
REGISTRY = load_rules()
RULES = Path(inspect.getfile(constructor)).parent


def parameters(function: Any) -> list[str]:
    """The names of a function's parameters, `self` left out."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


# ---------------------------------------------------------------------- the constructor
def test_the_constructor_has_these_parameters() -> None:
    found = parameters(FullyShardedDataParallel.__init__)
    assert set(found) == set(LOWERINGS) == set(constructor.PARAMETERS)
    assert tuple(found) == library.WRAP_PARAMETERS


# Why a parameter has no counterpart in a call of fully_shard.
DROPPED = {
    "backward_prefetch": "FSDP2's order is BACKWARD_PRE's; on gloo BACKWARD_POST's was the same",
    "forward_prefetch": "performance only; values are the same",
    "limit_all_gathers": "FSDP2 needs no rate limit",
    "use_orig_params": "FSDP2's parameters are the original ones",
}
CARRIED = {
    "module": "the model that is sharded",
    "auto_wrap_policy": "a fully_shard call for each unit",
    "cpu_offload": "offload_policy",
    "device_id": "the current device, made so if nothing else does",
    "device_mesh": "mesh",
    "process_group": "mesh",
    "sharding_strategy": "reshard_after_forward, mesh",
    "mixed_precision": "mp_policy, and the dtype of buffers",
    "ignored_modules": "ignored_params",
    "ignored_states": "ignored_params",
    "param_init_fn": "modules are materialised before they are sharded",
    "sync_module_states": "set_model_state_dict with broadcast_from_rank0",
}


def test_every_parameter_is_carried_over_or_dropped_for_a_reason() -> None:
    assert set(DROPPED) | set(CARRIED) == set(LOWERINGS)
    assert not set(DROPPED) & set(CARRIED)
    assert set(DROPPED) == {n for n, lower in LOWERINGS.items() if lower is nothing} - {"module"}


@pytest.mark.parametrize("name", sorted(set(LOWERINGS) - {"module"}))
def test_every_parameter_is_understood(name: str) -> None:
    """An argument that can be anything is carried over, dropped or reported, never lost."""
    run = migrate(
        "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
        f"def prepare(model, value):\n    model = FSDP(model, {name}=value)\n    return model\n"
    )
    contract.check(run)
    carried = "value" in run.after["train.py"].partition("    ")[2]
    assert carried or name in DROPPED or run.of("train.py")
    assert run.findings


# ---------------------------------------------------------------------- configuration types
def test_fields_of_mixed_precision() -> None:
    assert tuple(parameters(fsdp.MixedPrecision)) == precision_fields.FIELDS


def test_fields_of_cpu_offload() -> None:
    assert parameters(fsdp.CPUOffload) == ["offload_params"]


STRATEGIES = {
    "FULL_SHARD": "no reshard_after_forward",
    "SHARD_GRAD_OP": "reshard_after_forward=False",
    "NO_SHARD": "a mesh of (world, 1)",
    "HYBRID_SHARD": "a mesh of two dimensions",
    "_HYBRID_SHARD_ZERO2": "a mesh of two dimensions, reshard_after_forward=False",
}
STATE_DICT_TYPES = {
    "FULL_STATE_DICT": "StateDictOptions(full_state_dict=True)",
    "SHARDED_STATE_DICT": "StateDictOptions()",
    "LOCAL_STATE_DICT": "reported: there are no flat parameters",
}


def test_members_of_enums() -> None:
    assert set(STRATEGIES) == set(fsdp.ShardingStrategy.__members__)
    assert set(STATE_DICT_TYPES) == set(fsdp.StateDictType.__members__)
    assert set(fsdp.BackwardPrefetch.__members__) == {"BACKWARD_PRE", "BACKWARD_POST"}
    assert set(fsdp.OptimStateKeyType.__members__) == {"PARAM_NAME", "PARAM_ID"}
    assert set(STRATEGIES) >= sharding_function.HYBRID | sharding_function.KEEP_UNSHARDED
    assert {names.short(kind) for kind in state_dict_settings.KINDS} == set(STATE_DICT_TYPES)


@pytest.mark.parametrize("member", STRATEGIES)
def test_every_strategy_is_migrated(member: str) -> None:
    run = migrate(
        "import torch\nimport torch.distributed as dist\n"
        "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy\n\n"
        f"model = FSDP(torch.nn.Linear(2, 2), sharding_strategy=ShardingStrategy.{member})\n"
        "dist.barrier()\n"
    )
    contract.check(run)
    text = run.after["train.py"]
    assert ("init_device_mesh(" in text) == ("mesh" in STRATEGIES[member])
    assert ("reshard_after_forward=False" in text) == (
        "reshard_after_forward=False" in STRATEGIES[member]
    )


# ---------------------------------------------------------------------- every public name
NOT_OWNED_METHODS = {
    # what an nn.Module has too, and FSDP1 only overrides
    "apply": "runs on the shards; a finding where it matters",
    "forward": "a finding where it is called by name",
    "named_buffers": "FSDP2's names are the clean ones that FSDP1 gave",
    "named_parameters": "FSDP2's names are the clean ones that FSDP1 gave",
}
NOT_OWNED_NAMES = {
    "api": "a module: what is imported from it is known by its own name",
    "fully_sharded_data_parallel": "a module: what is imported from it is known by its own name",
    "wrap": "a module: what is imported from it is known by its own name",
}


def methods() -> list[str]:
    """The public attributes that FullyShardedDataParallel has and other modules have not."""
    own = {*vars(FullyShardedDataParallel), *dir(FullyShardedDataParallel)}
    base = set(dir(torch.nn.Module))
    overridden = {n for n in vars(FullyShardedDataParallel) if n in base}
    return sorted(n for n in (own - base) | overridden if not n.startswith("_"))


@pytest.mark.parametrize("name", methods())
def test_every_method_has_a_rule(name: str) -> None:
    static = isinstance(inspect.getattr_static(FullyShardedDataParallel, name), staticmethod)
    exact = any(f"{names.FSDP1}.{name}" in rule.symbols for rule in REGISTRY)
    if name in NOT_OWNED_METHODS:
        return
    assert exact or name in REGISTRY.by_method
    if static:
        assert exact, f"FSDP.{name}(model) is how it is called"


def test_no_method_is_owned_that_torch_has_not() -> None:
    module = torch.nn.Linear(1, 1)
    public = {n for n in REGISTRY.by_method if not n.startswith("_")}
    known = {*dir(FullyShardedDataParallel), *dir(module), *NOT_OWNED_METHODS, *members.ATTRIBUTES}
    assert not public - known


def public_names() -> Iterator[str]:
    """The FSDP1 names of the public modules, as the tool spells them."""
    for name in dir(fsdp):
        loaded = inspect.ismodule(getattr(fsdp, name)) and name not in NOT_OWNED_NAMES
        if not name.startswith("_") and name not in names.FSDP2 and not loaded:
            yield f"{ROOT}.{name}"
    from torch.distributed.fsdp import api, fully_sharded_data_parallel

    for module in (api, fully_sharded_data_parallel):
        yield from (names.canonical(f"{module.__name__}.{name}") for name in module.__all__)
    for name, value in vars(wrap).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == wrap.__name__:
            yield f"{ROOT}.wrap.{name}"
    yield names.SHARDED_GRAD_SCALER


@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_every_public_name_has_a_rule(name: str) -> None:
    if name.removeprefix(f"{ROOT}.") in NOT_OWNED_NAMES:
        assert inspect.ismodule(getattr(fsdp, names.short(name)))
        return
    assert REGISTRY.owners(name), f"no rule owns {name}"


def surfaces() -> Iterator[str]:
    """The public API of FSDP1, as the coverage table spells it."""
    yield from (f"FullyShardedDataParallel.{name}" for name in methods())
    yield from ("FullyShardedDataParallel.state_dict", "FullyShardedDataParallel.load_state_dict")
    for name in set(public_names()):
        if name.removeprefix(f"{ROOT}.") not in NOT_OWNED_NAMES:
            yield name.removeprefix(f"{ROOT}.")
    for function, known in (
        ("FullyShardedDataParallel", parameters(FullyShardedDataParallel.__init__)),
        ("MixedPrecision", parameters(fsdp.MixedPrecision)),
        ("CPUOffload", parameters(fsdp.CPUOffload)),
    ):
        yield from (f"{function}({name}=)" for name in known)
    for enum in ("ShardingStrategy", "BackwardPrefetch", "StateDictType", "OptimStateKeyType"):
        yield from (f"{enum}.{member}" for member in getattr(fsdp, enum, api_of(enum)).__members__)


def api_of(name: str) -> Any:
    """A name that `torch.distributed.fsdp` keeps to its submodule."""
    from torch.distributed.fsdp import fully_sharded_data_parallel as home

    return getattr(home, name)


def test_the_coverage_table_has_every_public_name_once() -> None:
    listed = [surface.name for _, surface in coverage(REGISTRY)]
    assert sorted(listed) == sorted(set(surfaces()))


def test_the_coverage_table_names_the_rule_that_owns_the_name() -> None:
    for code, surface in coverage(REGISTRY):
        name = surface.name.partition("(")[0]
        method = name.removeprefix("FullyShardedDataParallel.")
        owners = {rule.code for rule in REGISTRY.owners(f"{ROOT}.{name}")}
        if method != name and method in REGISTRY.by_method:
            owners.add(REGISTRY.by_method[method].code)
        assert code in owners or method in NOT_OWNED_METHODS, surface.name


# What rules say of things that are not in the table, for they are no public names of FSDP1.
BEYOND = {
    "FSDP406": (Tier.NATIVE, Safety.SAFE),  # private names
    "FSDP407": (Tier.NATIVE, Safety.UNSAFE),  # the user's own methods of a model
}


def test_the_coverage_table_says_what_the_cases_show() -> None:
    """A rule with surfaces comes out in the tiers, and as safe, as they say, and in all of them."""
    seen: dict[str, set[Any]] = {rule.code: set() for rule in REGISTRY}
    for run in [case.run() for case in all_cases()]:
        for item in run.findings:
            if "held back by" not in item.message and "left: " not in item.message:
                seen.setdefault(item.code, set()).add((item.tier, item.safety))
    for rule in REGISTRY:
        stated = {(tier, s.safety) for s in rule.surfaces for tier in s.tiers}
        if stated:
            notes = {pair for pair in seen[rule.code] if pair[0] is Tier.NOTE}
            # A fix that is safe in general may lack a fact at one place, and says so.
            unsure = {(tier, Safety.UNSAFE) for tier, _ in stated} - stated
            found = seen[rule.code] - notes - unsure - {BEYOND.get(rule.code)}
            assert found == stated, rule.code


def test_what_is_listed_as_not_owned_is_there() -> None:
    assert set(NOT_OWNED_NAMES) <= set(dir(fsdp))
    assert set(NOT_OWNED_METHODS) <= set(dir(FullyShardedDataParallel))


def test_names_that_are_told_apart() -> None:
    assert names.FSDP2 - {"_fully_shard"} == contract.FSDP2
    assert {n for n in names.FSDP2 if not n.startswith("_")} <= set(dir(fsdp))
    configs = set(names.CONFIGS)
    assert configs == {
        names.short(n)
        for n in public_names()
        if n.startswith(ROOT)
        and inspect.isclass(getattr(fsdp, names.short(n), None))
        and names.short(n) not in {"FullyShardedDataParallel", "FlatParameter"}
    }
    assert set(wrap.__dict__) >= names.POLICIES
    star = {n for n in getattr(fsdp, "__all__", dir(fsdp)) if not n.startswith("_")}
    assert star - {"api", "fully_sharded_data_parallel", "wrap"} <= names.STARS[names.ROOT]


@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_every_symbol_that_is_left_is_spoken_of(name: str) -> None:
    """A bare mention of any FSDP1 name ends in a fix or a finding."""
    if name.removeprefix(f"{ROOT}.") in NOT_OWNED_NAMES:
        return
    home, _, word = name.rpartition(".")
    run = migrate(f"from {home} import {word}\n\nthing = {word}\nprint(thing)\n")
    contract.check(run)
    assert run.findings


# ---------------------------------------------------------------------- what is emitted
# Calls that no FSDP takes: they come out as broken as they went in, with a finding.
CANNOT_RUN = {"constructor/an-argument-that-fsdp1-does-not-have"}


def outputs() -> list[str]:
    """What comes out of the cases, and of the examples of the rules."""
    runnable = [case for case in all_cases() if case.name not in CANNOT_RUN]
    after = [text for case in runnable for text in case.after.values()]
    return after + [e.after for rule in REGISTRY for e in rule.examples if e.after and e.is_python]


EMITTED = {
    "fully_shard": fsdp.fully_shard,
    "MixedPrecisionPolicy": fsdp.MixedPrecisionPolicy,
    "CPUOffloadPolicy": fsdp.CPUOffloadPolicy,
    "StateDictOptions": state_dict.StateDictOptions,
    "get_model_state_dict": state_dict.get_model_state_dict,
    "set_model_state_dict": state_dict.set_model_state_dict,
    "get_optimizer_state_dict": state_dict.get_optimizer_state_dict,
    "set_optimizer_state_dict": state_dict.set_optimizer_state_dict,
    "init_device_mesh": init_device_mesh,
    "from_group": DeviceMesh.from_group,
    "GradScaler": torch.amp.GradScaler,
    **{name: getattr(runtime, name) for name in runtime.__all__},
}


def _called(node: ast.AST) -> str:
    """The function that a call names; methods count only where they are torch's own."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr if node.func.attr in {"from_group", "GradScaler"} else ""
    return ""


def test_emitted_keywords_exist() -> None:
    """Every argument that the rules write is one that the function takes."""
    seen: set[str] = set()
    for text in outputs():
        for node in ast.walk(ast.parse(text)):
            name = _called(node)
            function = EMITTED.get(name)
            if function is None or (inspect.isclass(function) and hasattr(function, "__members__")):
                continue
            assert isinstance(node, ast.Call)
            if not node.args and not node.keywords:
                continue  # a variable of that name, which has its arguments already
            signature = inspect.signature(function)
            starred = any(isinstance(a, ast.Starred) for a in node.args)
            if not starred and not any(k.arg is None for k in node.keywords):
                signature.bind(*node.args, **{k.arg or "": k.value for k in node.keywords})
            seen.add(name)
    assert {"fully_shard", "MixedPrecisionPolicy", "StateDictOptions", "init_device_mesh"} <= seen


def test_emitted_methods_of_the_model_exist() -> None:
    """Every `model.set_...` that the rules write is a method of FSDP2's."""
    seen = {
        node.func.attr
        for text in outputs()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith(
            ("set_re", "set_modules", "set_gradient", "unshard", "reshard")
        )
    }
    assert "set_requires_gradient_sync" in seen
    assert not [name for name in seen if not hasattr(fsdp.FSDPModule, name)]


def test_every_import_of_torch_that_cases_show_exists() -> None:
    """What the golden outputs import can be imported."""
    imports = {
        (node.module, alias.name)
        for text in outputs()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in {"torch", "fsdp_migrate"}
        for alias in node.names
    }
    assert len(imports) > 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, name in sorted(imports):
            home = __import__(module or "", fromlist=[name])
            assert name == "*" or hasattr(home, name), f"{module}.{name}"


# ---------------------------------------------------------------------- the shim
def test_the_shim_offers_what_is_taken_from_it() -> None:
    offered = set(runtime.__all__)
    assert offered >= rewrite.OFFERED
    assert set(rewrite.RENAMED.values()) <= offered


# What the shim has and no rule writes.
NOT_WRITTEN = {
    "broadcast_module_states": "for use by hand; the constructor does it by itself",
    "load_sharded_optimizer_state_dict": "for use by hand, in the place of DCP's of that name",
    "is_root": "for use by hand",
}


def test_every_name_of_the_shim_is_written_by_a_rule() -> None:
    emitted = "".join(
        path.read_text() for path in [*RULES.glob("*.py"), *RULES.parent.glob("*/*.py")]
    )
    unused = {name for name in runtime.__all__ if name not in emitted}
    assert unused <= set(NOT_WRITTEN)


@pytest.mark.parametrize("name", sorted(rewrite.OFFERED))
def test_the_shims_types_are_like_fsdp1s(name: str) -> None:
    theirs = getattr(fsdp, name, None) or getattr(wrap, name)
    ours = getattr(runtime, name)
    if hasattr(theirs, "__members__"):
        assert list(ours.__members__) == list(theirs.__members__)
    elif inspect.isclass(theirs) or inspect.isfunction(theirs):
        assert parameters(ours) == parameters(theirs)


def test_the_shims_constructor_takes_fsdp1s_arguments() -> None:
    ours = parameters(runtime.fully_shard_from_fsdp1)
    assert ours[: len(library.WRAP_PARAMETERS)] == list(library.WRAP_PARAMETERS)


@pytest.mark.parametrize(
    "name",
    sorted(
        n
        for n in runtime.__all__
        if isinstance(inspect.getattr_static(FullyShardedDataParallel, n, None), staticmethod)
    ),
)
def test_the_shims_functions_take_fsdp1s_arguments(name: str) -> None:
    theirs = parameters(getattr(FullyShardedDataParallel, name))
    ours = parameters(getattr(runtime, name))
    assert ours[: len(theirs)] == theirs


# ---------------------------------------------------------------------- canonical names
@pytest.mark.parametrize("name", sorted(set(public_names())))
def test_canonical_names_are_fixed_points(name: str) -> None:
    assert names.canonical(name) == name
    assert names.is_fsdp1(name)
    assert Symbol(name) == Symbol(names.canonical(name))
