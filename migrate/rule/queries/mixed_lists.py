"""Lists in which sharded parameters stand beside plain ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set

from fsdp_migrate.analysis.library.modules import is_torch_module
from fsdp_migrate.analysis.values import (
    Atom,
    Container,
    Instance,
    Params,
    Result,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameter_lists import (
    elements,
    groups_in,
    is_of_loop,
    loops_of,
    receivers,
)
from fsdp_migrate.syntax.module import Module

# Layers with weights; the others of torch.nn have none, or other modules.
HAS_PARAMETERS = frozenset(
    f"torch.nn.{name}"
    for name in (
        "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "Conv1d", "Conv2d", "Conv3d",
        "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Embedding", "EmbeddingBag",
        "GRU", "GRUCell", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
        "LSTM", "LSTMCell", "LayerNorm", "LazyConv2d", "LazyLinear", "Linear",
        "MultiheadAttention", "PReLU", "Parameter", "RMSNorm", "RNN", "RNNCell",
        "SyncBatchNorm", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
        "TransformerEncoder", "TransformerEncoderLayer",
    )
)  # fmt: skip
LISTS = frozenset({"torch.nn.ModuleDict", "torch.nn.ModuleList"})
# What takes lists of tensors all at once, on a GPU.
FOREACH = frozenset(
    f"torch.optim.{name}"
    for name in (
        "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
        "SGD",
    )
)  # fmt: skip
CLIPS = frozenset(
    f"torch.nn.utils.{name}"
    for name in (
        "clip_grad.clip_grad_norm_", "clip_grad_norm_", "clip_grads_with_norm_", "get_total_norm",
    )
)  # fmt: skip
SCALERS = frozenset({"torch.GradScaler", "torch.amp.GradScaler", "torch.cuda.amp.GradScaler"})
MAKES_ONE = frozenset({"torch.nn.Parameter", "torch.nn.parameter.Parameter"})


def parameters_given(call: ast.Call) -> ast.expr | None:
    """The parameters that an optimizer is made with."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "params"]
    return next(iter([*call.args[:1], *named]), None)


def is_mixed(
    facts: Facts,
    module: Module,
    given: ast.expr,
    known: Set[Wrapped] = frozenset(),
    *,
    together: bool = False,
) -> bool:
    """Whether `given` can hold sharded parameters, of the models in `known` say, and plain ones.

    Those that FSDP was told to ignore are plain, and those of modules that nothing shards.  An
    optimizer takes each of its groups by itself, a scaler all of them `together`.
    """
    groups = [given] if together else groups_in(module, given)
    return any(
        _is_mixed(facts, module, group, known if len(groups) == 1 else frozenset())
        for group in groups
    )


def models_in(facts: Facts, module: Module, given: ast.expr) -> frozenset[Wrapped]:
    """The models that `given` holds sharded parameters of, parts of other modules included."""
    found = set(facts.sharded.models(module, given, lists=True))
    for receiver in receivers(module, given):
        for atom in facts.value(receiver):
            found |= models_inside(facts, atom)
    return frozenset(found)


def models_inside(facts: Facts, atom: Atom) -> frozenset[Wrapped]:
    """The models that `atom` is or holds, as a module of the project's own or a list of modules."""
    return frozenset(part for part in _parts(facts, atom) if isinstance(part, Wrapped))


def _is_mixed(facts: Facts, module: Module, given: ast.expr, known: Set[Wrapped]) -> bool:
    models = models_in(facts, module, given) | known
    if not models:
        return False
    plans = [facts.plan(model) for model in models]
    if any(plan is not None and plan.has_ignored for plan in plans):
        return True
    asked = list(receivers(module, given))
    if len(asked) > 1 and any(_may_be_another(facts, module, each) for each in asked):
        return True
    return any(_adds_plain(facts, module, each) for each in asked) or any(
        _is_alone(facts, module, element) for element in elements(module, given)
    )


def _may_be_another(facts: Facts, module: Module, receiver: ast.expr) -> bool:
    """Whether a module is of the class of one that is sharded, and nothing leads from it there."""
    value = facts.value(receiver)
    if not value or not all(isinstance(a, Instance) and facts.analysis.is_module(a) for a in value):
        return False
    return bool(value & _inner(facts)) and not facts.parts.around(module, receiver)


def _parts(facts: Facts, atom: Atom) -> dict[Atom, None]:
    """A module of the project's own and all modules in it, as far as nothing shards them."""
    inner = _inner(facts)
    found: dict[Atom, None] = {}
    todo = [atom]
    while todo:
        part = todo.pop()
        if part not in found and part not in inner:
            found[part] = None
            if (
                isinstance(part, Container)
                or facts.analysis.is_module(part)
                or (isinstance(part, Result) and is_torch_module(part.symbol))
            ):
                held = facts.analysis.parts(part)
                sharded = [each for each in held if isinstance(each, Wrapped)]
                todo += sharded if sharded and _is_list(part) else held
    return found


def _is_list(atom: Atom) -> bool:
    """Whether `atom` is one of PyTorch's lists of modules, whose items a loop may have sharded."""
    return isinstance(atom, Container) or (isinstance(atom, Result) and atom.symbol in LISTS)


def _inner(facts: Facts) -> Value:
    """The modules that are sharded, as they were before."""
    return frozenset(
        atom
        for fact in facts.analysis.wraps.values()
        for atom in fact.inner
        if not isinstance(atom, Wrapped) and not _is_list(atom)
    )


def has_both(facts: Facts, receiver: ast.expr) -> bool:
    """Whether `receiver` is a module with sharded parts, and parts that are not."""
    parts = _unsharded_with_parts(facts, facts.value(receiver))
    return any(isinstance(part, Wrapped) for part in parts) and any(
        isinstance(part, Result) and part.symbol in HAS_PARAMETERS for part in parts
    )


def _unsharded_with_parts(facts: Facts, value: Value) -> list[Atom]:
    """A module that is sharded in parts at most, and all that is in it."""
    if any(isinstance(atom, Wrapped) for atom in value) or value & _inner(facts):
        return []
    return [part for atom in value for part in _parts(facts, atom)]


def _adds_plain(facts: Facts, module: Module, receiver: ast.expr) -> bool:
    """Whether plain parameters come from `receiver`, which something else may shard in parts."""
    value = facts.value(receiver)
    one_of_many = isinstance(receiver, ast.Name) and is_of_loop(module, receiver)
    sharded = facts.parts.owners if one_of_many else facts.parts.around
    if sharded(module, receiver):  # named before the wrap, and below it now
        return False
    if any(isinstance(part, Wrapped) for part in _unsharded_with_parts(facts, value)):
        return has_both(facts, receiver)
    if one_of_many:
        return any(
            not isinstance(atom, Wrapped) and _all_plain(facts, receiver, frozenset({atom}))
            for atom in value
        )
    return _all_plain(facts, receiver, value)


def _is_alone(facts: Facts, module: Module, element: ast.expr) -> bool:
    """Whether an element of a list may be a parameter that is no part of a sharded model."""
    if not isinstance(element, ast.Name | ast.Attribute | ast.Call):
        return False
    value = facts.value(element)
    if facts.sharded.models(module, element, lists=True) or _is_part(facts, element):
        return False
    if _is_taken_early(facts, module, element) or facts.sharded.in_the_end(element):
        return False
    return not value or any(
        isinstance(a, Unknown | Params) or (isinstance(a, Result) and a.symbol in MAKES_ONE)
        for a in value
    )


def _is_taken_early(facts: Facts, module: Module, element: ast.expr) -> bool:
    """Whether a loop above the wrap takes an element from a model, and from nothing else.

    What keeps the parameters goes below the wrap, or is handed the new ones: they are sharded when
    the optimizer is made.
    """
    if not isinstance(element, ast.Name):
        return False
    if not all(isinstance(atom, Params | Unknown) for atom in facts.value(element)):
        return False
    loops = loops_of(module, element)
    taken = [each for loop in loops for each in receivers(module, loop)]
    alone = any(True for loop in loops for _ in elements(module, loop))
    return bool(taken) and not alone and all(facts.parts.around(module, each) for each in taken)


def _all_plain(facts: Facts, receiver: ast.expr, value: Value) -> bool:
    """Whether `receiver`, if it is one of `value`, is a module that nothing shards."""
    if not value or any(isinstance(a, Wrapped) for a in value) or value & _inner(facts):
        return False
    return not _is_part(facts, receiver) and all(
        isinstance(a, Result | Unknown) or facts.analysis.is_module(a) for a in value
    )


def _is_part(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` is `model.part` of something that is sharded."""
    while isinstance(node, ast.Attribute):
        node = node.value
        value = facts.value(node)
        if any(isinstance(a, Wrapped) for a in value):
            return True
        if any(value & fact.inner for fact in facts.analysis.wraps.values()):
            return True
    return False


def made_with(facts: Facts, made: ast.expr) -> Iterator[tuple[Module, ast.Call]]:
    """The calls of a library that `made` can come from, and their files."""
    modules = facts.analysis.project.modules
    for atom in facts.value(made):
        if isinstance(atom, Result):
            call = facts.analysis.call_nodes.get(atom.site)
            if call is not None:
                yield modules[atom.site.module], call


def unscaled_together(facts: Facts, scaler: ast.Call) -> frozenset[Wrapped]:
    """The models whose parameters the scaler unscales together with plain ones."""
    found: set[Wrapped] = set()
    site = next((s for s, c in facts.analysis.call_nodes.items() if c is scaler), None)
    for call in facts.analysis.call_nodes.values():
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in {"step", "unscale_"}:
            continue
        made = any(isinstance(a, Result) and a.site == site for a in facts.value(func.value))
        for home, optimizer in made_with(facts, call.args[0]) if made and call.args else ():
            given = parameters_given(optimizer)
            if given is not None and is_mixed(facts, home, given, together=True):
                found |= models_in(facts, home, given)
    return frozenset(found)
