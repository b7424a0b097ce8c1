"""Functions on sequences and iterators."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Result
from support.values import check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "next": """
        def stream():
            yield FSDP(Net())
        probe = next(stream())
        probe
        """,
    "next of an iterator": """
        probe = next(iter([FSDP(Net())]), None)
        if probe is not None:
            probe
        """,
    "map": """
        probe = list(map(FSDP, [Net()]))[0]
        probe
        """,
    "map with a function": """
        def build(net):
            return FSDP(net)
        (probe,) = map(build, (Net(),))
        probe
        """,
    "starmap": """
        import itertools
        probe = next(itertools.starmap(lambda a: FSDP(a), [(Net(),)]))
        probe
        """,
    "max by key": """
        probe = max([FSDP(Net())], key=id)
        probe
        """,
    "min of two": """
        probe = min(FSDP(Net()), FSDP(Net()), key=id)
        probe
        """,
    "reduce": """
        def step(model, f):
            return f(model)
        probe = functools.reduce(step, [FSDP], Net())
        probe
        """,
    "filter": """
        probe = next(filter(None, [FSDP(Net())]))
        probe
        """,
    "chain": """
        import itertools
        for probe in itertools.chain([FSDP(Net())], [FSDP(Net())]):
            probe
        """,
    "chain of lists": """
        import itertools
        for probe in itertools.chain.from_iterable([[FSDP(Net())]]):
            probe
        """,
    "sorted": """
        probe = sorted([FSDP(Net())], key=id)[0]
        probe
        """,
    "zip": """
        for probe, _ in zip([FSDP(Net())], [1]):
            probe
        """,
    "repeat": """
        import itertools
        probe = next(itertools.repeat(FSDP(Net())))
        probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_the_larger_of_two_numbers_is_nothing_that_is_followed() -> None:
    assert all(isinstance(atom, Result) for atom in probed("probe = max(1, 2)\nprobe"))
