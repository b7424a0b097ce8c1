"""Frameworks in Python: every argument is dealt with, and nothing is lost across files."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.finding import Tier
from support import contract
from support.programs import Run, migrate

# Every field of Accelerate's plugin but `fsdp_version`, and what becomes of it.
REMOVED = {
    "backward_prefetch": '"BACKWARD_PRE"',
    "forward_prefetch": "True",
    "limit_all_gathers": "True",
    "optim_state_dict_config": "None",
    "param_init_fn": "None",
    "state_dict_config": "None",
    "sync_module_states": "True",
    "use_orig_params": "False",
}
KEPT = {
    "activation_checkpointing": "False",
    "activation_checkpointing_offload": "False",
    "auto_wrap_policy": '"transformer_based_wrap"',
    "cpu_offload": "True",
    "cpu_ram_efficient_loading": "True",
    "ignored_modules": '"head"',
    "min_num_params": "100",
    "mixed_precision_policy": '"bf16"',
    "state_dict_type": '"FULL_STATE_DICT"',
    "transformer_cls_names_to_wrap": '["Block"]',
}
MANUAL = {
    "auto_wrap_policy": '"SIZE_BASED_WRAP"',
    "param_init_fn": "print",
    "sharding_strategy": "print()",
    "state_dict_type": '"LOCAL_STATE_DICT"',
}


def plugin(arguments: str) -> Run:
    """A program that makes a plugin."""
    run = migrate(
        "from accelerate import FullyShardedDataParallelPlugin\n\n"
        f"plugin = FullyShardedDataParallelPlugin({arguments})\n"
    )
    contract.check(run)
    return run


def told(run: Run) -> str:
    """What is left to a person."""
    return "\n".join(f.message for f in run.findings if f.tier is Tier.MANUAL)


# ---------------------------------------------------------------------- Accelerate
@pytest.mark.parametrize("name", REMOVED)
def test_arguments_that_fsdp2_has_not(name: str) -> None:
    after = plugin(f"{name}={REMOVED[name]}").after["train.py"]
    assert f"{name}=" not in after
    assert "fsdp_version=2" in after


@pytest.mark.parametrize("name", KEPT)
def test_arguments_that_fsdp2_has(name: str) -> None:
    after = plugin(f"{name}={KEPT[name]}").after["train.py"]
    assert f"{name}={KEPT[name]}" in after
    assert "fsdp_version=2" in after


@pytest.mark.parametrize("name", MANUAL)
def test_arguments_for_a_person(name: str) -> None:
    run = plugin(f"{name}={MANUAL[name]}")
    assert not run.changed
    assert told(run)


@pytest.mark.parametrize("arguments", ["1", "**options", "*options", "fsdp_version=version"])
def test_arguments_that_cannot_be_told_apart(arguments: str) -> None:
    run = plugin(arguments)
    assert not run.changed
    assert told(run)


@pytest.mark.parametrize("name", ["sharding_strategy", "reshard_after_forward"])
@pytest.mark.parametrize(
    ("written", "reshard"),
    [
        ('"FULL_SHARD"', True),
        ('"full_shard"', True),
        ("1", True),
        ('"1"', True),
        ('"SHARD_GRAD_OP"', False),
        ("2", False),
    ],
)
def test_strategies(name: str, written: str, reshard: bool) -> None:
    after = plugin(f"{name}={written}").after["train.py"]
    assert f"reshard_after_forward={reshard}" in after
    assert "sharding_strategy" not in after


@pytest.mark.parametrize("written", ['"HYBRID_SHARD"', "4", '"5"', '"hybrid_shard_zero2"'])
def test_hybrid_sharding_is_never_lost(written: str) -> None:
    run = plugin(f"sharding_strategy={written}")
    assert not run.changed
    assert "ParallelismConfig" in told(run)


@pytest.mark.parametrize("written", ['"NO_SHARD"', "3", '"no_shard"'])
def test_no_sharding_is_left_to_a_person(written: str) -> None:
    run = plugin(f"sharding_strategy={written}")
    assert not run.changed
    assert "DistributedDataParallel" in told(run)


def test_hybrid_sharding_across_files() -> None:
    run = migrate(
        {
            "plugins.py": (
                "from accelerate import FullyShardedDataParallelPlugin\n\n\n"
                "def make():\n"
                '    return FullyShardedDataParallelPlugin(sharding_strategy="HYBRID_SHARD")\n'
            ),
            "train.py": (
                "from accelerate import Accelerator\n\nfrom plugins import make\n\n"
                "accelerator = Accelerator(fsdp_plugin=make())\n"
            ),
        }
    )
    contract.check(run)
    assert "fsdp_version=2" in run.after["plugins.py"]
    assert "parallelism_config=ParallelismConfig(" in run.after["train.py"]


@pytest.mark.parametrize(
    "taker",
    [
        "Accelerator(fsdp_plugin=plugin if flag else None)",
        "Accelerator(fsdp_plugin=plugin, parallelism_config=config)",
        "Accelerator(fsdp_plugin=plugin, **options)",
        "[Accelerator(fsdp_plugin=plugin), Accelerator(fsdp_plugin=plugin)]",
    ],
)
def test_hybrid_sharding_wants_one_accelerator(taker: str) -> None:
    run = migrate(
        "from accelerate import Accelerator, FullyShardedDataParallelPlugin\n\n"
        "plugin = FullyShardedDataParallelPlugin(sharding_strategy=4)\n"
        f"accelerator = {taker}\n"
    )
    contract.check(run)
    assert not run.changed
    assert "ParallelismConfig" in told(run)


def test_what_another_file_makes_waits_for_the_plugin() -> None:
    """Else the precision would become the shim's, which Accelerate doesn't take."""
    run = migrate(
        {
            "precision.py": (
                "import torch\nfrom torch.distributed.fsdp import MixedPrecision\n\n"
                "bf16 = MixedPrecision(param_dtype=torch.bfloat16)\n"
            ),
            "train.py": (
                "from accelerate import FullyShardedDataParallelPlugin\n\n"
                "from precision import bf16\n\n"
                "plugin = FullyShardedDataParallelPlugin(mixed_precision_policy=bf16)\n"
            ),
        }
    )
    contract.check(run)
    assert not run.changed
    assert "MixedPrecisionPolicy" in told(run)


def test_a_dict_of_dtypes() -> None:
    after = plugin(
        'mixed_precision_policy={"param_dtype": a, "reduce_dtype": b, "buffer_dtype": a}'
    ).after["train.py"]
    assert '{"param_dtype": a, "reduce_dtype": b, "output_dtype": a}' in after


def test_low_precision_of_the_accelerator_is_said() -> None:
    run = migrate(
        "from accelerate import Accelerator, FullyShardedDataParallelPlugin\n\n"
        "plugin = FullyShardedDataParallelPlugin(sharding_strategy=1)\n"
        'accelerator = Accelerator(mixed_precision="bf16", fsdp_plugin=plugin)\n'
    )
    assert any("buffers" in f.message for f in run.findings)


@pytest.mark.parametrize(
    ("call", "fits"),
    [
        ("model, optimizer, loader = accelerator.prepare(model, optimizer, loader)", True),
        ("loader = accelerator.prepare(loader)", True),
        ("model = accelerator.prepare(model)", False),
        ("model, loader = accelerator.prepare(model, loader)", False),
        ("model, other, optimizer = accelerator.prepare(model, model, optimizer)", False),
    ],
)
def test_prepare_takes_a_model_with_its_optimizer(call: str, fits: bool) -> None:
    run = migrate(
        "import torch\nfrom accelerate import Accelerator, FullyShardedDataParallelPlugin\n\n"
        "plugin = FullyShardedDataParallelPlugin(sharding_strategy=1)\n"
        "accelerator = Accelerator(fsdp_plugin=plugin)\n"
        "model = torch.nn.Linear(2, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "loader = torch.utils.data.DataLoader([1])\n"
        f"{call}\n"
    )
    assert bool(run.changed) == fits
    assert ("prepare" in told(run)) != fits


# ---------------------------------------------------------------------- Transformers
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('"full_shard auto_wrap"', '"reshard_after_forward": True'),
        ('"shard_grad_op auto_wrap"', '"reshard_after_forward": False'),
        ('["shard_grad_op", "auto_wrap"]', '"reshard_after_forward": False'),
        ('"full_shard offload auto_wrap"', '"cpu_offload": True'),
        ('"full_shard"', '"auto_wrap_policy": "NO_WRAP"'),
        ('"hybrid_shard auto_wrap"', "parallelism_config=ParallelismConfig("),
        ('"hybrid_shard_zero2 auto_wrap"', "parallelism_config=ParallelismConfig("),
    ],
)
@pytest.mark.parametrize("config", ["", ", fsdp_config={}", ', fsdp_config={"use_orig_params": 1}'])
def test_words(words: str, said: str, config: str) -> None:
    run = migrate(
        "from transformers import TrainingArguments\n\n"
        f'args = TrainingArguments("out", fsdp={words}{config})\n'
    )
    contract.check(run)
    after = run.after["train.py"]
    assert said in after
    assert '"version": 2' in after
    assert "fsdp=True" in after
    assert "use_orig_params" not in after


@pytest.mark.parametrize(
    "call",
    [
        'TrainingArguments("out")',
        'TrainingArguments("out", fsdp="")',
        'TrainingArguments("out", fsdp=[])',
        'TrainingArguments("out", fsdp=None, fsdp_config={"min_num_params": 1})',
        'TrainingArguments("out", fsdp=True, fsdp_config={"version": 2})',
        'TrainingArguments("out", fsdp="full_shard", fsdp_config={"fsdp_version": 2})',
        'TrainingArguments("out", fsdp="full_shard", fsdp_config={"xla": True})',
    ],
)
def test_nothing_of_fsdp1(call: str) -> None:
    run = migrate(f"from transformers import TrainingArguments\n\nargs = {call}\n")
    assert not run.changed
    assert not run.findings


def test_a_config_that_others_read_is_left_to_a_person() -> None:
    run = migrate(
        "from transformers import TrainingArguments\n\n"
        "config = {}\n"
        'args = TrainingArguments("out", fsdp="full_shard", fsdp_config=config)\n'
        "print(config)\n"
    )
    assert not run.changed
    assert '"version": 2' in told(run)


# ---------------------------------------------------------------------- Composer
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('{"sharding_strategy": "HYBRID_SHARD"}', "hybrid sharding"),
        ('{"data_parallel_replicate_degree": 2}', "hybrid sharding"),
        ('{"sharding_strategy": "NO_SHARD"}', "DistributedDataParallel"),
        ('{"sharding_strategy": strategy}', "run time"),
        ('{"mixed_precision": {"param_dtype": "bf16"}}', "by name"),
        ('{"cpu_offload": True}', "cpu_offload"),
        ('{"auto_wrap": False}', "auto_wrap"),
        ('{"unheard_of": 1}', "unheard_of"),
        ("settings", "put together"),
    ],
)
def test_composer_settings_for_a_person(settings: str, said: str) -> None:
    run = migrate(
        f'from composer import Trainer\n\nt = Trainer(parallelism_config={{"fsdp": {settings}}})\n'
    )
    assert not run.changed
    assert said in told(run)


@pytest.mark.parametrize(
    "settings",
    ["FSDP2Config()", "None", "FSDP2Config(reshard_after_forward=False)"],
)
def test_composer_settings_of_fsdp2(settings: str) -> None:
    run = migrate(
        "from composer import Trainer\nfrom composer.utils import FSDP2Config\n\n"
        f't = Trainer(parallelism_config={{"fsdp": {settings}}})\nprint(FSDP2Config)\n'
    )
    assert not run.findings


# ---------------------------------------------------------------------- Lightning
@pytest.mark.parametrize("home", ["lightning.pytorch", "pytorch_lightning"])
@pytest.mark.parametrize("strategy", ['"fsdp"', "strategies.FSDPStrategy()"])
def test_lightning_is_left_to_a_person(home: str, strategy: str) -> None:
    run = migrate(
        f"from {home} import Trainer, strategies\n\ntrainer = Trainer(strategy={strategy})\n"
    )
    assert not run.changed
    assert "ModelParallelStrategy(data_parallel_size" in told(run)
    assert "configure_model()" in told(run)


def test_lightning_knows_no_sharding() -> None:
    run = migrate(
        "from lightning.fabric.strategies import FSDPStrategy\n\n"
        'strategy = FSDPStrategy(sharding_strategy="NO_SHARD")\n'
    )
    assert told(run) == 'NO_SHARD is plain data parallelism; use strategy="ddp"'


# ---------------------------------------------------------------------- arguments that nobody knows
# Names that parts of the program have: none of them is looked up by what the user wrote.
MADE_UP = ("argument", "facts", "flag", "keep", "members", "plan", "result", "strategy", "use")


@pytest.mark.parametrize("name", MADE_UP)
def test_an_unknown_argument_of_the_plugin_is_reported_at_its_place(name: str) -> None:
    run = plugin(f'sharding_strategy="FULL_SHARD",\n    {name}=True,\n')
    assert not run.errors
    assert not run.changed
    (found,) = [f for f in run.findings if f"`{name}`" in f.message]
    assert found.tier is Tier.MANUAL
    assert found.line == 4


@pytest.mark.parametrize("name", [*MADE_UP, "fsdp_members"])
def test_an_unknown_key_of_a_config_stays_and_is_reported(name: str) -> None:
    run = migrate(
        "from transformers import TrainingArguments\n\n"
        'args = TrainingArguments("out", fsdp="full_shard auto_wrap", fsdp_config={\n'
        f'    "{name}": 1,  # mine\n'
        '    "use_orig_params": True,\n'
        "})\n"
    )
    contract.check(run)
    assert f'    "{name}": 1,  # mine\n' in run.after["train.py"]
    (found,) = [f for f in run.findings if f"`{name}`" in f.message]
    assert found.tier is Tier.NOTE
    assert found.line == 4


@pytest.mark.parametrize("name", MADE_UP)
def test_an_unknown_argument_of_lightnings_strategy_is_reported_at_its_place(name: str) -> None:
    run = migrate(
        "from lightning.pytorch.strategies import FSDPStrategy\n\n"
        f"strategy = FSDPStrategy(\n    limit_all_gathers=True,\n    {name}=1,\n)\n"
    )
    assert not run.errors
    assert [f.line for f in run.findings if f"`{name}`" in f.message] == [5]


@pytest.mark.parametrize("name", MADE_UP)
@pytest.mark.parametrize("form", ['{{\n    "{}": 1,\n}}', "FSDPConfig(\n    {}=1,\n)"])
def test_an_unknown_setting_of_composer_is_reported_at_its_place(name: str, form: str) -> None:
    run = migrate(
        "from composer import Trainer\nfrom composer.utils import FSDPConfig\n\n"
        f't = Trainer(parallelism_config={{"fsdp": {form.format(name)}}})\nprint(FSDPConfig)\n'
    )
    assert not run.errors
    assert not run.changed
    assert [f.line for f in run.findings if f"`{name}`" in f.message] == [5]


# -------------------------------------------------------------------- what stays as it was written
def test_the_lines_and_comments_of_a_plugin_stay() -> None:
    run = plugin(
        "\n    # how to shard\n"
        '    sharding_strategy="SHARD_GRAD_OP",  # less to send\n'
        "    use_orig_params=True,\n"
        "    cpu_offload=CPUOffload(offload_params=args.limit is not None),  # by {0}\n"
        '    state_dict_type="SHARDED_STATE_DICT",  # small files\n'
    )
    assert run.after["train.py"].partition("\n\n")[2] == (
        "plugin = FullyShardedDataParallelPlugin(\n"
        "    fsdp_version=2,\n"
        "    # how to shard\n"
        "    reshard_after_forward=False,  # less to send\n"
        "    cpu_offload=CPUOffload(offload_params=args.limit is not None),  # by {0}\n"
        '    state_dict_type="SHARDED_STATE_DICT",  # small files\n'
        ")\n"
    )


def test_a_condition_is_kept_with_its_parentheses() -> None:
    after = migrate(
        "from transformers import TrainingArguments\n\n"
        'args = TrainingArguments("out", fsdp="full_shard" if a or b else "", fsdp_config={})\n'
    ).after["train.py"]
    assert "fsdp=bool(a or b)" in after


# ---------------------------------------------------------------------- policies put in afterwards
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("plugin = FullyShardedDataParallelPlugin()\nplugin.auto_wrap_policy = print", "leaves"),
        ("Accelerator().state.fsdp_plugin.auto_wrap_policy = print", "leaves"),
        ("state = Accelerator().state\nstate.fsdp_plugin.auto_wrap_policy = print", "leaves"),
        ("p = Trainer().accelerator.state.fsdp_plugin\np.auto_wrap_policy = print", "leaves"),
        ("p = getattr(Accelerator().state, 'fsdp_plugin')\np.auto_wrap_policy = print", "leaves"),
        ("def f(a):\n    a.state.fsdp_plugin.auto_wrap_policy = print", "if this is"),
        ("my_fsdp_plugin = load()\nmy_fsdp_plugin.auto_wrap_policy = print", ""),
        ("class P: pass\nfsdp_plugin = P()\nfsdp_plugin.auto_wrap_policy = print", ""),
        ("p = FullyShardedDataParallelPlugin(fsdp_version=2)\np.auto_wrap_policy = print", ""),
    ],
)
def test_a_policy_that_a_plugin_gets_later(lines: str, said: str) -> None:
    run = migrate(
        "from accelerate import Accelerator, FullyShardedDataParallelPlugin\n"
        f"from transformers import Trainer\n\n{lines}\n"
    )
    found = [f.message for f in run.findings if "out of account" in f.message]
    assert len(found) == bool(said)
    if said == "if this is":
        assert found[0].startswith(said)
    elif found:
        assert not found[0].startswith("if")
