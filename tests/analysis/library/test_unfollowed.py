"""What isn't followed remembers the models that went in."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Unknown
from support.values import analyse

# Programs in which `probe` may be the model of line 1 of the text, after all that is known.
MAYBE = {
    "an unknown function": "import lib\nprobe = unknown_name(FSDP(Net()))\nprobe",
    "a shelf": "import lib\nq = lib.Shelf()\nq.put(FSDP(Net()))\nprobe = q.take()\nprobe",
    "what a library's function gives": "import lib\nprobe = lib.a(FSDP(Net()))[0]\nprobe",
    "in a list": "import lib\nprobe = lib.a([(FSDP(Net()),)]).b()\nprobe",
    "a function that makes it": "import lib\nprobe = lib.lazy(lambda: FSDP(Net()))()\nprobe",
    "a partial": "import lib\nprobe = lib.lazy(partial(int, FSDP(Net())))()\nprobe",
    "a method of its own": """
        import lib
        class Maker:
            def make(self):
                return FSDP(Net())
        probe = lib.lazy(Maker().make)()
        probe
        """,
    "by way of another library": "import a, b\nprobe = b.g(a.f(FSDP(Net()))).h()\nprobe",
}


@pytest.mark.parametrize("shape", MAYBE)
def test_a_model_may_be_there(shape: str) -> None:
    analysis = analyse(MAYBE[shape])
    value = analysis.value("probe")
    sites = {site for atom in value if isinstance(atom, Unknown) for site in atom.models}
    assert sites == set(analysis.solver.wraps)


def test_none_is_where_none_went() -> None:
    value = analyse("import lib\nFSDP(Net())\nprobe = lib.a(Net()).b()\nprobe").value("probe")
    assert value == {Unknown("the result of `b`")}


def test_objects_that_hold_each_other_are_looked_at_once() -> None:
    names = [f"l{i}" for i in range(15)]
    made = "".join(f"{name} = []\n" for name in names)
    made += "".join(f"{one}.append({other})\n" for one in names for other in names)
    text = f"import lib\n{made}l1.append(FSDP(Net()))\nprobe = lib.a(l0).b()\nprobe"
    value = analyse(text).value("probe")
    assert any(isinstance(atom, Unknown) and atom.models for atom in value)
