"""`model.state_dict()` and `model.load_state_dict(...)` become DCP's state-dict functions.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

Under FSDP2 the plain methods give and take sharded tensors: what rank 0 saves is its shard only.
With `--state-dict dtensor` they stay, and the tensors are gathered and distributed around them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import is_symbol
from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.lowering.state_dict_modes import Setting
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, call_parts, finding, runtime
from fsdp_migrate.rules._dtensor_state import loaded, saved
from fsdp_migrate.syntax.span import Span

DSD = "torch.distributed.checkpoint.state_dict"
SHIMS = {"state_dict": "model_state_dict", "load_state_dict": "load_model_state_dict"}


def lowerable(use: Use, facts: Facts) -> bool:
    """Whether the call can be written with its options, were its context to go."""
    call = use.call
    if call is None or not use.certain:
        return False
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    if use.name == "state_dict" and any(plan is not None and plan.casts_buffers for plan in plans):
        return False
    setting = facts.contexts.setting(facts.solver.modes_at(call))
    if setting is None or any(k.arg is None for k in call.keywords):
        return False
    if use.name == "state_dict":
        return (
            not use.args
            and not use.keywords
            and not (setting.kind == "FULL" and setting.rank0 and not setting.offload)
        )
    names = {k.arg for k in call.keywords}
    if "strict" in names and not isinstance(use.module.parents[call], ast.Expr):
        return False  # DCP's function fills in absent keys, and doesn't report them
    return len(use.args) + ("state_dict" in names) == 1 and names <= {"state_dict", "strict"}


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call."""
    units = facts.units(use.wraps)
    call = use.call
    assert use.receiver is not None
    if call is None:
        yield finding(
            RULE,
            use,
            f"{use.name} is taken as a value; under FSDP2 it is about shards, "
            "use torch.distributed.checkpoint.state_dict",
            tier=Tier.MANUAL,
            units=units,
        )
        return
    ambient = facts.solver.modes_at(call)
    setting = facts.contexts.setting(ambient)
    if setting is None or not lowerable(use, facts) or not facts.contexts.is_native(ambient):
        yield _shim(use, call, units)
        return
    if facts.options.state_dict == "dtensor":
        written = (saved if use.name == "state_dict" else loaded)(use, call, setting)
        if written is not None:
            yield finding(
                RULE,
                use,
                f"model.{use.name} says how its tensors are sharded",
                tier=Tier.NATIVE,
                edits=written.edits,
                imports=written.imports,
                units=units,
            )
            return
    if use.name == "state_dict":
        edit, names = _get(use, call, setting)
    else:
        edit, names = _set(use, call, setting, facts)
    yield finding(
        RULE,
        use,
        f"model.{use.name} becomes {sorted(names)[-1]}",
        tier=Tier.NATIVE,
        edits=[edit],
        imports=[Import(DSD, name) for name in names],
        units=units,
    )


def _shim(use: Use, call: ast.Call, units: frozenset[str]) -> Finding:
    assert use.receiver is not None
    name = SHIMS[use.name]
    given, holes = call_parts(use.module, use, use.receiver)
    text = f"{name}({', '.join(filter(None, ['{0}', given]))})"
    return finding(
        RULE,
        use,
        f"model.{use.name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(call), text, holes)],
        imports=[runtime(name)],
        units=units,
    )


def _get(use: Use, call: ast.Call, setting: Setting) -> tuple[ReplaceExpression, set[str]]:
    assert use.receiver is not None
    names = {"get_model_state_dict"}
    flags = []
    if setting.kind == "FULL":
        flags.append("full_state_dict=True")
    if setting.offload and (setting.rank0 or setting.kind == "SHARDED"):
        flags.append("cpu_offload=True")
    text = "get_model_state_dict({0})"
    if flags:
        names.add("StateDictOptions")
        text = f"get_model_state_dict({{0}}, options=StateDictOptions({', '.join(flags)}))"
    if setting.kind == "FULL" and setting.offload and not setting.rank0:
        text = f"{{key: value.cpu() for key, value in {text}.items()}}"
    return _edit(use, call, text, (use.module.span(use.receiver),)), names


def _set(
    use: Use, call: ast.Call, setting: Setting, facts: Facts
) -> tuple[ReplaceExpression, set[str]]:
    assert use.receiver is not None
    given = {k.arg: k.value for k in call.keywords}
    state = use.args[0] if use.args else given["state_dict"]
    names = {"set_model_state_dict"}
    holes = [use.module.span(use.receiver), use.module.span(state)]
    flags = ["full_state_dict=True"] if setting.kind == "FULL" else []
    strict = given.get("strict")
    if strict is not None:
        flags.append("strict={2}")
        holes.append(use.module.span(strict))
    text = "{1}" if setting.kind == "SHARDED" or _is_fresh(use, state, facts) else "dict({1})"
    text = f"set_model_state_dict({{0}}, {text}"
    if flags:
        names.add("StateDictOptions")
        text += f", options=StateDictOptions({', '.join(flags)})"
    return _edit(use, call, text + ")", tuple(holes)), names


def _edit(use: Use, call: ast.Call, text: str, holes: tuple[Span, ...]) -> ReplaceExpression:
    return ReplaceExpression(use.module.span(call), text, holes)


def _is_fresh(use: Use, state: ast.expr, facts: Facts) -> bool:
    """Whether the state dict was just loaded and nothing else holds it.

    DCP's function puts DTensors into the dict that it is given, in the place of full tensors.
    """
    root = state
    while isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant):
        root = root.value
    if isinstance(root, ast.Name):
        found = definition(use.module, root)
        made: ast.expr | None = found.value if found is not None else None
    else:
        made = root
    loads = isinstance(made, ast.Call) and is_symbol(facts.value(made.func), "torch.load")
    return loads and not _read_later(use, state)


def _read_later(use: Use, state: ast.expr) -> bool:
    """Whether the same expression is read again below."""
    scope = use.module.function(state) or use.module.tree
    text = ast.dump(state)
    return any(
        isinstance(node, type(state))
        and ast.dump(node) == text
        and (node.lineno, node.col_offset) > (state.lineno, state.col_offset)
        for node in ast.walk(scope)
    )


RULE = Rule(
    code="FSDP302",
    name="model-state-dict",
    summary="`model.state_dict()` and `load_state_dict` become DCP's state-dict functions",
    why="The plain methods of an FSDP2 model handle shards, and say nothing about it.",
    fix_safety="Safe: the same keys in the same order, the same tensors on the same ranks.",
    check=check,
    lowerable=lowerable,
    methods=("state_dict", "load_state_dict"),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.state_dict",
            "`get_model_state_dict`",
            (Tier.NATIVE, Tier.SHIM),
        ),
        Surface(
            "FullyShardedDataParallel.load_state_dict",
            "`set_model_state_dict`",
            (Tier.NATIVE, Tier.SHIM),
        ),
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def resume(net, path):
    model = FSDP(net)
    model.load_state_dict(torch.load(path))
    return model
""",
            after="""\
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard

def resume(net, path):
    model = fully_shard(net)
    set_model_state_dict(
        model, torch.load(path), options=StateDictOptions(full_state_dict=True)
    )
    return model
""",
        ),
    ),
)
