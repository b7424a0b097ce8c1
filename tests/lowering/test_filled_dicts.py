"""The keys that a dict has for certain."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Container
from fsdp_migrate.lowering.filled_dicts import keys_for_sure
from support.programs import Analysis


def _keys(text: str) -> set[str]:
    """The keys of `kw` at the last call of `use`."""
    found = Analysis(text)
    place = list(found.nodes("use(**kw)"))[-1]
    (made,) = (atom for atom in found.value("kw") if isinstance(atom, Container))
    return keys_for_sure(found.solver, made, found.module(), place)


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ('kw = {}\nkw["a"] = 1\nuse(**kw)', {"a"}),
        ('kw: dict = {}\nkw["a"] = 1\nuse(**kw)\nkw["b"] = 1', {"a"}),
        ('kw = {}\nif c:\n    kw["a"] = 1\nuse(**kw)', set()),
        ('kw = {}\nif c:\n    kw["a"] = kw["b"] = 1\nelse:\n    kw["a"] = 2\nuse(**kw)', {"a"}),
        ('kw = {}\nwith c:\n    kw["a"] = 1\nuse(**kw)', {"a"}),
        ("kw = dict()\nkw.update(a=1, b=2)\nuse(**kw)", {"a", "b"}),
        ('kw = {}\nkw["a"] = 1\nkw.pop("a")\nuse(**kw)', set()),
        ('kw = {}\nkw["a"] = kw["b"] = 1\ndel kw["a"]\nuse(**kw)', {"b"}),
        ('kw = {}\nkw["a"] = 1\ndel kw[c]\nuse(**kw)', set()),
        ('kw = {}\nfor _ in c:\n    kw["a"] = 1\nuse(**kw)', set()),
        ('kw = {}\nif c:\n    kw["a"] = 1\n    use(**kw)', set()),
        ('kw = {}\nkw[c] = 1\nother = {}\nother["a"] = 1\nuse(**kw)', set()),
    ],
)
def test_statements_put_keys_in(lines: str, keys: set[str]) -> None:
    assert _keys(f"import c\nfrom c import use\n{lines}\n") == keys


def test_a_function_hands_out_what_it_has_filled() -> None:
    text = """
        import c
        from c import use


        def settings():
            kw = {}
            kw["a"] = 1
            if c:
                return kw
            kw["b"] = 2
            return kw


        def main():
            kw = settings()
            kw["d"] = 3
            use(**kw)
    """
    assert _keys(text) == {"a"}


def test_an_object_may_be_asked_before_it_is_filled() -> None:
    text = """
        from c import use


        class Trainer:
            def __init__(self):
                self.kw = {}
                self.kw["a"] = 1

            def run(self):
                kw = self.kw
                use(**kw)
    """
    assert _keys(text) == set()
