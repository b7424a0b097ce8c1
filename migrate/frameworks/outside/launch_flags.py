"""Flags on a command line that switch FSDP1 on: Accelerate's launcher, Transformers' Trainer.

A project's own program may have flags of the same names.  Accelerate's stand in a command of its
launcher, before the program; the Trainer's are known by their values, by the flags beside them, or
by the program that they are given to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.config_files.transformers import TRAINERS_OWN
from fsdp_migrate.frameworks.outside.advice import (
    accelerate_settings,
    environment_advice,
    flags_advice,
    trainer_advice,
)
from fsdp_migrate.frameworks.outside.around import Around
from fsdp_migrate.frameworks.outside.commands import (
    Command,
    Option,
    Word,
    commands,
    launched,
    options,
    program,
)

CODE = "FSDP621"
_ACCELERATE = frozenset(
    f"fsdp_{name}"
    for name in (*accelerate_settings(), "offload_params", "sharding_strategy", "version")
)
_TRAINERS = frozenset({"fsdp_config", "fsdp_transformer_layer_cls_to_wrap", "fsdp_min_num_params"})
_WORDS = settings.OPTIONS | {"any_wrap"}
_ON = re.compile(r"ACCELERATE_USE_FSDP[=:]?(true|1|yes)?$", re.IGNORECASE)


def listed(lines: Sequence[str], path: Path, around: Around) -> Iterator[Finding]:
    """What switches FSDP1 on in the commands of a text, a finding for each command."""
    found = list(commands(lines))
    launches = any(_is_launcher(word) for command in found for word in command)
    for command in found:
        for word, message in _said(command, launches, around):
            yield Finding(path, word.line, word.col, CODE, message, Tier.MANUAL)
    yield from _environment(found, path)


def _is_launcher(word: Word) -> bool:
    return os.path.basename(word.text).startswith("accelerate")


def _starts_python(word: Word) -> bool:
    """Whether a word starts a program without Accelerate's launcher."""
    return os.path.basename(word.text).startswith(("python", "torchrun", "deepspeed"))


def _said(command: Command, launches: bool, around: Around) -> Iterator[tuple[Word, str]]:
    start = launched(command, "accelerate", "launch")
    script = program(command, start or 0)
    before = command[start or 0 : script]
    given = options(before)
    if start is not None or (launches and not any(map(_starts_python, before))):
        at = _launcher_flag(given)
        if at is not None:
            yield at.word, flags_advice(_by_name(given))
    name = command[script].text if script is not None else None
    given = options(command[script:] if start is not None else command)
    flag = next((option for option in given if option.name == "fsdp"), None)
    if flag is not None and _is_trainers(flag, given, name, around):
        yield flag.word, trainer_advice(_words(flag), _by_name(given))


def _by_name(given: Sequence[Option]) -> Mapping[str, str]:
    return {option.name: option.value for option in given}


# ---------------------------------------------------------------------- Accelerate
def _launcher_flag(given: Sequence[Option]) -> Option | None:
    """The first flag of Accelerate's that is FSDP1's."""
    names = _by_name(given)
    if names.get("fsdp_version") == "2":
        return None
    known = (o for o in given if o.name == "use_fsdp" or o.name in _ACCELERATE)
    return next(known, None)


def _environment(found: Sequence[Command], path: Path) -> Iterator[Finding]:
    """Accelerate's variables of the environment."""
    texts = [word.text for command in found for word in command]
    if any(text.startswith("FSDP_VERSION") for text in texts):
        return
    for command in found:
        for at, word in enumerate(command):
            match = _ON.search(word.text)
            if match is None:
                continue
            value = match[1] or (command[at + 1].text if at + 1 < len(command) else "")
            if settings.truth(value):
                message = environment_advice(texts)
                yield Finding(path, word.line, word.col, CODE, message, Tier.MANUAL)
                return


# ---------------------------------------------------------------------- Transformers
def _words(flag: Option) -> list[str]:
    """The words that the flag `--fsdp` is given; what follows them is something else."""
    found: list[str] = []
    for value in flag.values:
        if value.lower() not in _WORDS:
            break
        found.append(value.lower())
    return found


def _is_trainers(flag: Option, given: Sequence[Option], name: str | None, around: Around) -> bool:
    """Whether `--fsdp` is a flag of Transformers' training arguments."""
    words = _words(flag)
    if not words and settings.truth(flag.value or "no") is not True:
        return False
    taken = around.takes_trainers_options(name) if name is not None else None
    if taken is not None:
        return taken
    names = {option.name for option in given}
    if names & _TRAINERS or names & TRAINERS_OWN:
        return True
    if {"auto_wrap", "offload"} & set(words):
        return True
    return bool(words) and around.for_transformers
