"""The table of models."""

from __future__ import annotations

from fsdp_migrate.analysis.library import calls, fsdp1
from fsdp_migrate.analysis.library.models import Model, Models
from fsdp_migrate.syntax.fsdp1_names import FSDP1


def test_one_model_for_several_names() -> None:
    models = Models()

    @models("a.b", "a.c")
    def model(*_: object) -> None:
        """Nothing."""

    expected: Model = model
    assert models == {"a.b": expected, "a.c": expected}


def test_a_table_may_start_from_another() -> None:
    assert calls.models[FSDP1] is fsdp1.models[FSDP1]
    assert "functools.partial" not in fsdp1.models


def test_every_model_says_what_it_stands_for() -> None:
    assert all(model.__doc__ for model in calls.models.values())
