"""Methods of a base class, on the classes that override what they use."""

from __future__ import annotations

import pytest

from support.values import analyse, wraps

# In each, `probe` can be the model; nothing makes an object of the subclass.
REACHED = {
    "a method that is overridden": """
        class Base:
            def run(self):
                probe = self.model()
                probe
            def model(self): ...
        class Sub(Base):
            def model(self):
                return FSDP(Net())
        """,
    "by way of another method": """
        class Base:
            def run(self):
                probe = self.between()
                probe
            def between(self):
                return self.model()
        class Sub(Base):
            def model(self):
                return FSDP(Net())
        """,
    "in a constructor": """
        class Base:
            def __init__(self):
                self.net = self.wrap(Net())
            def wrap(self, net):
                return net
            def run(self):
                probe = self.net
                probe
        class Sub(Base):
            def wrap(self, net):
                return FSDP(net)
        """,
    "an attribute of the class": """
        class Base:
            wrapper = None
            def run(self):
                probe = self.wrapper(Net())
                probe
        class Sub(Base):
            wrapper = FSDP
        """,
    "a property": """
        class Base:
            def run(self):
                probe = self.model
                probe
        class Sub(Base):
            @property
            def model(self):
                return FSDP(Net())
        """,
    "a class method": """
        class Base:
            @classmethod
            def run(cls):
                probe = cls.model()
                probe
        class Sub(Base):
            @classmethod
            def model(cls):
                return FSDP(Net())
        """,
    "a mixin": """
        class Runs:
            def run(self):
                probe = self.model()
                probe
        class Models:
            def model(self):
                return FSDP(Net())
        class Sub(Runs, Models): ...
        """,
    "two steps up": """
        class Base:
            def run(self):
                probe = self.model()
                probe
        class Middle(Base): ...
        class Sub(Middle):
            def model(self):
                return FSDP(Net())
        """,
    "said to be of the base": """
        class Base:
            def model(self): ...
        class Sub(Base):
            def model(self):
                return FSDP(Net())
        def main(some: Base):
            probe = some.model()
            probe
        """,
}


@pytest.mark.parametrize("shape", REACHED)
def test_what_a_subclass_gives(shape: str) -> None:
    analysis = analyse(REACHED[shape])
    assert {model.site for model in wraps(analysis)} == set(analysis.solver.wraps)


BASE = """
class Base:
    def __init__(self, net):
        self.net = net
    def save(self):
        probe = self.net
        probe
    def other(self):
        whole = self.net
        whole
class Sub(Base):
    def __init__(self, net):
        super().__init__(net)
        self.net = FSDP(net)
"""


def test_an_inherited_method_sees_what_the_subclass_sets() -> None:
    assert wraps(analyse(BASE))


def test_an_overridden_method_does_not() -> None:
    analysis = analyse(BASE + "    def save(self): ...\n")
    assert not wraps(analysis)
    assert wraps(analysis, "whole")


def test_an_overridden_method_does_by_super() -> None:
    assert wraps(analyse(BASE + "    def save(self):\n        super().save()\n"))


def test_another_object_than_self_may_be_of_the_subclass() -> None:
    analysis = analyse(
        BASE.replace("def save(self):", "def save(self, other: Base):").replace(
            "probe = self.net", "probe = other.net"
        )
        + "    def save(self, other): ...\n"
    )
    assert wraps(analysis)
