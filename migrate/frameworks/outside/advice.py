"""What to write instead of flags: found by migrating the settings that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks.config_files import accelerate
from fsdp_migrate.frameworks.config_files.hf_json import convert_json
from fsdp_migrate.frameworks.settings import DROPPED_SETTINGS

_NOWHERE = Path("flags.json")
_COUNTS = ("num_processes", "num_machines")


def accelerate_settings() -> frozenset[str]:
    """The settings of FSDP1 that Accelerate's launcher takes as flags."""
    return accelerate.KEPT | DROPPED_SETTINGS.keys() | {"reshard_after_forward"}


def flags_advice(given: Mapping[str, str]) -> str:
    """The flags of `accelerate launch` to write instead of those that are given."""
    config = {name: value for name, value in given.items() if name.startswith("fsdp_")}
    top: dict[str, object] = {"distributed_type": "FSDP", "fsdp_config": config}
    top.update({name: int(given[name]) for name in _COUNTS if given.get(name, "").isdecimal()})
    top.update({"mixed_precision": given["mixed_precision"]} if "mixed_precision" in given else {})
    if not config:
        top["fsdp_config"] = {"fsdp_state_dict_type": "FULL_STATE_DICT"}
    new, findings = _converted(top)
    if new is None:
        return f"these flags of Accelerate's are FSDP1: {_left(findings)}"
    mesh = new.get("parallelism_config")
    flags = ["--use_fsdp"] if "use_fsdp" in given else []
    flags += ["--fsdp_version 2", *_flags(new["fsdp_config"], but="fsdp_version")]
    flags += ["--use_parallelism_config", *_flags(mesh)] if mesh else []
    return f"these flags of Accelerate's are FSDP1; write {' '.join(flags)}{_notes(findings)}"


def environment_advice(texts: Sequence[str]) -> str:
    """The variables to set beside `ACCELERATE_USE_FSDP`."""
    config: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name.startswith("FSDP_") and value:
            config[name.lower()] = value
    top = {"distributed_type": "FSDP", "fsdp_config": config}
    if not config:
        top["fsdp_config"] = {"fsdp_state_dict_type": "FULL_STATE_DICT"}
    new, findings = _converted(top)
    said = "these variables switch Accelerate's FSDP1 on"
    if new is None:
        return f"{said}: {_left(findings)}"
    table = new["fsdp_config"]
    assert isinstance(table, dict)
    wanted = " ".join(f"{name.upper()}={_written(value)}" for name, value in table.items())
    return f"{said}; set {wanted}{_notes(findings)}"


def trainer_advice(words: Sequence[str], given: Mapping[str, str]) -> str:
    """The flags of Transformers' Trainer to write instead of `--fsdp`."""
    top: dict[str, object] = {"fsdp": " ".join(words) or True}
    config = {
        name.removeprefix("fsdp_"): given[name]
        for name in ("fsdp_transformer_layer_cls_to_wrap", "fsdp_min_num_params")
        if given.get(name)
    }
    file = given.get("fsdp_config", "")
    if file and not config:
        top["fsdp_config"] = file
    elif config:
        top["fsdp_config"] = config
    new, findings = _converted(top)
    if new is None:
        return f"--fsdp of Transformers' Trainer is FSDP1: {_left(findings)}"
    if isinstance(new.get("fsdp_config"), str):
        return (
            f"--fsdp of Transformers' Trainer is FSDP1; write --fsdp true, and give {file} "
            f'"version": 2 (Transformers 5){_notes(findings)}'
        )
    table = json.dumps(new["fsdp_config"])
    return (
        "--fsdp of Transformers' Trainer is FSDP1; write --fsdp true --fsdp_config fsdp.json, "
        f"and into that file {table} (Transformers 5){_notes(findings)}"
    )


def _converted(top: Mapping[str, object]) -> tuple[dict[str, object] | None, list[Finding]]:
    """What the settings become; None if something of them is left to a person."""
    text, findings = convert_json(json.dumps(top), _NOWHERE, trusted=True)
    if any(item.tier is Tier.MANUAL for item in findings):
        return None, findings
    new = json.loads(text)
    assert isinstance(new, dict)
    return new, findings


def _left(findings: Sequence[Finding]) -> str:
    found = (item.message for item in findings if item.tier is Tier.MANUAL)
    return "; ".join(found).replace(" (nothing else is changed here before that)", "")


def _notes(findings: Sequence[Finding]) -> str:
    return "".join(f"; {item.message}" for item in findings if item.tier is Tier.NOTE)


def _flags(table: object, but: str = "") -> list[str]:
    assert isinstance(table, dict)
    return [f"--{name} {_written(value)}" for name, value in table.items() if name != but]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
