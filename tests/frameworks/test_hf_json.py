"""JSON of Transformers and Accelerate: what changes, and that nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.frameworks.config_files.hf_json import convert_json

PATH = Path("fsdp.json")
ARGUMENTS = """\
{
    "output_dir": "out",
    "fsdp":   "shard_grad_op auto_wrap offload",
    "fsdp_config": {
        "backward_prefetch": "backward_pre",
        "transformer_layer_cls_to_wrap": ["A",
                                          "B"],
        "sync_module_states": "true",
        "cpu_ram_efficient_loading":true,
        "use_orig_params": "true"
    },
    "learning_rate": 1e-5
}
"""
ARGUMENTS_AFTER = """\
{
    "output_dir": "out",
    "fsdp":   true,
    "fsdp_config": {
        "transformer_layer_cls_to_wrap": ["A",
                                          "B"],
        "cpu_ram_efficient_loading":true,
        "reshard_after_forward": false,
        "cpu_offload": true,
        "version": 2
    },
    "learning_rate": 1e-5
}
"""


def convert(text: str) -> tuple[str, list[Finding]]:
    """Migrate a file, which must then be JSON still, with nothing left to migrate."""
    new, findings = convert_json(text, PATH)
    again, rest = convert_json(new, PATH)
    assert again == new
    if new != text:
        json.loads(new)
        assert not [f for f in rest if f.tier in (Tier.NATIVE, Tier.MANUAL)]
    return new, findings


def manual(text: str) -> str:
    """What is left to a person in a file that must not change."""
    new, findings = convert(text)
    assert new == text
    assert findings
    assert {f.tier for f in findings} == {Tier.MANUAL}
    return "\n".join(f.message for f in findings)


def arguments(words: object, **config: object) -> str:
    """A file of training arguments."""
    return json.dumps({"fsdp": words, "fsdp_config": config, "seed": 1}, indent=2)


# ---------------------------------------------------------------------- training arguments
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["    ", "  ", "\t"])
def test_a_whole_file(newline: str, indent: str) -> None:
    def styled(text: str) -> str:
        return text.replace("    ", indent).replace("\n", newline)

    new, findings = convert(styled(ARGUMENTS))
    assert new == styled(ARGUMENTS_AFTER)
    assert {f.tier for f in findings} == {Tier.NATIVE}


def test_findings_know_their_places() -> None:
    _, findings = convert(ARGUMENTS)
    assert [(f.line, f.col) for f in findings if "left out" in f.message] == [
        (5, 9),
        (8, 9),
        (10, 9),
    ]


def test_one_line() -> None:
    text = '{"a": 1, "fsdp": "full_shard auto_wrap", "fsdp_config": {"use_orig_params": true}}'
    new, _ = convert(text)
    assert new == (
        '{"a": 1, "fsdp": true, "fsdp_config": {"reshard_after_forward": true, "version": 2}}'
    )


def test_no_config() -> None:
    new, _ = convert('{\n  "fsdp": ["full_shard", "auto_wrap"]\n}')
    assert new == (
        '{\n  "fsdp": true,\n  "fsdp_config": {"version": 2, "reshard_after_forward": true}\n}'
    )


@pytest.mark.parametrize(
    ("words", "config"),
    [
        ("full_shard auto_wrap", {"reshard_after_forward": True}),
        ("FULL_SHARD AUTO_WRAP", {"reshard_after_forward": True}),
        ("shard_grad_op auto_wrap", {"reshard_after_forward": False}),
        (["shard_grad_op", "auto_wrap"], {"reshard_after_forward": False}),
        ("full_shard", {"reshard_after_forward": True, "auto_wrap_policy": "NO_WRAP"}),
        ("full_shard offload auto_wrap", {"reshard_after_forward": True, "cpu_offload": True}),
        ("auto_wrap", {"reshard_after_forward": True}),
        (True, {"reshard_after_forward": True}),
    ],
)
def test_words(words: object, config: dict[str, object]) -> None:
    new, _ = convert(arguments(words))
    data = json.loads(new)
    assert data == {"fsdp": True, "fsdp_config": {**config, "version": 2}, "seed": 1}


@pytest.mark.parametrize("words", ["hybrid_shard auto_wrap", "hybrid_shard_zero2", "HYBRID_SHARD"])
def test_hybrid_sharding_is_never_lost(words: str) -> None:
    assert "parallelism_config" in manual(arguments(words))
    assert "parallelism_config" in manual(arguments("full_shard", reshard_after_forward=words[:12]))
    assert "parallelism_config" in manual(arguments("full_shard", fsdp_sharding_strategy=4))


@pytest.mark.parametrize("words", ["no_shard", "NO_SHARD auto_wrap"])
def test_no_sharding_is_left_to_a_person(words: str) -> None:
    assert "DistributedDataParallel" in manual(arguments(words))
    assert "DistributedDataParallel" in manual(arguments("full_shard", sharding_strategy=3))


@pytest.mark.parametrize("value", ["full_shard", "1", "SHARD_GRAD_OP", 2, "true", False])
def test_a_strategy_in_the_config(value: object) -> None:
    """FSDP1 of Transformers 5 takes its name there."""
    new, _ = convert(arguments("full_shard auto_wrap", reshard_after_forward=value))
    config = json.loads(new)["fsdp_config"]
    assert config["reshard_after_forward"] is (value in ("full_shard", "1", "true"))


def test_size_based_wrapping_is_left_to_a_person() -> None:
    assert "ModuleList" in manual(arguments("full_shard auto_wrap", min_num_params=1000))
    new, _ = convert(arguments("full_shard auto_wrap", min_num_params=0))
    assert json.loads(new)["fsdp_config"]["min_num_params"] == 0


def test_what_was_never_read_does_not_come_to_life() -> None:
    new, findings = convert(
        arguments("full_shard auto_wrap", fsdp_offload_params=True, fsdp_sharding_strategy="1")
    )
    assert json.loads(new)["fsdp_config"] == {
        "fsdp_reshard_after_forward": True,
        "fsdp_version": 2,
    }
    assert sum("never read" in f.message for f in findings) == 2


def test_the_name_of_another_file() -> None:
    text = '{"fsdp": "full_shard auto_wrap", "fsdp_config": "fsdp.json"}'
    new, findings = convert(text)
    assert new == '{"fsdp": true, "fsdp_config": "fsdp.json"}'
    assert "fsdp.json needs version: 2" in findings[0].message
    assert "cpu_offload" in manual('{"fsdp": "full_shard offload", "fsdp_config": "fsdp.json"}')


def test_what_is_another_under_fsdp2_is_said() -> None:
    _, findings = convert(arguments("full_shard auto_wrap", activation_checkpointing=True))
    notes = [f for f in findings if f.tier is Tier.NOTE]
    assert {f.safety for f in notes} == {Safety.UNSAFE}
    assert len(notes) == 2


# ---------------------------------------------------------------------- fsdp_config
def test_a_config_on_its_own() -> None:
    """What the words of `fsdp` say isn't known: nothing is said about it."""
    text = """\
{
\t"backward_prefetch": "backward_pre",
\t"forward_prefetch": "false",
\t"limit_all_gathers": true,
\t"transformer_layer_cls_to_wrap": ["A"],
\t"auto_wrap_policy": "transformer_based_wrap",
\t"xla": false,
\t"use_orig_params": "true"
}
"""
    new, _ = convert(text)
    assert (
        new
        == """\
{
\t"transformer_layer_cls_to_wrap": ["A"],
\t"auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
\t"xla": false,
\t"version": 2
}
"""
    )


REMOVED = {
    "backward_prefetch": "backward_post",
    "backward_prefetch_policy": "BACKWARD_PRE",
    "forward_prefetch": True,
    "limit_all_gathers": "true",
    "sync_module_states": True,
    "use_orig_params": "false",
}
KEPT = {
    "activation_checkpointing": False,
    "cpu_ram_efficient_loading": True,
    "state_dict_type": "SHARDED_STATE_DICT",
    "transformer_layer_cls_to_wrap": ["A"],
    "xla": False,
    "xla_fsdp_v2": False,
}


@pytest.mark.parametrize("prefix", ["", "fsdp_"])
@pytest.mark.parametrize("name", REMOVED)
def test_settings_that_fsdp2_has_not(name: str, prefix: str) -> None:
    new, findings = convert(json.dumps({f"{prefix}{name}": REMOVED[name], f"{prefix}xla": False}))
    assert set(json.loads(new)) == {f"{prefix}xla", f"{prefix}version"}
    assert any(f"{prefix}{name} is left out" in f.message for f in findings)


# ---------------------------------------------------------------------- Accelerate
def test_accelerates_configuration() -> None:
    text = """\
{
  "distributed_type": "FSDP",
  "fsdp_config": {
    "fsdp_sharding_strategy": 4,
    "fsdp_use_orig_params": true
  },
  "num_machines": 2,
  "num_processes": 16
}
"""
    new, _ = convert(text)
    data = json.loads(new)
    assert data["fsdp_config"] == {
        "fsdp_reshard_after_forward": True,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_version": 2,
    }
    assert data["parallelism_config"] == {
        "parallelism_config_dp_replicate_size": 2,
        "parallelism_config_dp_shard_size": 8,
    }
    assert '    "fsdp_reshard_after_forward": true,\n' in new
    assert "MULTI_GPU" in manual(text.replace("4", '"NO_SHARD"'))


# ---------------------------------------------------------------------- other files
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{'fsdp': 'full_shard'}",
        "[1, 2]",
        '"fsdp_config"',
        '{"fsdp": ""}',
        '{"fsdp": false, "fsdp_config": {"min_num_params": 1}}',
        '{"fsdp": true, "fsdp_config": {"version": 2}}',
        '{"fsdp": true, "fsdp_config": "fsdp.json"}',
        '{"fsdp": "some text about it"}',
        '{"fsdp_config": {"param_offload": false}}',
        '{"transformer_layer_cls_to_wrap": ["A"], "learning_rate": 1}',
        '{"version": 2}',
        '{"xla": true, "transformer_layer_cls_to_wrap": ["A"]}',
    ],
)
def test_other_files_are_left_alone(text: str) -> None:
    assert convert(text) == (text, [])


def test_strings_are_not_looked_into() -> None:
    text = '{"a": "{\\"fsdp\\": [", "é\\u00e9": "}", "fsdp": "full_shard auto_wrap"}'
    new, _ = convert(text)
    assert new.startswith(text.partition('"full')[0] + "true, ")


# ---------------------------------------------------------------------- any file
@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, object], str]:
    """Training arguments, in any order and layout."""
    names = draw(st.lists(st.sampled_from(sorted(REMOVED | KEPT)), unique=True))
    config = {name: (REMOVED | KEPT)[name] for name in names}
    pairs = [("fsdp", "full_shard auto_wrap"), ("fsdp_config", config), ("a", [{}, {"b": "}"}])]
    data = dict(draw(st.permutations(pairs)))
    indent = draw(st.sampled_from([None, 0, 1, 4, "\t"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    return data, json.dumps(data, indent=indent, separators=separators)


@profile(deadline=None, max_examples=50)
@given(files())
def test_any_file(drawn: tuple[dict[str, object], str]) -> None:
    data, text = drawn
    new, findings = convert(text)
    assert not [f for f in findings if f.tier is Tier.MANUAL]
    config = data["fsdp_config"]
    assert isinstance(config, dict)
    kept = {name: value for name, value in config.items() if name in KEPT}
    expected = {**kept, "reshard_after_forward": True, "version": 2}
    assert json.loads(new) == {**data, "fsdp": True, "fsdp_config": expected}
    assert list(json.loads(new)) == list(data)


@pytest.mark.parametrize(
    ("text", "is_theirs"),
    [
        ('{"fsdp": true, "fsdp_config": {"wrap": "block"}}', False),
        ('{"fsdp": true, "fsdp_config": {"min_num_params": 100}}', True),
        ('{"fsdp": "full_shard", "fsdp_config": "fsdp.json"}', True),
        ('{"fsdp": true}', False),
    ],
)
def test_a_table_of_the_projects_own_is_left_alone(text: str, is_theirs: bool) -> None:
    _, findings = convert_json(text, PATH, trusted=False)
    assert bool(findings) is is_theirs
