"""The functions and classes of a project, before anything is followed."""

from __future__ import annotations

from fsdp_migrate.analysis.program import ClassInfo, FunctionInfo, Program
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import dedent, source


def program(text: str) -> Program:
    return Program.of(Project.of([parse(source("train.py", dedent(text)), "/project/train")]))


def functions(text: str) -> dict[str, FunctionInfo]:
    return {info.name: info for info in program(text).functions.values()}


def only_class(text: str) -> ClassInfo:
    (info,) = program(text).classes.values()
    return info


def test_functions_know_what_is_around_them() -> None:
    found = functions(
        """
        class A:
            def method(self):
                def inner(): ...
        """
    )
    assert found["method"].cls == found["method"].module.site(found["method"].module.tree.body[0])
    assert found["inner"].cls is None
    assert found["inner"].outer == (found["method"].module.site(found["method"].node),)


def test_locals_and_captured_names() -> None:
    info = functions(
        """
        def f(a, *b, c=1, **d):
            global g
            g = 1
            import os.path
            with a as e: ...
            try: ...
            except ValueError as error: ...
            def inner(): return e
        """
    )["f"]
    assert info.locals == {"a", "b", "c", "d", "os", "e", "error", "inner"}
    assert "e" in info.captured


def test_decorators_and_kinds() -> None:
    found = functions(
        """
        class A:
            @staticmethod
            def s(): ...
            @functools.cached_property
            def p(self): ...
            @wraps(f)
            def g(self): yield 1
        """
    )
    assert found["s"].is_static
    assert found["p"].decorators == {"cached_property"}
    assert found["g"].decorators == {"wraps"}
    assert found["g"].is_generator
    assert not found["p"].is_generator


def test_a_lambda_has_no_name_and_no_decorators() -> None:
    info = functions("f = lambda a, /, b: a")[""]
    assert [arg.arg for arg in info.positional] == ["a", "b"]
    assert info.decorators == frozenset()


def test_classes() -> None:
    info = only_class(
        """
        @dataclasses.dataclass(frozen=True)
        class Config:
            lr: float
            name: str = "a"
            size = 3
            def f(self): ...
        """
    )
    assert info.is_dataclass
    assert info.field_order == ("lr", "name")
    assert set(info.methods) == {"f"}
    assert not only_class("class Plain: ...").is_dataclass


def test_what_functions_use_of_their_module() -> None:
    assert program("x = 1\ndef f(): return x + y").captured["/project/train"] == {"x", "y"}


def test_names_that_a_function_mentions() -> None:
    info = functions("def f(x):\n    return f(x.size) + len(y)")["f"]
    assert info.mentions == {"x", "size", "len", "y"}
