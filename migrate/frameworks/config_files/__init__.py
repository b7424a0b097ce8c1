"""Configuration files that switch FSDP1 on: pure functions from their text to a new one.

Nothing but the settings that change is touched: comments, the order of keys, quotes, indentation
and line ends stay, and so does every byte of the other lines.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdp_migrate.findings.finding import Finding
    from fsdp_migrate.syntax.source import Source

YAML = frozenset({".yaml", ".yml"})
JSON = frozenset({".json"})
LARGEST = 1 << 18  # bytes; what is larger holds data
_TELLING = re.compile(
    rb"\bfsdp(?:_\w+)?[\"']?[ \t]*:|\btransformer_layer_cls_to_wrap\b|\b(?:back|for)ward_prefetch\b"
    rb"|\bsync_module_states\b|\buse_orig_params\b|\blimit_all_gathers\b"
)


def is_config(name: str) -> bool:
    """Whether a file can be a configuration file, by its name."""
    return name.endswith((".yaml", ".yml", ".json"))


def mentions_fsdp(data: bytes) -> bool:
    """Whether a configuration file may be about FSDP, by its bytes."""
    return len(data) <= LARGEST and _TELLING.search(data) is not None


def convert(source: Source, *, trusted: bool = True) -> tuple[str, list[Finding]]:
    """The text with FSDP2's settings, and what there is to say about it.

    `trusted` says that settings of FSDP without another sign of their owner are a framework's.
    """
    if PurePath(source.path).suffix in YAML:
        from fsdp_migrate.frameworks.config_files.accelerate_yaml import convert_yaml

        return convert_yaml(source.text, source.path, trusted=trusted)
    from fsdp_migrate.frameworks.config_files.hf_json import convert_json

    return convert_json(source.text, source.path, trusted=trusted)
