"""Wraps whose arguments come from elsewhere, and two models that one optimizer trains."""

from __future__ import annotations

from support.fuzz.piece import Piece

# `ARGUMENTS` becomes the keyword arguments of the constructor.
GIVEN = {
    "dict": Piece("arguments = dict(ARGUMENTS)\nmodel = FSDP(net, **arguments)"),
    "dict of a function": Piece(
        "model = FSDP(net, **arguments_of())",
        top="def arguments_of():\n    return dict(ARGUMENTS)",
    ),
    "dict that is filled": Piece(
        "arguments = {}\narguments.update(ARGUMENTS)\nmodel = FSDP(module=net, **arguments)"
    ),
    "partial": Piece("shard = functools.partial(FSDP, ARGUMENTS)\nmodel = shard(net)"),
    "partial in a table": Piece(
        'wrappers = {"fsdp": functools.partial(FSDP, ARGUMENTS)}\nmodel = wrappers["fsdp"](net)'
    ),
    "partial on an object": Piece(
        "job = Job(net)\nmodel = job.made()",
        top=(
            "class Job:\n    def __init__(self, net):\n        self.net = net\n"
            "        self.wrapper = functools.partial(FSDP, ARGUMENTS)\n\n"
            "    def made(self):\n        return self.wrapper(self.net)"
        ),
    ),
}

BACKWARD = "other(torch.ones(2, 6, device='cuda')).square().mean().backward()"
TOGETHER = {
    "two models": Piece(
        before="other = Net().cuda()",
        after=(
            "other = WRAP(other)\noptimizer = torch.optim.AdamW("
            f"[*model.parameters(), *other.parameters()], lr=1e-2)\n{BACKWARD}"
        ),
        flat=False,
    ),
    "two models in groups": Piece(
        before="other = Net().cuda()",
        after=(
            'other = WRAP(other)\noptimizer = torch.optim.AdamW([{"params": model.parameters()}, '
            f'{{"params": other.parameters(), "lr": 1e-3}}], lr=1e-2)\n{BACKWARD}'
        ),
        flat=False,
    ),
    "two models, listed before": Piece(
        before="other = Net().cuda()\nchosen = [*net.parameters(), *other.parameters()]",
        after=f"other = WRAP(other)\noptimizer = torch.optim.AdamW(chosen, lr=1e-2)\n{BACKWARD}",
        flat=False,
    ),
    "two models, one of them plain": Piece(
        before="other = Net().cuda()",
        after=(
            f"optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)\n"
            f"{BACKWARD}"
        ),
        flat=False,
    ),
}
