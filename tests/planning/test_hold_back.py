"""What is held back, by what, and what need not wait."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.findings.options import Options
from support.programs import Run, dedent, migrate

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType
"""
STATE_DICT_TYPE = "from torch.distributed.fsdp import StateDictType\n"
WRAP = "model = FSDP(nn.Linear(2, 2))\n"
LOCAL = """
with FSDP.state_dict_type(model, StateDictType.LOCAL_STATE_DICT):
    torch.save(model.state_dict(), "local.pt")
"""
CLIP = """
def clip(model):
    if isinstance(model, FSDP):
        model.clip_grad_norm_(1.0)
"""


def run(context: dict[str, str] | None = None, options: Options | None = None, **files: str) -> Run:
    """Migrate files by name, `lib__wrap` for lib/wrap.py; those of `context` aren't given."""
    given = {f"{name.replace('__', '/')}.py": dedent(text) for name, text in files.items()}
    return migrate(given, options, context)


def held(done: Run) -> list[Finding]:
    """The findings that wait for another one."""
    return [item for item in done.findings if item.held_by is not None]


# ---------------------------------------------------------------------- what stays together
@pytest.mark.parametrize(
    "other",
    [
        "from torch.distributed.fsdp import ShardingStrategy\n\nKIND = ShardingStrategy.NO_SHARD\n",
        "from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler\n"
        "\n\ndef scaler():\n    return ShardedGradScaler()\n",
        HEAD + CLIP,
        HEAD + "\n\ndef prepare(model: FSDP) -> FSDP:\n    return model\n",
        HEAD + '\n\ndef prepare(model: "FSDP"):\n    return model\n',
        "from torch.distributed.fsdp import CPUOffload\n\ndef options():\n    return CPUOffload\n",
    ],
)
def test_whatever_may_be_about_a_model_stays_with_it(other: str) -> None:
    used = "import other\n\nother.clip, other.prepare, other.scaler, other.options\n"
    done = run(other=other, train=HEAD + used + WRAP + LOCAL)
    assert not done.changed
    assert {item.held_by.path.name for item in held(done) if item.held_by} == {"train.py"}
    assert run(other=other, train=HEAD + used + WRAP).changed == ["other.py", "train.py"]


def test_a_class_that_derives_from_fsdp_keeps_its_users() -> None:
    net = HEAD + "\n\nclass Net(FSDP):\n    pass\n"
    train = "from net import Net\nfrom steps import clip\n\nclip(Net(1))\n"
    done = run(net=net, steps=HEAD + CLIP, train=train)
    assert not done.changed


def test_files_of_one_program_wait_for_each_other_through_what_imports_both() -> None:
    one = HEAD + "\n\ndef wrap(net):\n    return FSDP(net)\n"
    two = HEAD + "\n\ndef peek(it):\n    return FSDP._get_handle(it)\n"
    train = "import one\nimport two\n\ntwo.peek(one.wrap(None))\n"
    assert not run(one=one, two=two, train=train).changed


def test_a_definition_that_two_models_read_goes_with_both_or_stays() -> None:
    shared = """
    from torch.distributed.fsdp import MixedPrecision

    low = MixedPrecision(param_dtype=torch.bfloat16)
    actor = FSDP(nn.Linear(2, 2), mixed_precision=low)
    critic = FSDP(nn.Linear(2, 2), mixed_precision=low)
    print(critic._handle)
    """
    assert not run(train=HEAD + dedent(shared)).changed


def test_a_message_says_what_holds_back() -> None:
    done = run(train=HEAD + WRAP + LOCAL)
    (wrap,) = [item for item in done.findings if item.code == "FSDP101"]
    assert "held back by FSDP102 at /project/train.py:7" in wrap.message
    assert wrap.held_by is not None
    assert (wrap.held_by.line, wrap.held_by.code) == (7, "FSDP102")


# ---------------------------------------------------------------------- what need not wait
UNUSED = """
def save_locally(model):
    with FSDP.state_dict_type(model, StateDictType.LOCAL_STATE_DICT):
        torch.save(model.state_dict(), "local.pt")
"""
PEEK = "\n\ndef peek(it: FSDP):\n    return [h.flat_param for h in it._handles]\n"


@pytest.mark.parametrize("idle", [UNUSED, PEEK])
def test_an_unused_function_holds_nothing_back(idle: str) -> None:
    done = run(train=HEAD + idle + WRAP)
    assert done.changed == ["train.py"]
    assert "\nfully_shard(model)\n" in done.after["train.py"]
    assert any(item.tier is Tier.MANUAL for item in done.findings)
    assert done.after["train.py"].count(idle.strip()) == 1
    done = run(helpers=HEAD + idle, train=HEAD + "import helpers\n" + WRAP)
    assert "train.py" in done.changed


def test_a_function_that_only_an_unused_one_calls_is_unused() -> None:
    more = "\n\ndef save_all(model):\n    save_locally(model)\n"
    assert run(train=HEAD + UNUSED + more + WRAP).changed
    assert not run(train=HEAD + UNUSED + more + WRAP + "save_all(model)\n").changed


@pytest.mark.parametrize(
    "use",
    [
        "save_locally(model)\n",
        "hooks = [save_locally]\n",
        "hook = getattr(helpers, 'save_locally')\n",
        "__all__ = ['save_locally']\n",
        "print(globals())\n",
    ],
)
def test_what_is_named_anywhere_is_used(use: str) -> None:
    assert not run(train=HEAD + UNUSED + WRAP + use).changed


def test_a_library_is_taken_to_be_used_by_somebody() -> None:
    """Nothing calls its functions, and nothing runs without them."""
    assert not run(lib=HEAD + UNUSED + "\n\ndef build(net):\n    return FSDP(net)\n").changed


def test_another_program_does_not_hold_back() -> None:
    shared = "def learning_rate(step):\n    return 0.1 / step\n"
    imports = "import shared\n"
    one, two = HEAD + imports + WRAP, HEAD + imports + WRAP + LOCAL
    done = run(shared=shared, one=one, two=two)
    assert done.changed == ["one.py"]


def test_two_programs_wait_for_what_both_of_them_use() -> None:
    shared, imports = HEAD + CLIP, "from shared import clip\n"
    one, two = HEAD + imports + WRAP + "clip(model)\n", HEAD + imports + WRAP
    assert sorted(run(shared=shared, one=one, two=two).changed) == ["one.py", "shared.py", "two.py"]
    assert not run(shared=shared, one=one, two=two + LOCAL).changed


def test_a_function_is_part_of_the_programs_that_say_its_name() -> None:
    shared = (
        "from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler\n\n"
        "def scaler():\n    return ShardedGradScaler()\n\n"
        "def inner():\n    return scaler()\n\ndef rate(step):\n    return step\n"
    )
    one = HEAD + "import shared\n" + WRAP + "shared.inner()\n"
    two = HEAD + "import shared\n" + WRAP + LOCAL + "shared.rate(1)\n"
    assert run(shared=shared, one=one, two=two).changed == ["shared.py", "one.py"]
    assert not run(shared=shared, one=one, two=two + "shared.inner()\n").changed


def test_a_model_that_reads_nothing_of_a_configuration_need_not_wait_for_its_readers() -> None:
    cfg = (
        "from torch.distributed.fsdp import ShardingStrategy\n\n"
        "BY_NAME = {'full': ShardingStrategy.FULL_SHARD}\nRATE = 0.1\n"
    )
    wrap = "model = FSDP(nn.Linear(2, 2), sharding_strategy=cfg.BY_NAME['full'])\n"
    one = HEAD + "import cfg\n" + wrap
    two = HEAD.replace(STATE_DICT_TYPE, "import cfg\n") + WRAP + "print(cfg.RATE)\n"
    both = "import one\nimport two\n"
    assert run(cfg=cfg, one=one + LOCAL, two=two, both=both).changed == ["two.py"]
    done = run(cfg=cfg, one=one, two=two, both=both)
    assert done.changed == ["cfg.py", "one.py", "two.py"]


def test_models_of_one_file_need_not_wait_for_each_other() -> None:
    train = HEAD + WRAP + "other = FSDP(nn.Linear(2, 2))\nprint(other._handle)\n"
    done = run(train=train)
    assert "\nfully_shard(model)\n" in done.after["train.py"]
    assert "\nother = FSDP(nn.Linear(2, 2))\n" in done.after["train.py"]
    assert "import FullyShardedDataParallel as FSDP" in done.after["train.py"]


def test_what_never_worked_holds_nothing_back() -> None:
    copied = "import copy\n\nother = copy.deepcopy(model)\n"
    done = run(train=HEAD + WRAP + copied)
    assert any(item.tier is Tier.MANUAL for item in done.findings)
    assert done.changed


# ---------------------------------------------------------------------- what isn't given
LIB = HEAD + "\n\ndef shard(net):\n    return FSDP(net)\n"
KEEP = HEAD + (
    "\n\ndef keep(model):\n    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
    "        torch.save(model.state_dict(), 'm.pt')\n"
)
TRAIN = "from keep import keep\nfrom lib import shard\n\nkeep(shard(None))\n"


def test_a_file_that_is_not_given_holds_back_what_works_on_its_models() -> None:
    done = run(lib=LIB, context={"keep.py": KEEP, "train.py": TRAIN})
    assert not done.changed
    (said,) = [item for item in done.findings if item.code == "FSDP110"]
    assert said.path.name == "keep.py"
    assert "it isn't among the given paths" in said.message
    done = run(keep=KEEP, context={"lib.py": LIB, "train.py": TRAIN})
    assert not done.changed


def test_a_file_that_asks_to_be_left_alone_holds_back_too() -> None:
    done = run(lib=LIB, keep="# fsdp-migrate: ignore-file\n" + KEEP, train=TRAIN)
    assert not done.changed
    assert any("a comment in it says ignore-file" in item.message for item in done.findings)


def test_a_function_that_nothing_given_uses_is_named_and_holds_nothing_back() -> None:
    tool = HEAD + "from lib import shard\n\ndef peek(x):\n    FSDP.summon_full_params(shard(x))\n"
    train = "from lib import shard\n\nshard(None)\n"
    done = run(lib=LIB, train=train, context={"tool.py": tool})
    assert done.changed == ["lib.py"]
    assert [i.path.name for i in done.findings if i.code == "FSDP110"] == ["tool.py"]


def test_other_programs_that_are_not_given_are_not_spoken_of() -> None:
    done = run(train=HEAD + WRAP, context={"other.py": HEAD + WRAP + LOCAL})
    assert done.changed == ["train.py"]
    assert {item.path.name for item in done.findings} == {"train.py"}


# ---------------------------------------------------------------------- what the user says
def test_a_comment_silences_its_line_and_holds_the_rest_back() -> None:
    comment = "  # fsdp-migrate: ignore[FSDP101]\n"
    done = run(train=HEAD + WRAP.rstrip() + comment + "model.clip_grad_norm_(1.0)\n")
    assert not done.changed
    assert all(item.code != "FSDP101" for item in done.findings)
    other = WRAP.rstrip() + comment.replace("FSDP101", "FSDP404")
    assert run(train=HEAD + other).changed


def test_a_comment_with_a_reason_takes_the_place_over() -> None:
    reason = "  # fsdp-migrate: ignore[FSDP102] our own loader reads these\n"
    done = run(train=HEAD + WRAP + LOCAL.replace(":\n", ":" + reason))
    assert done.changed
    assert done.after["train.py"].count("LOCAL_STATE_DICT") == 1


def test_what_is_ruled_out_stays_and_holds_the_rest_back() -> None:
    text = HEAD + WRAP + "model.clip_grad_norm_(1.0)\n"
    done = run(train=text, options=Options(ignore=("FSDP202",)))
    assert not done.changed
    said = {item.code: item.message for item in done.findings}
    assert "FSDP202" not in said
    assert "held back by FSDP202" in said["FSDP101"]
    assert run(train=text, options=Options(select=("FSDP",))).changed
    assert run(train=text, options=Options(ignore=("FSDP3",))).changed


OFFLOAD = """
from torch.distributed.fsdp import CPUOffload, FullyShardedDataParallel as FSDP

model = FSDP(net, cpu_offload=CPUOffload(True))
model.clip_grad_norm_(1.0)
for batch in batches:
    optimizer.zero_grad()
    for micro in batch.chunk(4):
        model(micro).sum().backward()
    optimizer.step()
"""
ANOTHER_DTYPE = """
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, MixedPrecision

model = FSDP(net, mixed_precision=MixedPrecision(torch.bfloat16, torch.float32))
for batch in batches:
    with model.no_sync():
        model(batch[0]).sum().backward()
    model(batch[1]).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize("text", [OFFLOAD, ANOTHER_DTYPE])
def test_what_can_change_a_run_can_be_ruled_out(text: str) -> None:
    usual = run(train=text)
    assert usual.changed
    assert any(item.safety is Safety.UNSAFE for item in usual.findings)
    done = run(train=text, options=Options(safe_only=True))
    assert not done.changed
    assert {item.tier for item in done.findings} <= {Tier.MANUAL, Tier.NOTE}
    assert any("change the outcome of a run (--safe-only)" in i.message for i in done.findings)
    assert run(train=HEAD + WRAP, options=Options(safe_only=True)).changed


def test_the_shim_can_be_ruled_out() -> None:
    text = """
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy

    def wrap(module, name):
        return FSDP(module, sharding_strategy=ShardingStrategy(name).value)
    """
    assert any(item.tier is Tier.SHIM for item in run(train=text).findings)
    done = run(train=text, options=Options(runtime="never"))
    assert not done.changed
    assert any("the shim is ruled out (--runtime never)" in item.message for item in done.findings)
    assert any(".  Without the shim, write " in item.message for item in done.findings)


def test_what_to_write_instead_of_the_shim_is_said() -> None:
    text = f"""{HEAD}
def f(net, inputs):
    model = FSDP(net)
    with FSDP.summon_full_params(model, with_grads=True):
        print(model(inputs))
"""
    (shim,) = [item for item in run(train=text).findings if item.tier is Tier.SHIM]
    done = run(train=text, options=Options(runtime="never"))
    (left,) = [item for item in done.findings if item.place == shim.place]
    assert "ruled out (--runtime never): gather what is read with `p.full_tensor()`" in left.message
