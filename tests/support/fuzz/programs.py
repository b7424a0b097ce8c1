"""A Hypothesis strategy over whole training programs that can be run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from support.fuzz import deliveries, inside, lists, parts, summons, wrapping
from support.fuzz.piece import Piece

TRAIN = "train(model, optimizer)"  # also behind a checkpoint, which must leave no trace
ROOT = "torch.distributed.fsdp"
NAMES = ("FullStateDictConfig", "MixedPrecision", "ShardingStrategy", "StateDictType")
POLICIES = ("ModuleWrapPolicy", "transformer_auto_wrap_policy")
FORMS = ("alias", "plain", "module", "in functions", "try", "star", "compat")
LIBRARIES = (
    "asyncio", "collections", "concurrent.futures", "contextlib", "contextvars", "copy",
    "dataclasses", "functools", "io", "itertools", "operator", "queue", "types", "typing",
    "weakref",
)  # fmt: skip
TABLES: Mapping[str, Mapping[str, Piece]] = {
    "maker": parts.MAKERS,
    "place": parts.PLACES | wrapping.GIVEN | inside.PLACES,
    "crossing": parts.CROSSINGS | wrapping.TOGETHER | summons.KEPT | inside.TAKEN | lists.LISTS,
    "delivery": deliveries.DELIVERIES,
    "loop": parts.LOOPS | summons.CHOSEN,
    "use": parts.USES | summons.TAKEN | inside.CONTEXTS,
    "checkpoint": parts.CHECKPOINTS | summons.SAVED,
    "inner": parts.INNER,
}
PLAIN: Mapping[str, str] = {
    "maker": "class",
    "place": "inline",
    "crossing": "nothing",
    "delivery": "direct",
    "loop": "plain",
    "use": "nothing",
    "checkpoint": "nothing",
    "inner": "nothing",
    "form": "alias",
    "policy": "module",
    "strategy": "default",
    "precision": "full",
    "parameters": "original",
}


@dataclass(frozen=True)
class Made:
    """A program: its files, `train.py` among them, and the name of what was drawn for each part."""

    files: Mapping[str, str]
    drawn: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{part}: {name}" for part, name in self.drawn.items())


@st.composite
def trained_programs(draw: st.DrawFn, given: Mapping[str, str] | None = None) -> Made:
    """Programs that train on two ranks for a few steps and write into the folder they are given.

    `given` are pieces by their part that aren't drawn: all programs have them.
    """
    known = given or {}
    choices = {part: sorted(table) for part, table in TABLES.items()}
    choices |= {"form": sorted(FORMS), "policy": sorted(parts.POLICIES)}
    choices["strategy"] = sorted(parts.STRATEGIES)
    drawn = {
        part: known[part] if part in known else draw(st.sampled_from(names))
        for part, names in choices.items()
    }
    pieces = {part: table[drawn[part]] for part, table in TABLES.items()}
    low = draw(st.integers(0, 3)) == 0
    drawn["precision"] = known.get("precision", "bf16" if low else "full")
    flat = all(piece.flat for piece in pieces.values()) and draw(st.integers(0, 3)) == 0
    drawn["parameters"] = known.get("parameters", "flat" if flat else "original")
    return put_together(drawn)


def put_together(drawn: Mapping[str, str]) -> Made:
    """The program of these pieces, by their part; of a part that isn't given, the plainest."""
    drawn = {**PLAIN, **drawn}
    if drawn["place"] == "blocks by hand":
        drawn["policy"] = "none"
    if drawn["crossing"] in wrapping.TOGETHER and "optimizer" in drawn["checkpoint"]:
        drawn["checkpoint"] = "full"  # FSDP1 takes no state of an optimizer that has two models
    pieces = {part: table[drawn[part]] for part, table in TABLES.items()}
    return Made(_files(drawn, pieces), drawn)


def _files(drawn: Mapping[str, str], pieces: Mapping[str, Piece]) -> dict[str, str]:
    lines = [_head(), parts.MODEL.strip("\n")]
    lines += [piece.top for piece in pieces.values() if piece.top]
    lines += [_train(pieces), _main(pieces), _ENTRY]
    text = "\n\n\n".join(lines) + "\n"
    arguments = [
        parts.POLICIES[drawn["policy"]],
        parts.STRATEGIES[drawn["strategy"]],
        parts.PRECISIONS[drawn["precision"]],
        f"use_orig_params={drawn['parameters'] == 'original'}",
        "device_id=torch.cuda.current_device()",
    ]
    given = ", ".join(filter(None, arguments))
    text = text.replace("ARGUMENTS", given)
    text = re.sub(r"WRAP\(((?:self\.)?\w+)\)", rf"FSDP(\1, {given})", text)
    files = {"train.py": text, **{n: t for p in pieces.values() for n, t in p.files.items()}}
    return _with_imports(files, drawn["form"])


def _head() -> str:
    """The imports of all that isn't FSDP's, and a place for those of FSDP's names."""
    own = ["import torch", "import torch.distributed as dist"]
    own += ["import torch.distributed.checkpoint as dcp", "from torch import nn"]
    return "\n".join(["import sys", *(f"import {name}" for name in LIBRARIES), "", *own, "IMPORTS"])


def _train(pieces: Mapping[str, Piece]) -> str:
    """The function that trains; what its last part needs is made at its beginning."""
    loop, use = pieces["loop"].body, pieces["use"]
    body = [loop, "optimizer.step()", "optimizer.zero_grad()", use.body]
    head = [_indented(use.after)] if use.after else []
    lines = ["def train(model, optimizer):", *head, "    for i, x in enumerate(batches(4)):"]
    return "\n".join([*lines, *(_indented(text, 2) for text in body if text)])


def _main(pieces: Mapping[str, Piece]) -> str:
    place, crossing = pieces["place"], pieces["crossing"]
    delivery, checkpoint = pieces["delivery"], pieces["checkpoint"]
    body = [
        pieces["maker"].body,
        crossing.before,
        place.body,
        crossing.after,
        pieces["inner"].body,
        delivery.after,
        delivery.body,
        checkpoint.body,
        "" if checkpoint.body.endswith(TRAIN) or not checkpoint.body else TRAIN,
    ]
    return "\n".join(["def main(out):", *(_indented(b) for b in body if b)])


_ENTRY = """\
def batches(count):
    generator = torch.Generator().manual_seed(dist.get_rank())
    for _ in range(count):
        yield torch.randn(4, 6, generator=generator).cuda()


if __name__ == "__main__":
    dist.init_process_group("nccl")
    torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    torch.manual_seed(0)
    main(sys.argv[1])
    dist.destroy_process_group()"""


def _indented(text: str, depth: int = 1) -> str:
    return textwrap.indent(text, "    " * depth)


def _with_imports(files: dict[str, str], form: str) -> dict[str, str]:
    """The program with FSDP's names imported in one of the ways in which people do."""
    text = files["train.py"]
    names = [name for name in NAMES if re.search(rf"\b{name}\b", text)]
    policies = [name for name in POLICIES if re.search(rf"\b{name}\b", text)]
    if form == "module":
        text = re.sub(r"\bFSDP\b", "fsdp.FullyShardedDataParallel", text)
        for name in names:
            text = re.sub(rf"\b{name}\b", f"fsdp.{name}", text)
        for name in policies:
            text = re.sub(rf"\b{name}\b", f"fsdp.wrap.{name}", text)
        return {**files, "train.py": text.replace("IMPORTS", f"import {ROOT} as fsdp", 1)}
    if form == "plain":
        text = re.sub(r"\bFSDP\b", "FullyShardedDataParallel", text)
    whole = "FullyShardedDataParallel" if form == "plain" else "FullyShardedDataParallel as FSDP"
    lines = [f"from {ROOT} import {', '.join([whole, *names])}"]
    if form == "star":
        lines = [f"from {ROOT} import *", f"from {ROOT} import FullyShardedDataParallel as FSDP"]
    if policies:
        lines.append(f"from {ROOT}.wrap import {', '.join(policies)}")
    if form == "compat":
        files["compat.py"] = "\n".join(lines) + "\n"
        lines = [f"from compat import {', '.join(['FSDP', *names, *policies])}"]
    if form == "try":
        lines = ["try:", *map(_indented, lines), "except ImportError:", "    FSDP = None"]
    if form == "in functions":
        return {**files, "train.py": _inside(text.replace("\nIMPORTS", ""), lines)}
    return {**files, "train.py": text.replace("IMPORTS", "\n".join(lines), 1)}


def _inside(text: str, lines: list[str]) -> str:
    """The program with the imports in each function or method that needs them."""
    result: list[str] = []
    for chunk in re.split(r"(?m)^(?=(?:async )?(?:    )?def )", text):
        head, newline, body = chunk.partition("\n")
        needs = re.search(r"\b(FSDP|ModuleWrapPolicy|transformer_auto_wrap_policy)\b", body)
        if needs and re.match(r"(async )?( {4})?def ", head):
            depth = (len(head) - len(head.lstrip())) // 4 + 1
            body = "".join(_indented(line, depth) + "\n" for line in lines) + body
        result.append(head + newline + body)
    return "".join(result)
