"""What `with context as x` binds."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Instance
from support.values import check_model, probed

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
