"""Imports find the project's own modules, and leave Python's alone."""

from __future__ import annotations

import pytest

from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import source


def _project(*names: str) -> Project:
    return Project.of(
        parse(source(f"{name}.py", ""), f"/project/{name}".removesuffix("/__init__"))
        for name in names
    )


def _resolved(project: Project, importer: str, dotted: str) -> str | None:
    return project.resolve(project.modules[f"/project/{importer}"], dotted)


@pytest.mark.parametrize("dotted", ["os", "os.path", "sys", "importlib"])
def test_what_is_loaded_before_all_else_is_pythons(dotted: str) -> None:
    project = _project("train", "os/__init__", "os/path", "sys", "importlib/__init__")
    assert _resolved(project, "train", dotted) is None


def test_a_folder_without_init_is_no_standard_module() -> None:
    project = _project("train", "logging/setup", "random/seeds")
    assert _resolved(project, "train", "logging") is None
    assert _resolved(project, "train", "random") is None


def test_a_script_has_its_neighbours_before_the_standard_library() -> None:
    project = _project("train", "queue", "test/__init__", "test/helpers")
    assert _resolved(project, "train", "queue") == "/project/queue"
    assert _resolved(project, "train", "test.helpers") == "/project/test/helpers"


def test_neighbours_in_a_package_come_by_its_name_only() -> None:
    project = _project("pkg/__init__", "pkg/types", "pkg/train", "pkg/models")
    assert _resolved(project, "pkg/train", "types") is None
    assert _resolved(project, "pkg/train", "pkg.types") == "/project/pkg/types"
    assert _resolved(project, "pkg/train", "models") == "/project/pkg/models"


def test_a_module_of_a_package_that_was_not_read() -> None:
    project = _project("train", "code/model")
    assert _resolved(project, "train", "code.model") == "/project/code/model"
