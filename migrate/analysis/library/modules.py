"""What the analysis knows of `nn.Module` and the wrappers that are not FSDP."""

from __future__ import annotations

# Methods of an nn.Module that give the module back.
RETURN_SELF = frozenset(
    {
        "apply", "bfloat16", "compile", "cpu", "cuda", "double", "eval", "float", "half",
        "requires_grad_", "share_memory", "to", "to_empty", "train", "type", "unwrap",
    }
)  # fmt: skip
PARAMETERS = frozenset({"named_parameters", "parameters"})
CHILDREN = frozenset({"children", "named_children"})
SUBMODULES = CHILDREN | {"modules", "named_modules"}
DDP = "torch.nn.parallel.DistributedDataParallel"
OTHER_WRAPPERS = frozenset({DDP, "torch.nn.DataParallel", "torch.nn.parallel.DataParallel"})


def is_torch_module(name: str) -> bool:
    """Whether a canonical name is that of a class below `torch.nn`, such as `torch.nn.Linear`."""
    return name.startswith("torch.nn.") and name[9:10].isupper()


# Class methods of libraries that make an object of the class, with arguments of their own.
LOADERS = frozenset({"from_config", "from_pretrained", "load_from_checkpoint"})
ATTRIBUTES = "__dict__"  # of an object: what `vars` gives
