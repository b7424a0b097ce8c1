"""Parameters that several units would own.

FSDP1 failed on them too, but only when it ran, with a size error. Here it is found before anything
is sharded.
"""

from __future__ import annotations

from torch import nn


def reject_ties(root: nn.Module, units: list[nn.Module], ignored_params: set[nn.Parameter]) -> None:
    """Check that every parameter belongs to one unit; `units` are below `root`, children first.

    Raises:
        ValueError: with the names of a parameter that is tied across units.
    """
    chosen = {*units, root}
    homes: dict[nn.Parameter, tuple[nn.Module, str]] = {}

    def visit(module: nn.Module, prefix: str, unit: nn.Module) -> None:
        unit = module if module in chosen else unit
        for name, param in module.named_parameters(recurse=False):
            if param in ignored_params:
                continue
            home, first = homes.setdefault(param, (unit, prefix + name))
            if home is not unit:
                raise ValueError(
                    f"{first} and {prefix + name} are one parameter in two units; a tied "
                    "parameter has to be owned by one unit, so wrap neither or their parent"
                )
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.", unit)

    visit(root, "", root)
