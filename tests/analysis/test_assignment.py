"""Values that are bound to names, tuples, items and attributes."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    Unknown,
    Wrapped,
)
from support.values import analyse, check_model, probed, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "assignment": "probe = FSDP(Net())\nprobe",
    "chain": "a = b = FSDP(Net())\nprobe = b\nprobe",
    "unpacking": "probe, other = FSDP(Net()), 3\nprobe",
    "attribute of self": """
        class Trainer:
            def __init__(self):
                self.model = FSDP(Net())
            def step(self):
                probe = self.model
                return probe
        Trainer().step()
        """,
    "attribute set in another method": """
        class Trainer:
            def setup(self):
                self.model = FSDP(Net())
            def step(self):
                probe = self.model
                return probe
        """,
    "attribute set by a base class": """
        class Base:
            def __init__(self):
                self.model = FSDP(Net())
        class Trainer(Base):
            def step(self):
                probe = self.model
                return probe
        """,
    "attribute set by a derived class": """
        class Base:
            def step(self):
                probe = self.model
                return probe
        class Trainer(Base):
            def __init__(self):
                self.model = FSDP(Net())
        Trainer().step()
        """,
    "attribute of an object that is passed": """
        class State:
            pass
        def step(state):
            probe = state.model
            return probe
        state = State()
        state.model = FSDP(Net())
        step(state)
        """,
    "dict by key": "models = {}\nmodels['a'] = FSDP(Net())\nprobe = models['a']\nprobe",
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_several_models_stay_apart() -> None:
    analysis = analyse(
        """
        def step(model):
            return model
        teacher, student = FSDP(Net()), FSDP(Net())
        class Pair:
            def __init__(self, one, other):
                self.one, self.other = one, other
        pair = Pair(teacher, student)
        step(student)
        pair.one
        pair.other
        """
    )
    (teacher,), (student,) = wraps(analysis, "teacher"), wraps(analysis, "student")
    assert teacher != student
    assert wraps(analysis, "pair.one") == {teacher}
    assert wraps(analysis, "pair.other") == {student}
    assert wraps(analysis, "model") == {student}


def test_a_path_is_followed_like_a_variable_until_a_call_may_look() -> None:
    analysis = analyse(
        """
        class State:
            def look(self):
                return self.model
        state = State()
        state.model = Net()
        state.model = FSDP(Net())
        before = state.model
        before
        after = state.look()
        after
        """
    )
    assert {type(atom) for atom in analysis.value("before")} == {Wrapped}
    assert wraps(analysis, "after") == wraps(analysis, "before")


def test_what_another_name_is_bound_to_is_forgotten_with_it() -> None:
    value = probed(
        """
        class State:
            pass
        state = State()
        state.model = FSDP(Net())
        state = input()
        probe = state.model
        probe
        """
    )
    assert not any(isinstance(atom, Wrapped) for atom in value)


def test_a_starred_target_holds_what_nobody_counted() -> None:
    text = "import lib\nfirst, *probe = lib.things(FSDP(Net()))\n[probe] = probe\nprobe"
    assert any(isinstance(atom, Unknown) and atom.models for atom in probed(text))


@pytest.mark.parametrize(
    "text",
    [
        "probe, *rest = [FSDP(Net()), 1, 2]",
        "*rest, probe = (1, 2, FSDP(Net()))",
        "made = 1, FSDP(Net()), 2\nfirst, *rest, last = made\n[probe] = rest",
        "made = [FSDP(Net())]\nprobe, *rest = made",
        "first, *rest = 1, FSDP(Net())\ndef f(a, b): return b\nprobe = f(first, *rest)",
        "first, *rest = 1, 2, FSDP(Net())\ndef f(a, b, c): return c\nprobe = f(first, *rest)",
    ],
)
def test_what_is_left_over_is_a_list(text: str) -> None:
    check_model(f"{text}\nprobe")
