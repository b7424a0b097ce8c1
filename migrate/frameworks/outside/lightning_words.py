"""Lightning's FSDP1 in a configuration or on a command line: by class, or by the word `fsdp`.

`strategy: fsdp` is Lightning's only beside other settings of its Trainer, or in a project that
uses Lightning; a program of its own may have a setting of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import lightning, settings
from fsdp_migrate.frameworks.outside.around import LIGHTNING, TORCH, Around
from fsdp_migrate.frameworks.outside.commands import commands, launched, options

CODE = "FSDP623"
_CLASS = re.compile(r"[\w.]*\b(?:FSDPStrategy|DDPFullyShardedNativeStrategy)\b")
_PRECISION = re.compile(r"[\w.]*\bFSDP(?:Precision|MixedPrecisionPlugin)\b")
_WORD = re.compile(r"([ \t]*)[\"']?strategy[\"']?[ \t]*:[ \t]*[\"']?(fsdp\w*)[\"']?[ \t]*,?[ \t]*$")
_OVERRIDE = re.compile(r"(?:--|\+\+?)?[\w.]*\btrainer\.strategy=(fsdp\w*)$")
_MEMBER = re.compile(r"[\"']?sharding_strategy[\"']?[ \t]*:[ \t]*[\"']?(\w+)")
_TRAINERS = re.compile(
    r"[ \t]*[\"']?(?:accelerator|accumulate_grad_batches|check_val_every_n_epoch|default_root_dir"
    r"|enable_checkpointing|enable_progress_bar|fast_dev_run|gradient_clip_val|limit_\w+_batches"
    r"|max_epochs|num_nodes|num_sanity_val_steps|sync_batchnorm|use_distributed_sampler"
    r"|val_check_interval)[\"']?[ \t]*:"
    r"|[ \t]*[\"']?(?:_target_|class_path)[\"']?[ \t]*:.*\b(?:lightning|pytorch_lightning)\b"
)


def listed(lines: Sequence[str], path: Path, around: Around) -> Iterator[Finding]:
    """The places that choose FSDP1 of Lightning."""
    for number, line in enumerate(lines, 1):
        for col, message in _on_line(lines, number, line, around):
            yield Finding(path, number, col + 1, CODE, message, Tier.MANUAL)
    for command in commands(lines):
        start = launched(command, "fabric", "run") or launched(command, "lightning", "run")
        for word in command:
            match = _OVERRIDE.match(word.text)
            if match is not None and match[1] in lightning.WORDS:
                message = lightning.named(match[1], fabric=False)
                yield Finding(path, word.line, word.col, CODE, message, Tier.MANUAL)
        for option in options(command):
            named = option.name == "trainer.strategy" or (start and option.name == "strategy")
            joined = _OVERRIDE.match(option.word.text) is not None
            if named and not joined and option.value in lightning.WORDS:
                message = lightning.named(option.value, fabric=start is not None)
                yield Finding(path, option.word.line, option.word.col, CODE, message, Tier.MANUAL)


def _on_line(
    lines: Sequence[str], number: int, line: str, around: Around
) -> Iterator[tuple[int, str]]:
    if "import" not in line.split():
        for match in _CLASS.finditer(line):
            fabric = ".fabric" in match[0] or "lightning_fabric" in match[0]
            yield match.start(), _advice(lines[number - 1 :], fabric)
        for match in _PRECISION.finditer(line):
            yield match.start(), lightning.PRECISION_PLUGIN
    word = _WORD.match(line)
    if word is not None and word[2] in lightning.WORDS and _is_lightnings(lines, number, around):
        yield word.end(1), lightning.named(word[2], fabric=False)


def _advice(below: Sequence[str], fabric: bool) -> str:
    """What to write for a class, by the sharding strategy that stands below it."""
    found = next((m[1] for line in below[:20] if (m := _MEMBER.search(line))), "FULL_SHARD")
    return f"FSDPStrategy is FSDP1: {lightning.strategy_advice(settings.strategy(found), fabric)}"


def _is_lightnings(lines: Sequence[str], number: int, around: Around) -> bool:
    """Whether the key `strategy` on a line is one of Lightning's Trainer or Fabric."""
    if around.chosen or (LIGHTNING in around.frameworks and TORCH not in around.frameworks):
        return True
    return any(_TRAINERS.match(line) for line in _beside(lines, number))


def _beside(lines: Sequence[str], number: int) -> Iterator[str]:
    """The lines of the same table, with the same indentation."""
    indent = _indent(lines[number - 1])
    for step, start in ((-1, number - 2), (1, number)):
        at = start
        while 0 <= at < len(lines):
            line = lines[at]
            if line.strip() and _indent(line) < indent:
                break
            if line.strip() and _indent(line) == indent:
                yield line
            at += step


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
