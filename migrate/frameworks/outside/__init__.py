"""FSDP1 where no Python stands: scripts, notebooks, and configurations that name its classes.

Nothing is rewritten there.  What switches FSDP1 on, or makes its classes, is listed with the line
and with what to write.  Which files are read is said here, by their names and their bytes.
"""

from __future__ import annotations

import os
import re

from fsdp_migrate.frameworks import config_files

NOTEBOOK = ".ipynb"
STUB = ".pyi"
LARGEST_NOTEBOOK = 1 << 25  # bytes; pictures are in them
_SCRIPTS = (
    ".bash", ".bat", ".cfg", ".cmd", ".dockerfile", ".env", ".fish", ".ini", ".job", ".jsonnet",
    ".just", ".ksh", ".lsf", ".make", ".mk", ".pbs", ".ps1", ".sbatch", ".sge", ".sh", ".slurm",
    ".toml", ".zsh",
)  # fmt: skip
_PLAIN = ("containerfile", "dockerfile", "gnumakefile", "justfile", "makefile", "procfile")
_TELLING = re.compile(
    rb"\bdistributed\.fsdp\b|\bFSDP(?:Strategy|Precision|MixedPrecision)|"
    rb"\bFullyShardedDataParallel|--\\?[\"']?fsdp\b|--(?:use|fsdp)[_-]\w|\bACCELERATE_USE_FSDP\b|"
    rb"\bstrategy[\"']?[ \t]*[=: \t][ \t]*[\"']?fsdp|\bDDPFullyShardedNative"
)


def is_other(name: str) -> bool:
    """Whether a file that is no Python can name FSDP, by its name: a configuration or a script."""
    return config_files.is_config(name) or is_script(name) or name.endswith(NOTEBOOK)


def is_read_too(name: str) -> bool:
    """Whether a file that is found in a folder, and is no Python file, can speak of FSDP."""
    return is_other(name) or has_no_suffix(name) or name.endswith(STUB)


def is_script(name: str) -> bool:
    """Whether a file is a script, or holds commands, by its name."""
    base = os.path.basename(name).lower()
    if "." not in base:
        return base in _PLAIN
    return base.endswith(_SCRIPTS) or base.partition(".")[0] in _PLAIN


def has_no_suffix(name: str) -> bool:
    """Whether only the first line of a file can say that it is a script."""
    return "." not in os.path.basename(name)


def largest(name: str) -> int:
    """The number of bytes above which a file holds data."""
    return LARGEST_NOTEBOOK if name.endswith(NOTEBOOK) else config_files.LARGEST


def mentions_fsdp(name: str, data: bytes) -> bool:
    """Whether a file that is no Python may be about FSDP1, by its bytes."""
    if len(data) > largest(name):
        return False
    if config_files.is_config(name):
        return config_files.mentions_fsdp(data) or _TELLING.search(data) is not None
    if has_no_suffix(name) and not is_script(name) and not data.startswith(b"#!"):
        return False
    return _TELLING.search(data) is not None
