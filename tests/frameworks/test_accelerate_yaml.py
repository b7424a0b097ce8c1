"""Accelerate's YAML: what changes, and that nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from ruamel.yaml import YAML

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.frameworks.config_files.accelerate_yaml import convert_yaml

PATH = Path("fsdp.yaml")
WHOLE = """\
# started by: accelerate launch --config_file fsdp.yaml
compute_environment: LOCAL_MACHINE   # not a cloud
debug: false
distributed_type: FSDP
downcast_bf16: 'no'
fsdp_config:
  fsdp_activation_checkpointing: false
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_backward_prefetch: BACKWARD_PRE
  # big models are loaded once
  fsdp_cpu_ram_efficient_loading: true
  fsdp_forward_prefetch: false
  fsdp_offload_params: false
  fsdp_sharding_strategy: FULL_SHARD   # ZeRO 3
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_sync_module_states: true
  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer,"MyLayer"
  fsdp_use_orig_params: true  # for adapters
machine_rank: 0
main_training_function: main
mixed_precision: 'no'
num_machines: 2
num_processes: 16
rdzv_backend: static
"""
WHOLE_AFTER = """\
# started by: accelerate launch --config_file fsdp.yaml
compute_environment: LOCAL_MACHINE   # not a cloud
debug: false
distributed_type: FSDP
downcast_bf16: 'no'
fsdp_config:
  fsdp_activation_checkpointing: false
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  # big models are loaded once
  fsdp_cpu_ram_efficient_loading: true
  fsdp_offload_params: false
  fsdp_reshard_after_forward: true   # ZeRO 3
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer,"MyLayer"
  fsdp_version: 2
  # for adapters
machine_rank: 0
main_training_function: main
mixed_precision: 'no'
num_machines: 2
num_processes: 16
rdzv_backend: static
"""
HYBRID = """\
parallelism_config:
  parallelism_config_dp_replicate_size: 2
  parallelism_config_dp_shard_size: 8
"""


def convert(text: str) -> tuple[str, list[Finding]]:
    """Migrate a file, which must then have nothing left to migrate."""
    new, findings = convert_yaml(text, PATH)
    again, rest = convert_yaml(new, PATH)
    assert again == new
    assert new == text or not [f for f in rest if f.tier in (Tier.NATIVE, Tier.MANUAL)]
    return new, findings


def manual(text: str) -> str:
    """What is left to a person in a file that must not change."""
    new, findings = convert(text)
    assert new == text
    assert findings
    assert {f.tier for f in findings} == {Tier.MANUAL}
    return "\n".join(f.message for f in findings)


def load(text: str) -> dict[str, object]:
    """What a program reads from a file."""
    data = YAML(typ="safe").load(text)
    assert isinstance(data, dict)
    return data


def settings(text: str) -> dict[str, object]:
    """The FSDP part of it."""
    config = load(text)["fsdp_config"]
    assert isinstance(config, dict)
    return config


def with_strategy(value: str, name: str = "fsdp_sharding_strategy") -> str:
    """The whole file with another strategy."""
    return WHOLE.replace("fsdp_sharding_strategy: FULL_SHARD", f"{name}: {value}")


# ---------------------------------------------------------------------- golden
def test_a_whole_file() -> None:
    new, findings = convert(WHOLE)
    assert new == WHOLE_AFTER
    assert {f.tier for f in findings} == {Tier.NATIVE}
    assert [(f.line, f.col) for f in findings] == [
        (7, 3),
        (9, 3),
        (12, 3),
        (14, 3),
        (16, 3),
        (18, 3),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n# the end\n"])
def test_line_ends_and_the_end_of_the_file_are_kept(newline: str, end: str) -> None:
    before = (with_strategy("HYBRID_SHARD").rstrip("\n") + end).replace("\n", newline)
    new, _ = convert(before)
    assert ("\r" in new) == (newline == "\r\n")
    assert new.replace("\r\n", "\n").count("\n") == new.count("\n")
    assert new.endswith(end.replace("\n", newline))
    assert new.endswith(newline) == before.endswith(newline)
    assert load(new)["parallelism_config"]


def test_lines_that_need_not_change_stay_as_they_are() -> None:
    odd = WHOLE.replace("debug: false", "debug:    False").replace("rank: 0", 'rank:   "0"  #0')
    new, _ = convert(odd)
    kept = [line for line in odd.splitlines() if "fsdp" not in line or "config" in line]
    assert [line for line in new.splitlines() if line in kept] == kept


def test_keys_and_values_keep_their_quotes() -> None:
    text = "distributed_type: FSDP\nfsdp_config:\n    'fsdp_sharding_strategy': \"2\"\n"
    new, _ = convert(text)
    assert "    'fsdp_reshard_after_forward': false\n" in new


def test_every_comment_is_kept() -> None:
    text = "".join(f"{line}  # {i}\n" for i, line in enumerate(with_strategy("4").splitlines()))
    new, _ = convert(text)
    for comment in re.findall(r"# .*", text):
        assert comment in new


# ---------------------------------------------------------------------- strategies
@pytest.mark.parametrize("name", ["fsdp_sharding_strategy", "fsdp_reshard_after_forward"])
@pytest.mark.parametrize(
    ("written", "reshard", "hybrid"),
    [
        ("FULL_SHARD", True, False),
        ("full_shard", True, False),
        ('"FULL_SHARD"', True, False),
        ("1", True, False),
        ("'1'", True, False),
        ("SHARD_GRAD_OP", False, False),
        ("shard_grad_op", False, False),
        ("2", False, False),
        ("HYBRID_SHARD", True, True),
        ("Hybrid_Shard", True, True),
        ("4", True, True),
        ("'4'", True, True),
        ("HYBRID_SHARD_ZERO2", False, True),
        ("_HYBRID_SHARD_ZERO2", False, True),
        ("hybrid_shard_zero2", False, True),
        ("5", False, True),
    ],
)
def test_strategies(name: str, written: str, reshard: bool, hybrid: bool) -> None:
    """Names in any case and numbers; a number is never handed on as a number."""
    new, findings = convert(with_strategy(written, name))
    assert settings(new)["fsdp_reshard_after_forward"] is reshard
    assert "fsdp_sharding_strategy" not in settings(new)
    assert settings(new)["fsdp_version"] == 2
    assert "fsdp_reshard_after_forward: " + str(reshard).lower() + "   # ZeRO 3\n" in new
    assert (HYBRID in new) == hybrid
    assert any("replicas" in f.message for f in findings) == hybrid


@pytest.mark.parametrize("written", ["NO_SHARD", "no_shard", "3", "'3'"])
def test_no_sharding_is_left_to_a_person(written: str) -> None:
    assert "MULTI_GPU" in manual(with_strategy(written))


@pytest.mark.parametrize("written", ["0", "6", "FULL", "${STRATEGY}", "[1]"])
def test_what_is_no_strategy(written: str) -> None:
    assert "is no sharding strategy" in manual(with_strategy(written))


def test_both_names_of_the_strategy() -> None:
    text = with_strategy("SHARD_GRAD_OP").replace(
        "  fsdp_state", "  fsdp_reshard_after_forward: FULL_SHARD\n  fsdp_state"
    )
    new, _ = convert(text)
    assert settings(new)["fsdp_reshard_after_forward"] is False
    assert "fsdp_sharding_strategy" not in new


def test_a_flag_is_fsdp2s_already() -> None:
    new, _ = convert(with_strategy("true", "fsdp_reshard_after_forward"))
    assert settings(new)["fsdp_reshard_after_forward"] is True


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_processes: 16\n", ""),
        ("num_processes: 16", "num_processes: -1"),
        ("num_processes: 16", "num_processes: auto"),
        ("num_processes: 16", "num_processes: 15"),
        ("num_processes: 16", "num_processes: 2"),
        ("rdzv_backend: static", HYBRID.replace("8", "4")),
    ],
)
def test_hybrid_sharding_is_never_lost(old: str, new: str) -> None:
    assert "hybrid sharding" in manual(with_strategy("HYBRID_SHARD").replace(old, new))


def test_hybrid_sharding_on_one_machine_still_says_its_size() -> None:
    text = with_strategy("HYBRID_SHARD").replace("num_machines: 2\n", "")
    new, _ = convert(text)
    assert load(new)["parallelism_config"] == {
        "parallelism_config_dp_replicate_size": 1,
        "parallelism_config_dp_shard_size": 16,
    }


def test_an_empty_parallelism_config_is_filled() -> None:
    new, _ = convert(with_strategy("4") + "parallelism_config: {}\n")
    assert new.count("parallelism_config:") == 1
    assert HYBRID in new


# ---------------------------------------------------------------------- every setting
REMOVED = {
    "fsdp_backward_prefetch": "BACKWARD_POST",
    "fsdp_backward_prefetch_policy": "NO_PREFETCH",
    "fsdp_forward_prefetch": "true",
    "fsdp_limit_all_gathers": "true",
    "fsdp_sync_module_states": "true",
    "fsdp_use_orig_params": "false",
}
KEPT = {
    "fsdp_activation_checkpointing": "false",
    "fsdp_auto_wrap_policy": "NO_WRAP",
    "fsdp_cpu_ram_efficient_loading": "true",
    "fsdp_ignored_modules": "^head$",
    "fsdp_min_num_params": "100",
    "fsdp_offload_params": "true",
    "fsdp_state_dict_type": "FULL_STATE_DICT",
    "fsdp_transformer_cls_to_wrap": "A",
    "fsdp_transformer_layer_cls_to_wrap": "A",
}


def small(*lines: str) -> str:
    """A file with just these settings."""
    return "distributed_type: FSDP\nfsdp_config:\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize("name", REMOVED)
@pytest.mark.parametrize("prefix", ["fsdp_", ""])
def test_settings_that_fsdp2_has_not(name: str, prefix: str) -> None:
    """With the prefix or without: Accelerate's launcher puts it there."""
    key = prefix + name.removeprefix("fsdp_")
    new, findings = convert(small(f"{key}: {REMOVED[name]}  # why"))
    assert key not in settings(new)
    assert "# why" in new
    assert any(f.line == 3 and key in f.message for f in findings)
    assert settings(new)[f"{prefix}version"] == 2


@pytest.mark.parametrize("name", KEPT)
def test_settings_that_fsdp2_has(name: str) -> None:
    before = small(f"{name}: {KEPT[name]}  # why")
    new, findings = convert(before)
    assert f"  {name}: {KEPT[name]}  # why\n" in new
    assert not [f for f in findings if "unknown" in f.message]


def test_a_setting_that_nobody_knows_is_reported_and_kept() -> None:
    new, findings = convert(small("fsdp_device_mesh_shape: [4, 8]"))
    assert "fsdp_device_mesh_shape: [4, 8]\n" in new
    assert any(f.tier is Tier.NOTE and "fsdp_device_mesh_shape" in f.message for f in findings)


def test_the_default_kind_of_checkpoint_is_written_down() -> None:
    """FSDP1's is the full state dict, FSDP2's the sharded one."""
    new, findings = convert(small("fsdp_offload_params: false"))
    assert settings(new)["fsdp_state_dict_type"] == "FULL_STATE_DICT"
    assert any("was the default" in f.message for f in findings)


@pytest.mark.parametrize("written", ["LOCAL_STATE_DICT", "local_state_dict", "2"])
def test_local_state_dicts_are_left_to_a_person(written: str) -> None:
    assert "LOCAL_STATE_DICT" in manual(small(f"fsdp_state_dict_type: {written}"))


def test_size_based_wrapping_is_left_to_a_person() -> None:
    assert "ModuleList" in manual(small("fsdp_auto_wrap_policy: SIZE_BASED_WRAP"))
    text = small("fsdp_auto_wrap_policy: size_based_wrap", "fsdp_min_num_params: 0")
    assert settings(convert(text)[0])["fsdp_version"] == 2


@pytest.mark.parametrize("policy", ["fsdp_auto_wrap_policy: NO_WRAP", "fsdp_offload_params: false"])
def test_checkpointing_wants_a_wrap_policy(policy: str) -> None:
    assert "transformer_based_wrap" in manual(small(policy, "fsdp_activation_checkpointing: true"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (small("fsdp_cpu_ram_efficient_loading: false"), "rank 0's weights"),
        (small("fsdp_offload_params: false") + "mixed_precision: bf16\n", "buffers"),
        (
            small(
                "fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP",
                "fsdp_activation_checkpointing: true",
            ),
            "random state",
        ),
    ],
)
def test_what_is_another_under_fsdp2_is_said(text: str, said: str) -> None:
    _, findings = convert(text)
    (note,) = [f for f in findings if f.tier is Tier.NOTE]
    assert said in note.message
    assert note.safety is Safety.UNSAFE


# ---------------------------------------------------------------------- other forms
def test_between_braces() -> None:
    text = (
        "distributed_type: FSDP\n"
        "fsdp_config: {sharding_strategy: 4, use_orig_params: true}  # short\n"
        "num_processes: 8\n"
    )
    new, _ = convert(text)
    assert new == (
        "distributed_type: FSDP\n"
        "fsdp_config: {reshard_after_forward: true, state_dict_type: FULL_STATE_DICT, version: 2}"
        "  # short\n"
        "num_processes: 8\n"
        "parallelism_config:\n"
        "  parallelism_config_dp_replicate_size: 1\n"
        "  parallelism_config_dp_shard_size: 8\n"
    )


def test_several_documents() -> None:
    new, findings = convert("a: 1\n---\n" + small("fsdp_sharding_strategy: 1") + "---\nb: 2\n")
    assert new.startswith("a: 1\n---\ndistributed_type: FSDP\n")
    assert new.endswith("---\nb: 2\n")
    assert findings[0].line == 5


def test_inside_something_else() -> None:
    text = "jobs:\n  - accelerate:\n      distributed_type: FSDP\n      fsdp_config:\n"
    text += "        fsdp_sharding_strategy: 2\n      num_processes: 4\n"
    new, _ = convert(text)
    assert "        fsdp_reshard_after_forward: false\n        fsdp_state_dict_type: " in new


@pytest.mark.parametrize(
    "text",
    [
        small("fsdp_version: 2", "fsdp_reshard_after_forward: true"),
        "distributed_type: MULTI_GPU\nfsdp_config: {}\n",
        "distributed_type: DEEPSPEED\n",
        "actor:\n  strategy: fsdp\n  fsdp_config:\n    param_offload: false\n",
        "- 1\n- 2\n",
        "",
        "just text with fsdp_config in it\n",
    ],
)
def test_other_files_are_left_alone(text: str) -> None:
    assert convert(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        "x: &x\n  fsdp_sharding_strategy: 1\ndistributed_type: FSDP\nfsdp_config: *x\n",
        "x: &x\n  fsdp_a: 1\ndistributed_type: FSDP\nfsdp_config:\n  <<: *x\n  fsdp_b: 2\n",
        "distributed_type: FSDP\nfsdp_config:\n  fsdp_sharding_strategy: &s FULL_SHARD\n",
        "distributed_type: FSDP\n",
        "distributed_type: FSDP\nfsdp_config:\n",
        "distributed_type: FSDP\nfsdp_config: {{ config }}: x\n",
    ],
)
def test_what_cannot_be_edited_safely(text: str) -> None:
    assert manual(text)


@pytest.mark.parametrize("strategy", ["HYBRID_SHARD", "NO_SHARD"])
def test_fsdp2_that_still_names_a_strategy(strategy: str) -> None:
    """Accelerate's FSDP2 does not read it: the file doesn't do what it says."""
    text = small("fsdp_version: 2", f"fsdp_sharding_strategy: {strategy}")
    assert "out of account" in manual(text)


# ---------------------------------------------------------------------- other frameworks
def test_training_arguments() -> None:
    text = """\
learning_rate: 1.0e-5
fsdp: shard_grad_op auto_wrap  # how
fsdp_config:
  # which layers
  transformer_layer_cls_to_wrap: [A]
  limit_all_gathers: true
seed: 1
"""
    new, _ = convert(text)
    assert (
        new
        == """\
learning_rate: 1.0e-5
fsdp: true  # how
fsdp_config:
  # which layers
  version: 2
  reshard_after_forward: false
  transformer_layer_cls_to_wrap: [A]
seed: 1
"""
    )


def test_training_arguments_without_a_config() -> None:
    new, _ = convert("fsdp:\n  - full_shard  # zero 3\n  - auto_wrap\nseed: 1\n")
    assert new == (
        "fsdp: true  # zero 3\nfsdp_config:\n  version: 2\n  reshard_after_forward: true\nseed: 1\n"
    )


def test_axolotl_and_composer_are_told_what_to_do() -> None:
    assert "fsdp_version: 2" in manual(
        "base_model: x\nfsdp:\n  - full_shard\nfsdp_config:\n  fsdp_offload_params: true\n"
    )
    assert "FSDP_VERSION=2" in manual(
        "fsdp_config:\n  sharding_strategy: FULL_SHARD\n  mixed_precision: PURE\n"
    )


# ---------------------------------------------------------------------- any file
VALUES = {
    **{name: st.just(value) for name, value in (REMOVED | KEPT).items()},
    "fsdp_sharding_strategy": st.sampled_from(
        ["FULL_SHARD", "shard_grad_op", "1", "2", "4", "'5'"]
    ),
    "fsdp_auto_wrap_policy": st.sampled_from(["TRANSFORMER_BASED_WRAP", "NO_WRAP"]),
    "fsdp_state_dict_type": st.sampled_from(["FULL_STATE_DICT", "sharded_state_dict"]),
}


@st.composite
def files(draw: st.DrawFn) -> str:
    """An Accelerate configuration in any order and layout."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1))
    indent = " " * draw(st.integers(1, 4))
    lines = []
    for number, name in enumerate(names):
        if draw(st.booleans()):
            lines.append(f"{indent}# above {number}")
        comment = f"  # beside {number}" if draw(st.booleans()) else ""
        blank = " " * draw(st.integers(1, 3))
        lines.append(f"{indent}{name}:{blank}{draw(VALUES[name])}{comment}")
        if draw(st.integers(0, 4)) == 0:
            lines.append("")
    around = ["distributed_type: FSDP", "num_machines: 2", "num_processes: 16", "debug: false  # d"]
    at = draw(st.integers(0, len(around)))
    whole = [*around[:at], "fsdp_config:", *lines, *around[at:]]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(whole) + draw(st.sampled_from(["", newline]))


@profile(deadline=None, max_examples=50)
@given(files())
def test_any_file(text: str) -> None:
    new, findings = convert(text)
    assert not [f for f in findings if f.tier is Tier.MANUAL]
    old, config = settings(text), settings(new)
    assert not set(REMOVED) & set(config)
    assert "fsdp_sharding_strategy" not in config
    assert {k: v for k, v in old.items() if k in KEPT}.items() <= config.items()
    hybrid = str(old.get("fsdp_sharding_strategy")) in "45"
    assert ("parallelism_config" in load(new)) == hybrid
    assert sorted(re.findall(r"# \w+(?: \d+)?", text)) == sorted(re.findall(r"# \w+(?: \d+)?", new))
    assert {k: v for k, v in load(text).items() if k != "fsdp_config"}.items() <= load(new).items()
    assert new.endswith(("\n", "\r\n")) == text.endswith(("\n", "\r\n"))
