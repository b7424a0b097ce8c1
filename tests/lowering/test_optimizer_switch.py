"""Where an optimizer can be handed the sharded parameters."""

from __future__ import annotations

from fsdp_migrate.findings.code import Kept, parts_of
from fsdp_migrate.findings.edits import InsertStatements
from fsdp_migrate.lowering.before_wrap import BeforeWrap
from fsdp_migrate.lowering.optimizer_switch import Switch, find_switch
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from support.programs import Analysis, migrate

HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    pass


net = Net()
"""


def switch(body: str) -> Switch | None:
    program = Analysis(HEAD + body)
    finder = BeforeWrap(program.solver, ParameterHolders(program.solver))
    (fact,) = program.solver.wraps.values()
    return find_switch(program.solver, next(finder.taken(fact)))


def said(body: str) -> set[str]:
    """What the switch says of the user's: the model and the optimizer."""
    found = switch(body)
    assert found is not None
    lines = (HEAD + body).splitlines()
    spans = [
        part.span
        for edit in found.edits
        if isinstance(edit, InsertStatements) and not isinstance(edit.code, str)
        for part in parts_of(edit.code)
        if isinstance(part, Kept)
    ]
    return {lines[span.line - 1][span.col : span.end_col] for span in spans}


def test_where_both_have_a_name() -> None:
    body = "opt = torch.optim.SGD(net.parameters())\nmodel = FSDP(net)\nopt.step()\n"
    assert said(body) == {"net", "opt"}


def test_further_in_where_both_are_passed() -> None:
    body = (
        "def shard(module, updater):\n    module = FSDP(module)\n    updater.step()\n\n\n"
        "opt = torch.optim.SGD(net.parameters())\nshard(net, opt)\n"
    )
    assert said(body) == {"module", "updater"}


def test_not_in_a_function_that_others_call_too() -> None:
    body = (
        "def shard(module, updater):\n    module = FSDP(module)\n    updater.step()\n\n\n"
        "opt = torch.optim.SGD(net.parameters())\nshard(net, opt)\nshard(Net(), None)\n"
    )
    assert switch(body) is None


def test_not_where_the_statement_reads_the_optimizer() -> None:
    body = "opt = torch.optim.SGD(net.parameters())\npair = FSDP(net), opt\nopt.step()\n"
    assert switch(body) is None


def test_not_for_what_may_be_no_optimizer() -> None:
    body = (
        "import libs\naverage = libs.Average(net.parameters())\nmodel = FSDP(net)\n"
        "average.update()\n"
    )
    assert switch(body) is None


def test_new_variables_keep_clear_of_the_file_s() -> None:
    body = (
        "group = 1\nopt = torch.optim.SGD(net.parameters())\n"
        "while not (sharded := opt.param_groups):\n    pass\nmodel = FSDP(net)\nopt.step()\n"
    )
    after = migrate(HEAD + body).after["train.py"]
    assert "fsdp_sharded = dict(zip(unsharded, net.parameters()))" in after
    assert "for fsdp_group in opt.param_groups:" in after
