"""Notebooks that use FSDP1: each place is listed, with what to write in the cell.

The work is done in `fsdp_migrate.frameworks.outside`; here is what there is to know about it.
"""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP620",
    name="notebook",
    summary="FSDP1 in the cells of a notebook has to be replaced by hand",
    why=(
        "A cell may be run in any order and any number of times, so what is known about a program "
        "isn't known here.  The cells are read from first to last as one program; each finding "
        "says what the code would become in one."
    ),
    fix_safety="There is no fix: see the finding for what to write.",
    left=(
        "Always.  Write into the cell what the message says, or move the code into a file that "
        "can be migrated."
    ),
    check=no_uses,
    references=("https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",),
    examples=(
        Example(
            before="""\
{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\\n",
    "model = FSDP(net)"
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
""",
            file="demo.ipynb",
        ),
    ),
)
