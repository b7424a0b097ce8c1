"""Programs whose models may be of several kinds, or are saved in part, as text."""

from __future__ import annotations

WRAP = """\
    net = start()
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
"""

# One function clips a model that is sharded, and one that is not.
MAYBE_PLAIN = (
    """

def clipped(model):
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    return float(norm) > 0 and norm.isfinite().item()


def main():
"""
    + WRAP
    + """\
    torch.manual_seed(1)
    plain = nn.Linear(3, 2).cuda()
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-2) for m in (model, plain)]
    for x in batches(3):
        plain(model(x)).square().mean().backward()
        for p in plain.parameters():
            dist.all_reduce(p.grad)
        print(clipped(model), clipped(plain))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
"""
)

# What is written for FSDP2 stands beside what is written for FSDP1.
BOTH_VERSIONS = (
    """

def scale(model, factor):
    if isinstance(model, FSDP):
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(factor)
        return "scaled"
    elif isinstance(model, FSDPModule):
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(factor)
        return "scaled"
    return "as it was"


def main():
"""
    + WRAP
    + """\
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1, momentum=0.9)
    for x in batches(3):
        model(x).square().mean().backward()
        print(scale(model, 0.5), scale(nn.Linear(1, 1), 0.5))
        optimizer.step()
        optimizer.zero_grad()
"""
)

# The module inside gave this rank's part under any guard; all ranks take part now.
GUARDED = (
    """

def main():
    out = sys.argv[1]
"""
    + WRAP
    + """\
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for at, x in enumerate(batches(4)):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if at == 1:
            with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
                state = model.state_dict()
            if dist.get_rank() == 0:
                torch.save(state, f"{out}/whole.pt")
    with FSDP.summon_full_params(model):
        if dist.get_rank() == 0:
            torch.save(model.module.state_dict(), f"{out}/end.pt")
"""
)

PARTS = (
    """

def main():
    out = sys.argv[1]
"""
    + WRAP
    + """\
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for at, x in enumerate(batches(6)):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if at == 1:
            with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
                parts = [block.state_dict() for block in model.blocks]
            if dist.get_rank() == 0:
                torch.save(parts, f"{out}/blocks.pt")
            dist.barrier()
        if at == 3:
            with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
                for block, state in zip(model.blocks, torch.load(f"{out}/blocks.pt")):
                    block.load_state_dict(state)
"""
)

# One optimizer has plain parameters beside sharded ones, and one step overflows.
SCALED = """

def main():
    net = start()
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(), ignored_modules=[net.last],
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=False)
    scaler = ShardedGradScaler(init_scale=4.0, growth_interval=2)
    for at, x in enumerate(batches(5)):
        loss = model(x).square().mean()
        if at == 2 and dist.get_rank() == 1:
            loss = loss * float("inf")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        print(scaler.get_scale())
"""

# The wrapper's one child is the module inside.
CHILDREN = (
    """

def main():
"""
    + WRAP
    + """\
    for child in model.children():
        child.first.requires_grad_(False)
        print(child is next(model.children()), len(list(model.children())))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for x in batches(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""
)

CHOICES = {
    "a norm of what may be plain": MAYBE_PLAIN,
    "both versions": BOTH_VERSIONS,
    "saved on one rank": GUARDED,
    "parts": PARTS,
    "scaled": SCALED,
    "children": CHILDREN,
}
IMPORTS = """\
import sys

from torch.distributed.fsdp import FSDPModule, StateDictType
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
"""
