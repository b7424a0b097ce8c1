"""Functions and methods by what they do with tensors that are sharded."""

from __future__ import annotations

import sys

# Methods that DTensors refuse, or that mean nothing for them (torch 2.13).
REFUSED_METHODS = frozenset(
    {
        "__array__", "allclose", "bincount", "data_ptr", "histc", "histogram", "masked_select",
        "nonzero", "numpy", "share_memory_", "storage", "tolist", "unique", "unique_consecutive",
        "untyped_storage",
    }
)  # fmt: skip
# Functions that do.
REFUSED = frozenset(
    {
        "builtins.format", "builtins.round", "torch.allclose", "torch.argwhere", "torch.bincount",
        "torch.histc", "torch.histogram", "torch.masked_select", "torch.nonzero", "torch.tensor",
        "torch.unique", "torch.utils.dlpack.to_dlpack",
    }
)  # fmt: skip
# Those of other libraries that want plain tensors, where PyTorch's name is known.
FOREIGN_TENSORS = frozenset({"torch.from_dlpack"})
FLATTENING = frozenset({"flatten", "ravel", "reshape", "view"})
JOINING = frozenset(
    {
        "torch._utils._flatten_dense_tensors", "torch.cat", "torch.concat", "torch.concatenate",
        "torch.hstack", "torch.flatten", "torch.nn.utils.parameters_to_vector", "torch.ravel",
        "torch.reshape",
    }
)  # fmt: skip
COLLECTIVES = frozenset(
    {
        "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_tensor",
        "all_reduce", "all_reduce_coalesced", "all_to_all", "all_to_all_single", "broadcast",
        "gather", "irecv", "isend", "recv", "reduce", "reduce_scatter", "reduce_scatter_tensor",
        "scatter", "send",
    }
)  # fmt: skip
# Functions that make a plain tensor out of numbers and shapes.
CREATING = frozenset(
    f"torch.{name}"
    for name in (
        "arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "normal", "ones",
        "rand", "randint", "randn", "tensor", "zeros",
    )
)  # fmt: skip
# Those whose result has more than one number for certain.
SHAPED = CREATING - {"torch.as_tensor", "torch.tensor"}
# Methods of loggers, which make arrays of what they are given.
LOGGING = frozenset(
    {"add_embedding", "add_histogram", "add_image", "add_scalar", "log_histogram", "log_scalar"}
)
WITHOUT_GRADIENT = frozenset({"detach", "inference_mode", "item", "no_grad"})
OWN = frozenset({"torch", "builtins", "fsdp_migrate", *sys.stdlib_module_names})
# Libraries whose functions work element by element, on whatever tensor they are given.
TRANSPARENT = frozenset({"einops", "opt_einsum"})


def is_foreign(name: str) -> bool:
    """Whether a name is of a library that knows nothing of DTensors."""
    return name.partition(".")[0] not in OWN | TRANSPARENT
