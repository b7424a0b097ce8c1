"""Tensors that are computed from parameters, gradients and optimizer state, however far.

Every value of this kind carries the place where its computation begins, so that what is done with
it in the end can be traced back there, through functions, containers and attributes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from fsdp_migrate.analysis.library.containers import elements
from fsdp_migrate.analysis.library.modules import is_torch_module
from fsdp_migrate.analysis.machine import COMPUTED, Machine, Passed
from fsdp_migrate.analysis.values import (
    Atom,
    Container,
    Method,
    Params,
    Tensor,
    Value,
    Wrapped,
    ordered,
)
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.paths import path_of

# Attributes of a parameter that are tensors like it; "state" are tensors of the optimizer.
GRADIENTS = frozenset({"grad", "data", "main_grad", "state"})
SAME_TENSOR = frozenset({"T", "H", "data", "mT", "mH", "real", "grad"})
# Methods of a tensor that give numbers, shapes and the like.
NO_TENSOR = frozenset(
    {
        "backward", "data_ptr", "dim", "element_size", "get_device", "is_contiguous", "is_complex",
        "is_floating_point", "item", "ndimension", "nelement", "numel", "numpy", "register_hook",
        "register_post_accumulate_grad_hook", "size", "storage", "storage_offset", "stride",
        "tolist", "untyped_storage",
    }
)  # fmt: skip
# Methods that make this rank's part, or the whole, a plain tensor.
PLAIN = frozenset({"full_tensor", "to_local"})
# What a plain tensor has not.
OF_DTENSORS = frozenset({*PLAIN, "_local_tensor", "device_mesh", "placements"})
# Methods that give a parameter in another form, or the parameters of a list on.
STILL_PARAMETERS = frozenset(
    {
        "clone", "contiguous", "copy", "copy_", "cpu", "cuda", "detach", "detach_", "get", "items",
        "keys", "pop", "requires_grad_", "to", "values", "zero_",
    }
)  # fmt: skip
MAKING = frozenset({"clone", "contiguous", "cpu", "cuda", "detach", "to"})  # copies, or views
NORMS = frozenset({"norm", "vector_norm", "matrix_norm"})
REDUCING = NORMS | {
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean",
    "median", "min", "nansum", "numel", "prod", "std", "sum", "var",
}  # fmt: skip
DOTS = frozenset({"dot", "inner", "vdot"})
JOINING = frozenset({"cat", "concat", "concatenate", "hstack", "stack", "vstack"})
AXES = frozenset({"axis", "dim", "keepdim"})
BUILTINS = frozenset(f"builtins.{name}" for name in ("abs", "max", "min", "pow", "sum"))
# Packages of functions whose results are tensors where their arguments are.
PACKAGES = ("torch.", "torch.linalg.", "torch.special.", "torch.fft.", "torch.nn.functional.")
FOREACH = "torch._foreach_"  # operations on all tensors of a list
TOTAL_NORM = frozenset({"torch.nn.utils.clip_grad.get_total_norm", "torch.nn.utils.get_total_norm"})
NO_TENSOR_FUNCTIONS = frozenset(
    f"torch.{name}"
    for name in (
        "allclose", "compile", "equal", "from_numpy", "is_complex", "is_floating_point",
        "is_tensor", "load", "numel", "save", "tensor", "manual_seed",
    )
)  # fmt: skip


def is_gradient(atom: Atom) -> bool:
    """Whether `atom` is the gradient of a parameter, or another tensor that belongs to one."""
    return (
        isinstance(atom, Method)
        and atom.name in GRADIENTS
        and isinstance(atom.receiver, Params)
        and atom.receiver.kind != "name"
    )


def are_lists(value: Value) -> bool:
    """Whether `value` is lists of parameters and nothing else."""
    return bool(value) and all(isinstance(a, Params) and not a.kind for a in value)


def owner_of(atom: Atom) -> Atom | None:
    """The module from whose parameters the tensor `atom` comes; None if it is no such tensor."""
    if isinstance(atom, Tensor):
        return atom.owner
    if isinstance(atom, Params) and atom.kind != "name":
        return atom.owner
    if isinstance(atom, Method) and is_gradient(atom) and isinstance(atom.receiver, Params):
        return atom.receiver.owner
    return None


def is_sharded(atom: Atom) -> bool:
    """Whether `atom` is a tensor of an FSDP1 model, or of a part of one: a DTensor in FSDP2's."""
    if isinstance(atom, Params) and atom.kind != "one":
        return False
    owner = owner_of(atom)
    return isinstance(owner.receiver if isinstance(owner, Method) else owner, Wrapped)


def born(machine: Machine, node: ast.expr, value: Value) -> Value:
    """`value`, with the place `node` on parameters that a module is asked for there."""
    new = [a for a in value if isinstance(a, Params) and a.born is None]
    if not new:
        return value
    site = machine.module.site(node)
    return value.difference(new) | {replace(atom, born=site) for atom in new}


def tensor_attribute(atom: Atom, attr: str) -> Value:
    """An attribute of a parameter, of a gradient, or of what is computed from them."""
    if isinstance(atom, Params):
        return frozenset({Method(atom, attr)})
    return frozenset({atom}) if attr in SAME_TENSOR else frozenset({Method(atom, attr)})


def tensor_method(machine: Machine, receiver: Atom, name: str, passed: Passed) -> Value:
    """What calling a method of a tensor, or of a list of parameters, gives."""
    if isinstance(receiver, Params) and (receiver.kind == "name" or name in STILL_PARAMETERS):
        return frozenset({_made_again(machine, receiver, name, passed)})
    if name in NO_TENSOR or name in PLAIN:
        return COMPUTED
    if passed.node is None or not isinstance(passed.node.func, ast.Attribute):
        return frozenset({receiver})
    given = _carried(machine, zip(passed.node.args, passed.args, strict=False))
    found = _begun(machine, passed.node.func.value, receiver) | given
    return _as_scalars(found) if _reduces(name, passed, 0) else found


def _made_again(machine: Machine, receiver: Params, name: str, passed: Passed) -> Params:
    """What a method of parameters gives, which are parameters again, or a copy or view of one."""
    if name not in MAKING or receiver.kind == "name" or passed.node is None:
        return receiver
    made = receiver.made or machine.module.site(passed.node)
    return replace(receiver, made=made, copied=receiver.copied or name != "detach")


def tensor_function(machine: Machine, name: str, passed: Passed) -> Value | None:
    """What a function gives that computes with tensors; None if it does not."""
    if passed.node is None or not _computes(name):
        return None
    found = _carried(machine, zip(passed.node.args, passed.args, strict=False))
    if name in TOTAL_NORM or (_reduces(short(name), passed, 1) and name not in BUILTINS):
        found = _as_scalars(found)
    elif short(name) in JOINING:
        found = frozenset(replace(a, scalar=False) for a in found if isinstance(a, Tensor))
    return found or None


def _reduces(name: str, passed: Passed, tensors: int) -> bool:
    """Whether a function makes one number of its first `tensors` arguments and its object."""
    if name in DOTS:
        return True
    allowed = tensors + (1 if name in NORMS else 0)
    return name in REDUCING and len(passed.args) <= allowed and not passed.kwargs.keys() & AXES


def _as_scalars(value: Value) -> Value:
    return frozenset(replace(a, scalar=True) for a in value if isinstance(a, Tensor))


def _computes(name: str) -> bool:
    if name in BUILTINS | TOTAL_NORM or name.startswith(FOREACH):
        return True
    package, _, function = name.rpartition(".")
    return (
        f"{package}." in PACKAGES
        and name not in NO_TENSOR_FUNCTIONS
        and not is_torch_module(name)
        and function[:1].islower()
    )


def computed_from(machine: Machine, *operands: ast.expr) -> Value:
    """What an operator gives for operands that were looked at already."""
    values = [(node, machine.record.value(node)) for node in operands]
    found = _carried(machine, values, into_lists=False)
    return found or COMPUTED


def product(machine: Machine, node: ast.BinOp) -> Value:
    """What an arithmetic operator gives; `v @ v` is a number where `v` is a variable."""
    found = computed_from(machine, node.left, node.right)
    path = path_of(node.left)
    if isinstance(node.op, ast.MatMult) and path is not None and path == path_of(node.right):
        return _as_scalars(found) or found
    return found


def _carried(
    machine: Machine, given: Iterable[tuple[ast.expr, Value]], into_lists: bool = True
) -> Value:
    """The tensors that are computed from what is `given`, with the nodes where they stand."""
    found: set[Atom] = set()
    for node, value in given:
        for atom in ordered(value):
            if isinstance(atom, Container) and into_lists:
                for inner in ordered(elements(machine, frozenset({atom}))):
                    found |= _begun(machine, node, inner)
            else:
                found |= _begun(machine, node, atom)
    return frozenset(found)


def _begun(machine: Machine, node: ast.expr, atom: Atom) -> Value:
    """The tensor that a computation with `atom`, which stands at `node`, gives."""
    if isinstance(atom, Tensor):
        return frozenset({atom})
    owner = owner_of(atom)
    if owner is None:
        return frozenset()
    made = atom.made if isinstance(atom, Params) else None
    return frozenset({Tensor(owner, machine.module.site(node), made=made)})
