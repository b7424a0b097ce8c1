"""What a decorator of the project's own makes of a function."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Const
from support.values import check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "that changes the result": """
        def sharded(make):
            @functools.wraps(make)
            def inner(*args):
                return FSDP(make(*args))
            return inner
        @sharded
        def build(net):
            return net
        probe = build(Net())
        probe
        """,
    "of a method": """
        def sharded(make):
            def inner(self, net):
                return FSDP(make(self, net))
            return inner
        class Maker:
            @sharded
            def build(self, net):
                return net
        probe = Maker().build(Net())
        probe
        """,
    "that registers": """
        BUILDERS = {}
        def register(name):
            def note(make):
                BUILDERS[name] = make
                return make
            return note
        @register("sharded")
        def build(net):
            return FSDP(net)
        probe = BUILDERS["sharded"](Net())
        probe
        """,
    "that passes on": """
        def timed(make):
            def inner(*args, **kwargs):
                made = make(*args, **kwargs)
                return made
            return inner
        @timed
        def build(net):
            return FSDP(net)
        @timed
        def load():
            return open("data")
        probe = build(Net())
        probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_functions_behind_one_decorator_stay_apart() -> None:
    text = """
        def logged(f):
            def inner(*args):
                return f(*args)
            return inner
        @logged
        def one():
            return 1
        @logged
        def two():
            return 2
        probe = one()
        probe
        """
    assert probed(text) == {Const.of(1)}
