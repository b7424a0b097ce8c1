"""Facts of a program: from calls and values, and never from words."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import NOTHING, Unknown
from support.wraps import facts

UNKNOWN = frozenset({Unknown("a library made it")})

SETS = {
    "itself": "torch.cuda.set_device(0)\n",
    "under another name": "from torch.cuda import set_device as place\nplace(0)\n",
    "for a while": "with torch.cuda.device(1):\n    pass\n",
    "by hiding the others": "os.environ['CUDA_VISIBLE_DEVICES'] = '1'\n",
    "by hiding the others, if need be": "os.environ.setdefault('CUDA_VISIBLE_DEVICES', '1')\n",
    "by Accelerate": "from accelerate import Accelerator\nAccelerator()\n",
    "by Lightning": "import lightning as L\n\n\nclass Task(L.LightningModule):\n    pass\n",
}
SETS_NOT = {
    "a comment": "# torch.cuda.set_device(0), as accelerate and lightning do\n",
    "a docstring": '"""torch.cuda.set_device(0)"""\n',
    "a text": "print('set_device( CUDA_VISIBLE_DEVICES accelerate')\n",
    "reading which devices there are": "os.environ['CUDA_VISIBLE_DEVICES']\n",
    "a name": "lightning = accelerate = set_device = 1\n",
    "an import": "import accelerate\n",
}


@pytest.mark.parametrize("text", SETS.values(), ids=SETS)
def test_a_device_is_set(text: str) -> None:
    assert facts(text).sets_cuda_device


@pytest.mark.parametrize("text", SETS_NOT.values(), ids=SETS_NOT)
def test_no_device_is_set(text: str) -> None:
    assert not facts(text).sets_cuda_device


META = {
    "a module": "nn.Linear(2, 2, device='meta')\n",
    "a constant": "WHERE = 'meta'\nnn.Linear(2, 2, device=WHERE)\n",
    "a context": "with torch.device('meta'):\n    pass\n",
    "the default": "torch.set_default_device('meta')\n",
    "moved there": "Block().to('meta')\n",
    "options": "options = {'device': 'meta'}\n",
    "Accelerate": "import accelerate\nwith accelerate.init_empty_weights():\n    pass\n",
    "in a function": "def build(kind):\n    return torch.device(kind)\n\n\nbuild('meta')\n",
}
HANDLED = {
    "filled later": "def fill(m):\n    m.to_empty(device='cuda')\n",
    "asked for": "def fill(p):\n    return p.device.type == 'meta'\n",
    "asked for by its flag": "def fill(p):\n    return p.is_meta\n",
    "loaded there": "torch.load('weights.pt', map_location='meta')\n",
}
NOT_META = {
    "a docstring": '"""Nothing is ever on the "meta" device."""\n',
    "a folder": "os.path.join('data', 'meta')\nprint('a' + '/' + 'meta')\n",
    "a key": "options = {'meta': 1}\noptions['meta']\n",
    "an option": "dict(split='meta')\n",
    "another device": "nn.Linear(2, 2, device='cpu')\n",
    "a test of another kind": "def is_meta_file(name):\n    return name == 'meta'\n",
}


@pytest.mark.parametrize("text", META.values(), ids=META)
def test_modules_may_be_on_the_meta_device(text: str) -> None:
    assert facts(text).may_be_meta(NOTHING)


@pytest.mark.parametrize("text", HANDLED.values(), ids=HANDLED)
def test_what_is_not_followed_may_be_there_where_it_is_looked_for(text: str) -> None:
    found = facts(text)
    assert found.may_be_meta(UNKNOWN)


@pytest.mark.parametrize("text", NOT_META.values(), ids=NOT_META)
def test_no_module_is_on_the_meta_device(text: str) -> None:
    assert not facts(text).may_be_meta(UNKNOWN)
    assert facts(text).may_be_meta(UNKNOWN, is_asked=True)


def test_a_program_is_all_files_that_imports_connect() -> None:
    others = {"data.py": "import torch\n\ntorch.cuda.set_device(0)\n"}
    assert facts("import data\n", others).sets_cuda_device
    assert not facts("", others).sets_cuda_device


# ---------------------------------------------------------------------- buffers and BatchNorm
NET = """\
class Net(nn.Module):
    '''register_buffer, BatchNorm, timm'''
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        {init}

    def forward(self, x):
        return self.linear(x)


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(1))
        self.norm = nn.BatchNorm1d(4)


def wrap(given):
    {made}
    return FSDP(net)
"""


def asked(init: str = "pass", made: str = "net = Net()", head: str = "") -> tuple[bool, bool, str]:
    """Whether there may be buffers, some that are not saved, and why there may be BatchNorm."""
    found = facts(head + NET.format(init=init, made=made))
    (fact,) = found.analysis.wraps.values()
    return (
        found.may_hold_buffers(fact.inner),
        found.has_unsaved_buffers(fact.inner),
        found.may_hold_batch_norm(fact.inner),
    )


def test_words_and_other_classes_say_nothing_of_a_model() -> None:
    assert asked() == (False, False, "")


@pytest.mark.parametrize(
    ("init", "unsaved"),
    [
        ("self.register_buffer('x', torch.ones(1))", False),
        ("self.register_buffer('x', torch.ones(1), persistent=False)", True),
        ("self.register_buffer('x', torch.ones(1), False)", True),
        ("register = self.register_buffer; register('x', torch.ones(1))", False),
        ("self.linear.register_buffer('x', torch.ones(1))", False),
        ("self.x = nn.Buffer(torch.ones(1))", False),
        ("self.norm = nn.InstanceNorm1d(4)", False),
        ("nn.utils.spectral_norm(self.linear)", False),
    ],
)
def test_buffers(init: str, unsaved: bool) -> None:
    assert asked(init)[:2] == (True, unsaved)


def test_batch_norm() -> None:
    assert "BatchNorm" in asked("self.norms = nn.ModuleList([nn.BatchNorm2d(4)])")[2]
    assert "BatchNorm" in asked(made="net = nn.Sequential(Other())")[2]


def test_models_of_other_libraries_may_have_everything() -> None:
    head = "import torchvision\n"
    buffers, unsaved, norm = asked(made="net = torchvision.models.resnet18()", head=head)
    assert buffers
    assert unsaved
    assert "`torchvision.models.resnet18` may have some" in norm


@pytest.mark.parametrize(
    ("library", "name", "has"),
    [
        ("transformers", "AutoModelForCausalLM.from_pretrained", False),
        ("fms.models.llama", "LLaMA", False),
        ("mamba_ssm.models.mixer_seq_simple", "MambaLMHeadModel", False),
        ("gpt", "Thing", True),
        ("nets.vision", "ResNet", True),
    ],
)
def test_language_models_have_no_batch_norm(library: str, name: str, has: bool) -> None:
    head = f"from {library} import {name.partition('.')[0]}\n"
    assert bool(asked(made=f"net = {name}('x')", head=head)[2]) == has


def test_a_model_that_is_not_followed_may_be_any_of_the_program() -> None:
    buffers, unsaved, norm = asked(made="net = given")
    assert buffers
    assert unsaved
    assert "known only at run time" in norm


def test_frameworks_are_those_that_are_called_or_derived_from() -> None:
    assert facts("import timm\ntimm.create_model('x')\n").uses("timm.")
    assert not facts("import timm\n").uses("timm.")
