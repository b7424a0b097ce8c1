"""Functions that clip what `torch.nn.utils.clip_grad_norm_` refuses, for a file to define."""

from __future__ import annotations

from fsdp_migrate.findings.code import Code, Literal, Name, Part, Variable, code, local_variable
from fsdp_migrate.rule.queries.spelling import names_beside, spelled
from fsdp_migrate.syntax.module import Module

DTENSOR = Name("torch.distributed.tensor", "DTensor")


def by_largest(module: Module) -> tuple[Code, Variable]:
    """Clip by the maximum norm: `f(parameters, max_norm)`."""
    function = local_variable("clip_grad_max_", beside=names_beside(module))
    definition = code(
        '''\
def {function}(parameters, max_norm):
    """Clip by the largest gradient; torch.nn.utils can't where a rank's shard is empty."""
    parameters = [p for p in parameters if p.grad is not None]
    shards = [p.grad.to_local() for p in parameters]
    largest = [shard.abs().max() for shard in shards if shard.numel()]
    total_norm = {stack}(largest).max() if largest else {zeros}((), device={device})
    {all_reduce}(total_norm, op={maximum})
    {clip}(parameters, max_norm, total_norm)
    return total_norm''',
        function=function,
        **_names(module),
    )
    return definition, function


def by_any(module: Module) -> tuple[Code, Variable]:
    """Clip by any norm: `f(parameters, max_norm, norm_type=2.0)`."""
    function = local_variable("clip_by_norm_", beside=names_beside(module))
    definition = code(
        '''\
def {function}(parameters, max_norm, norm_type=2.0):
    """torch.nn.utils' function, which can't take the maximum norm where a rank's shard is empty."""
    parameters = [p for p in parameters if p.grad is not None]
    if float(norm_type) != {inf}:
        return {clip_by}(parameters, max_norm, norm_type).full_tensor()
    shards = [p.grad.to_local() for p in parameters]
    largest = [shard.abs().max() for shard in shards if shard.numel()]
    total_norm = {stack}(largest).max() if largest else {zeros}((), device={device})
    {all_reduce}(total_norm, op={maximum})
    {clip}(parameters, max_norm, total_norm)
    return total_norm''',
        function=function,
        inf=spelled(module, "math.inf"),
        clip_by=spelled(module, "torch.nn.utils.clip_grad_norm_"),
        **_names(module),
    )
    return definition, function


def by_both(module: Module) -> tuple[Code, Variable]:
    """Clip sharded and plain parameters: `f(parameters, max_norm, norm_type=2.0)`."""
    function = local_variable("clip_all_", beside=names_beside(module))
    names = _names(module)
    definition = code(
        '''\
def {function}(parameters, max_norm, norm_type=2.0):
    """Clip by the norm of sharded and plain gradients together."""
    parameters = [p for p in parameters if p.grad is not None]
    plain = [p for p in parameters if not isinstance(p, {dtensor})]
    sharded = [p for p in parameters if isinstance(p, {dtensor})]
    norms = [{total}([p.grad for p in plain], norm_type)] if plain else []
    if sharded:
        norms.append({total}([p.grad for p in sharded], norm_type).full_tensor())
    total_norm = {norm}({stack}(norms), norm_type)
    for group in filter(None, (plain, sharded)):
        {clip}(group, max_norm, total_norm)
    return total_norm''',
        function=function,
        dtensor=DTENSOR,
        total=spelled(module, "torch.nn.utils.get_total_norm"),
        norm=spelled(module, "torch.linalg.vector_norm"),
        stack=names["stack"],
        clip=names["clip"],
    )
    return definition, function


def plain_norm(module: Module) -> tuple[Code, Variable]:
    """The norm of parameters that may be sharded, as a plain tensor: `f(norm)`."""
    function = local_variable("plain_norm", beside=names_beside(module))
    definition = code(
        '''\
def {function}(norm):
    """The whole norm, of sharded parameters too."""
    return norm.full_tensor() if isinstance(norm, {dtensor}) else norm''',
        function=function,
        dtensor=DTENSOR,
    )
    return definition, function


def _names(module: Module) -> dict[str, Part]:
    return {
        "stack": spelled(module, "torch.stack"),
        "zeros": spelled(module, "torch.zeros"),
        "device": Literal("cuda"),
        "all_reduce": spelled(module, "torch.distributed.all_reduce"),
        "maximum": spelled(module, "torch.distributed.ReduceOp.MAX"),
        "clip": spelled(module, "torch.nn.utils.clip_grads_with_norm_"),
    }
