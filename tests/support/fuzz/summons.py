"""What is taken out of `summon_full_params`, and into it, and contexts that a condition chooses."""

from __future__ import annotations

from support.fuzz.piece import Piece

SUMMON = "FSDP.summon_full_params(model, writeback=False)"
GROUPS = (
    'optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.3}, '
    '{"params": other, "weight_decay": 0.0}], lr=1e-2)'
)

# Parameters that are asked for while they are whole, and given to the optimizer.
KEPT = {
    "chosen while whole": Piece(
        after=(
            f"with {SUMMON}:\n"
            "    decay = [p for p in model.parameters() if p.ndim > 1]\n"
            f"    other = [p for p in model.parameters() if p.ndim < 2]\n{GROUPS}"
        ),
        flat=False,
    ),
    "appended while whole": Piece(
        after=(
            f"decay, other = [], []\nwith {SUMMON}:\n"
            "    for name, p in model.named_parameters():\n"
            f"        (decay if p.dim() > 1 else other).append(p)\n{GROUPS}"
        ),
        flat=False,
    ),
    "optimizer while whole": Piece(
        after=f"with {SUMMON}:\n    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)",
        flat=False,
    ),
}

TAKEN = {
    "whole average": Piece(
        f"with {SUMMON}:\n"
        "    now = {n: p.detach().clone() for n, p in model.named_parameters()}\n"
        "for n, each in average.items():\n    each.mul_(0.9).add_(now[n], alpha=0.1)\n"
        "print(round(sum(each.sum().item() for each in average.values()), 3))",
        after=(
            f"with {SUMMON}:\n"
            "    average = {n: p.detach().clone() for n, p in model.named_parameters()}"
        ),
    ),
    "whole copies in numpy": Piece(
        f"with {SUMMON}:\n    copies = [p.detach().clone() for p in model.parameters()]\n"
        "print(round(sum(float(each.cpu().numpy().sum()) for each in copies), 3))"
    ),
    "whole copies joined": Piece(
        "print(round(torch.cat([c.flatten() for c in copied(model)]).norm().item(), 3))",
        top=(
            "def copied(model):\n    with FSDP.summon_full_params(model, writeback=False):\n"
            "        return [torch.clone(p).detach() for p in model.parameters()]"
        ),
    ),
    "whole copies of a helper": Piece(
        f"with {SUMMON}:\n    copies = list(copies_of(model))\n"
        "print(round(sum(float((c @ c.t()).sum()) for c in copies if c.ndim > 1), 3))",
        top=(
            "def copies_of(module):\n    for p in module.parameters():\n"
            "        yield p.detach().clone()"
        ),
    ),
    "whole copies on an object": Piece(
        "keeper.keep()\n"
        "print([round(c.tolist()[0], 4) for c in keeper.kept.values() if c.ndim == 1])",
        after="keeper = Keeper(model)",
        top=(
            "class Keeper:\n    def __init__(self, model):\n"
            "        self.model, self.kept = model, {}\n\n"
            "    def keep(self):\n"
            "        with FSDP.summon_full_params(self.model, writeback=False):\n"
            "            for n, p in self.model.named_parameters():\n"
            "                self.kept[n] = p.detach().clone()"
        ),
    ),
    "parameters from outside": Piece(
        f"with {SUMMON}:\n    print(round(sum(p.norm().item() for p in listed), 3))",
        after="listed = list(model.parameters())",
        flat=False,
    ),
    "groups while whole": Piece(
        f"with {SUMMON}:\n    for group in optimizer.param_groups:\n"
        "        for p in group['params']:\n            print(round(p.sum().item(), 4))",
        flat=False,
    ),
    "whole by a stack": Piece(
        f"with contextlib.ExitStack() as whole:\n    whole.enter_context({SUMMON})\n"
        "    copies = [p.detach().clone() for p in model.parameters()]\n"
        "print(round(sum(c.norm().item() for c in copies), 3))"
    ),
    "whole if sharded": Piece(
        f"with {SUMMON} if isinstance(model, FSDP) else contextlib.nullcontext():\n"
        "    copies = [p.detach().clone() for p in model.parameters()]\n"
        "print(round(sum(float(c.cpu().numpy().sum()) for c in copies), 3))"
    ),
}

STEP = "model(x).square().mean().backward()"
CHOSEN = {
    "a context by a name": Piece(
        "context = model.no_sync() if i % 2 == 0 else contextlib.nullcontext()\n"
        f"with context:\n    {STEP}\nif i % 2 == 0:\n    continue"
    ),
    "a context by a condition": Piece(
        "if i % 2 == 0:\n    context = model.no_sync()\n"
        "else:\n    context = contextlib.nullcontext()\n"
        f"with context:\n    {STEP}\nif i % 2 == 0:\n    continue"
    ),
    "a context of a stack": Piece(
        "with contextlib.ExitStack() as stack:\n    if i % 2 == 0:\n"
        f"        stack.enter_context(model.no_sync())\n    {STEP}\nif i % 2 == 0:\n    continue"
    ),
}
SAVED = {
    "full if sharded": Piece(
        "context = contextlib.nullcontext()\nif isinstance(model, FSDP):\n"
        "    context = FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)\n"
        "with context:\n    state = model.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "full by a choice": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT) "
        "if isinstance(model, FSDP) else contextlib.nullcontext():\n"
        "    state = model.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
}
