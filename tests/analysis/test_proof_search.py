"""What FSDP1's functions are given is a model, wherever it comes from."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import MODEL, Unknown, Wrapped
from support.programs import Analysis, dedent
from support.values import HEAD, probed

WITHOUT_DDP = HEAD.replace("from torch.nn.parallel import DistributedDataParallel as DDP\n", "")
MODELS = {
    "a parameter": "def f(x):\n    FSDP.set_state_dict_type(x, 1)\n    probe = x\n    probe",
    "before the call": "def f(x):\n    probe = x\n    probe\n    FSDP.summon_full_params(x)",
    "by name": "def f(x):\n    FSDP.optim_state_dict(optim=1, model=x)\n    probe = x\n    probe",
    "an attribute": """
        class A:
            def __init__(self, net):
                self.net = net
            def save(self):
                FSDP.state_dict_type(self.net, 1)
            def clip(self):
                probe = self.net
                probe
        """,
    "an attribute that nothing sets": """
        class A:
            def save(self):
                FSDP.state_dict_type(self.net, 1)
            def clip(self):
                probe = self.net
                probe
        """,
    "from outside of the class": """
        class A:
            def __init__(self, net):
                self.net = net
            def save(self):
                FSDP.state_dict_type(self.net, 1)
        def f(net):
            probe = A(net).net
            probe
        """,
    "an attribute of an unknown object": """
        def f(job):
            FSDP.state_dict_type(job.model, 1)
            probe = job.model
            probe
        """,
    "an item": """
        def f(models, name):
            FSDP.state_dict_type(models[name], 1)
            probe = models[name]
            probe
        """,
    "in a loop": """
        def f(models):
            for name, x in models.items():
                FSDP.state_dict_type(x, 1)
                probe = x
                probe
        """,
    "unpacked": """
        def f(*args):
            x, path = args
            FSDP.state_dict_type(x, 1)
            probe = x
            probe
        """,
    "by another name": """
        def f(job):
            x = job.model
            FSDP.state_dict_type(x, 1)
            probe = job.model
            probe
        """,
    "in a function inside": """
        def f(x):
            def save():
                FSDP.state_dict_type(x, 1)
            def clip():
                probe = x
                probe
            return save, clip
        """,
    "in a coroutine": "async def f(x):\n    FSDP.fsdp_modules(x)\n    probe = x\n    probe",
    "by who calls": """
        def save(x):
            FSDP.state_dict_type(x, 1)
        def f(y):
            save(y)
            probe = y
            probe
        """,
    "a property": """
        class A:
            @property
            def model(self):
                return self.engine.model
            def save(self):
                FSDP.state_dict_type(self.model, 1)
            def clip(self):
                probe = self.model
                probe
        """,
    "where steps are counted": """
        def f(x, step):
            probe = x
            probe
            if step % 10 == 0:
                FSDP.state_dict_type(x, 1)
        """,
    "an annotated variable": "def f(y):\n    x: FSDP = y['m']\n    probe = x\n    probe",
    "an annotated field": """
        @dataclass
        class A:
            net: Optional[FSDP]
            def clip(self):
                probe = self.net
                probe
        """,
    "an annotated result": """
        def get() -> FSDP:
            return registry["m"]
        def f():
            probe = get()
            probe
        """,
    "in an annotated list": """
        def f(models: "dict[str, int]", nets: list[FSDP]):
            for x in nets:
                probe = x
                probe
        """,
}
PERHAPS = {
    "in another branch": """
        def f(x, sharded):
            if sharded:
                FSDP.state_dict_type(x, 1)
            else:
                probe = x
                probe
        """,
    "in the branch of another kind": """
        def f(x, kind):
            if kind == "ddp":
                probe = x
                probe
            elif kind == "fsdp":
                FSDP.state_dict_type(x, 1)
        """,
    "where another kind returns": """
        def f(x, kind):
            if kind == "ddp":
                probe = x
                probe
                return
            FSDP.state_dict_type(x, 1)
        """,
    "after a branch": """
        def f(x, sharded):
            if sharded:
                FSDP.state_dict_type(x, 1)
            probe = x
            probe
        """,
    "in a method that is for both": """
        class A:
            def save(self):
                if self.sharded:
                    self.save_sharded()
                probe = self.net
                probe
            def save_sharded(self):
                FSDP.state_dict_type(self.net, 1)
        """,
    "in a file that knows DDP": """
        class A:
            def save(self):
                FSDP.state_dict_type(self.net, 1)
            def save_plain(self):
                probe = self.net
                probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_it_is_a_model(shape: str) -> None:
    value = Analysis(WITHOUT_DDP + dedent(MODELS[shape])).value("probe")
    assert value == MODEL


@pytest.mark.parametrize("shape", PERHAPS)
def test_it_may_be_a_model(shape: str) -> None:
    value = probed(PERHAPS[shape])
    assert value >= MODEL
    assert any(isinstance(atom, Unknown) for atom in value)


def test_what_is_known_stays_as_it_is() -> None:
    text = "x = FSDP(Net())\nFSDP.state_dict_type(x, 1)\nprobe = x\nprobe"
    (wrapped,) = (atom for atom in probed(text) if isinstance(atom, Wrapped))
    assert wrapped.site is not None


def test_what_goes_to_no_function_of_fsdp1_stays_unknown() -> None:
    value = probed("def f(x, y):\n    FSDP.state_dict_type(x, 1)\n    probe = y\n    probe")
    assert not value & MODEL
