"""What is put into a namespace comes out of it, by whatever name Python has for its attributes."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Unknown, Wrapped
from support.values import check_model, probed, reasons

MADE = "import types\nspace = types.SimpleNamespace(net=FSDP(Net()), name='x')\n"
SET = "import types\nspace = types.SimpleNamespace()\nsetattr(space, 'net', FSDP(Net()))\n"
READS = ("space.net", "getattr(space, 'net')", "vars(space)['net']", "space.__dict__['net']")


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("made", [MADE, SET])
def test_the_model_comes_out(made: str, read: str) -> None:
    check_model(f"{made}probe = {read}\nprobe")


def test_by_get_and_through_a_function() -> None:
    check_model(f"{MADE}probe = vars(space).get('net')\nprobe")
    check_model(
        """
        from argparse import Namespace
        def made():
            return Namespace(parts=[FSDP(Net())])
        probe = made().parts[0]
        probe
        """
    )


def test_stored_by_way_of_the_dict() -> None:
    check_model(
        "import types\nspace = types.SimpleNamespace()\nvars(space)['net'] = FSDP(Net())\n"
        "probe = space.net\nprobe"
    )


def test_constants_may_be_set_elsewhere() -> None:
    assert reasons(probed(f"{MADE}probe = vars(space)['name']\nprobe"))


@pytest.mark.parametrize(
    "body",
    [
        'return self.__dict__["parts"][name]',
        'return self.parts["model"]',
        "return getattr(self.held, name)",
    ],
)
def test_what_getattr_gives(body: str) -> None:
    check_model(
        f"""
        import types
        class Owner:
            def __init__(self, model):
                self.parts = {{"model": model}}
                self.held = types.SimpleNamespace(model=model)

            def __getattr__(self, name):
                {body}

        probe = Owner(FSDP(Net())).model
        probe
        """
    )


@pytest.mark.parametrize("fields", ['["net", "other"]', '"net other"', '("net", "other")'])
def test_named_tuples(fields: str) -> None:
    made = f"import collections\nPair = collections.namedtuple('Pair', {fields})\n"
    check_model(f"{made}probe = Pair(FSDP(Net()), 1).net\nprobe")
    check_model(f"{made}probe = Pair(other=1, net=FSDP(Net())).net\nprobe")


@pytest.mark.parametrize("read", ["pair.net", "pair[0]", "[*pair][0]", "pair.other"])
def test_classes_of_fields(read: str) -> None:
    made = "FSDP(Net())" if read != "pair.other" else "1"
    value = probed(
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    net: nn.Module\n"
        "    other: int\n"
        f"pair = Pair({made}, 1)\nprobe = {read}\nprobe"
    )
    assert any(isinstance(a, Wrapped | Unknown) for a in value) == (read != "pair.other")


def test_default_dicts() -> None:
    head = "import collections\nheld = collections.defaultdict(list)\n"
    check_model(f"{head}held['a'].append(FSDP(Net()))\nprobe = held['a'][0]\nprobe")
    check_model(f"{head}held['a'] += [FSDP(Net())]\n[probe] = held['a']\nprobe")
