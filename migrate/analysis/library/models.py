"""The table of what calls of library functions do: one small function each, by canonical name."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeAlias

from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import Value

Model: TypeAlias = Callable[[Machine, ast.Call, Passed], Value | None]
"""What a call gives; None for an object of the library's that nothing special is known of."""


class Models(dict[str, Model]):
    """Models by the canonical names of what they stand for."""

    def __call__(self, *names: str) -> Callable[[Model], Model]:
        """Register the function below for `names`."""

        def register(model: Model) -> Model:
            self.update(dict.fromkeys(names, model))
            return model

        return register
