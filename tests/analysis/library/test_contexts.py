"""What `with context as x` binds."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.values import Instance
from support.values import analyse, check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "contextmanager": """
        @contextlib.contextmanager
        def opened(net):
            yield FSDP(net)
        with opened(Net()) as probe:
            probe
        """,
    "asynccontextmanager": """
        @contextlib.asynccontextmanager
        async def opened(net):
            yield FSDP(net)
        async def main():
            async with opened(Net()) as probe:
                probe
        """,
    "a class": """
        class Scope:
            def __init__(self, net):
                self.model = FSDP(net)
            def __enter__(self):
                return self.model
            def __exit__(self, *error):
                pass
        with Scope(Net()) as probe:
            probe
        """,
    "an exit stack": """
        @contextlib.contextmanager
        def opened(net):
            yield FSDP(net)
        stack = contextlib.ExitStack()
        probe = stack.enter_context(opened(Net()))
        probe
        """,
    "nullcontext": """
        with contextlib.nullcontext(FSDP(Net())) as probe:
            probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_an_object_that_enters_as_itself() -> None:
    text = """
        class Scope:
            def __enter__(self):
                return self
        with Scope() as probe:
            probe
        """
    assert all(isinstance(atom, Instance) for atom in probed(text))


MODES = """
    import contextlib

    @contextlib.contextmanager
    def full(model):
        {before}
        with FSDP.state_dict_type(model, 1):
            yield

    def save(model):
        with full(model):
            model.state_dict()
        model.load_state_dict({{}})

    save(FSDP(Net()))
    """


def test_the_modes_of_a_generator_are_open_inside() -> None:
    analysis = analyse(MODES.format(before=""))
    calls = {ast.unparse(call.func): call for call in analysis.solver.open_modes}
    assert None not in analysis.solver.modes_at(calls["model.state_dict"])
    assert analysis.solver.modes_at(calls["model.load_state_dict"]) == {None}


def test_a_generator_that_may_open_none() -> None:
    analysis = analyse(
        MODES.format(before="if model.training:\n            yield\n            return")
    )
    calls = {ast.unparse(call.func): call for call in analysis.solver.open_modes}
    assert len(analysis.solver.modes_at(calls["model.state_dict"])) == 2


def test_a_stack_of_contexts() -> None:
    analysis = analyse(
        """
        model = FSDP(Net())
        with contextlib.ExitStack() as stack:
            stack.enter_context(FSDP.state_dict_type(model, 1))
            model.state_dict()
        model.load_state_dict({})
        """
    )
    calls = {ast.unparse(call.func): call for call in analysis.solver.open_modes}
    assert None not in analysis.solver.modes_at(calls["model.state_dict"])
    assert analysis.solver.modes_at(calls["model.load_state_dict"]) == {None}
