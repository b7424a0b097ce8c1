"""`with torch.device("meta"):` blocks that make other models than the one that is asked about."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Cls, Instance
from fsdp_migrate.lowering.model_parts import ModelParts, parts_of_model
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


def makes_others(analysis: Analysis, module: Module, device: ast.AST, model: ModelParts) -> bool:
    """Whether all that is made under a device is seen, and is no part of a model that is known.

    `device` is the call that gives the device.
    """
    item = module.parents.get(device)
    block = module.parents.get(item) if isinstance(item, ast.withitem) else None
    if model.unfollowed or not isinstance(block, ast.With):
        return False
    calls = [n for line in block.body for n in nodes_in(line) if isinstance(n, ast.Call)]
    return bool(calls) and all(_is_other(analysis, call, model) for call in calls)


def _is_other(analysis: Analysis, call: ast.Call, model: ModelParts) -> bool:
    """Whether a call makes an object of the program, of which no part can be one of the model."""
    called, made = analysis.value(call.func), analysis.value(call)
    if not called or not all(isinstance(atom, Cls) for atom in called):
        return False
    if not made or not all(isinstance(atom, Instance) for atom in made):
        return False
    parts = parts_of_model(analysis, made)
    return not parts.unfollowed and parts.classes.isdisjoint(model.classes)
