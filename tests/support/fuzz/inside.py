"""Models that are wrapped as a part of another, and contexts that do something when left."""

from __future__ import annotations

from support.fuzz.piece import Piece

# What the model inside has can be asked of the one around it.
OUTER = """\
class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)"""

# Where the model is wrapped, under another name than that of what was made.
PLACES = {
    "inside another": Piece("outer = Outer(net)\nmodel = WRAP(outer)", top=OUTER),
    "inside another, in a helper": Piece(
        "outer = put(net)\nmodel = WRAP(outer)",
        top=f"{OUTER}\n\n\ndef put(module):\n    return Outer(module).cuda()",
    ),
    "inside another, of a table": Piece(
        'outer = {"outer": Outer}["outer"](net)\nmodel = WRAP(outer)', top=OUTER
    ),
    "put in place": Piece(
        "outer = Outer(nn.Identity())\nouter.inner = net\nmodel = WRAP(outer)", top=OUTER
    ),
    "replaced": Piece("net = Outer(net)\nmodel = WRAP(net)", top=OUTER),
}

# Parameters of parts that are taken by their place in the model.
TAKEN = {
    "of a block": Piece(
        before="first = list(net.blocks[0].parameters())",
        after=(
            "optimizer = torch.optim.SGD("
            '[{"params": first, "lr": 0.01}, {"params": model.head.parameters()}], lr=0.1)'
        ),
        flat=False,
    ),
    "of blocks in turn": Piece(
        before=(
            "groups = []\nfor i in range(len(net.blocks)):\n"
            '    groups.append({"params": net.blocks[i].parameters(), "lr": 0.1 / (i + 1)})'
        ),
        after="optimizer = torch.optim.SGD(groups, lr=0.1)",
        flat=False,
    ),
    "of a module by name": Piece(
        before=(
            'chosen = [dict(net.named_modules())["head"].weight]\n'
            'chosen.append(net.get_parameter("head.bias"))'
        ),
        after="optimizer = torch.optim.SGD(chosen, lr=0.1)",
        flat=False,
    ),
}

AVERAGED = """\
@contextlib.contextmanager
def averaged(model, factor):
    kept = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(factor)
    {waits}
        with torch.no_grad():
            for p, k in zip(model.parameters(), kept):
                p.copy_(k)"""
LOOK = "print(round(model(x).sum().item(), 3))"
CONTEXTS = {
    "put back by a context": Piece(
        f"with averaged(model, 0.9), torch.no_grad():\n    {LOOK}",
        top=AVERAGED.format(waits="yield\n    if model.training:"),
    ),
    "put back at last": Piece(
        f"with averaged(model, 0.9):\n    with torch.no_grad():\n        {LOOK}",
        top=AVERAGED.format(waits="try:\n        yield\n    finally:"),
    ),
    "put back by a stack": Piece(
        "with contextlib.ExitStack() as stack:\n    stack.enter_context(averaged(model, 0.9))\n"
        f"    with torch.no_grad():\n        {LOOK}",
        top=AVERAGED.format(waits="try:\n        yield\n    finally:"),
    ),
}
