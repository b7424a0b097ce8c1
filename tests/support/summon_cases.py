"""Programs that take something out of `summon_full_params`, or into it, as text."""

from __future__ import annotations

from support.crossing_cases import TRAIN, WRAP

# Whole copies, made in all the ways: they stay plain tensors outside.
COPIES = f"""

def copies_of(module):
    for p in module.parameters():
        yield p.detach().clone()


def named(model):
    with FSDP.summon_full_params(model, writeback=False):
        return {{n: p.detach().clone() for n, p in model.named_parameters()}}


class Keeper:
    def __init__(self, model):
        self.model, self.kept = model, {{}}

    def keep(self):
        with FSDP.summon_full_params(self.model, writeback=False):
            for n, p in self.model.named_parameters():
                self.kept[n] = torch.clone(p).detach()

    def moved(self):
        with FSDP.summon_full_params(self.model, writeback=False):
            now = {{n: p.data.to("cpu", copy=True) for n, p in self.model.named_parameters()}}
        return {{n: now[n] - self.kept[n].cpu() for n in now}}


@contextlib.contextmanager
def whole(model):
    with FSDP.summon_full_params(model, writeback=False):
        yield


def main():
    net = start()
    model = {WRAP}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    average, keeper = named(model), Keeper(model)
    keeper.keep()
    with FSDP.summon_full_params(model, writeback=False):
        listed = list(copies_of(model))
        last = model.last.weight.detach().clone().float()
    with whole(model):
        inside = [p.detach().clone() for p in model.parameters()]
    with contextlib.ExitStack() as stack:
        stack.enter_context(FSDP.summon_full_params(model, writeback=False))
        stacked = [p.detach().clone() for p in model.parameters()]
{TRAIN}
    new = named(model)
    for n, each in average.items():
        each.mul_(0.9).add_(new[n], alpha=0.1)
    flat = torch.cat([each.flatten() for each in average.values()])
    dist.all_reduce(flat)
    print(flat.tolist(), last.tolist(), (last @ last.t()).numpy().sum())
    for n, change in keeper.moved().items():
        print(n, change.numpy().tolist())
    total = torch.zeros((), device="cuda")
    for a, b, c in zip(listed, inside, stacked):
        total += (a - new["last.bias"].sum()).norm() + (b - c).abs().max()
    print(total.item(), [each.cpu().numpy().shape for each in stacked])
"""

# The parameters themselves, kept beyond the block: outside they are shards.
KEPT = f"""

class Trainer:
    def __init__(self, model):
        with FSDP.summon_full_params(model, writeback=False):
            self.matrices = [p for p in model.parameters() if p.dim() > 1]
            self.others = []
            for name, p in model.named_parameters():
                if p.ndim < 2:
                    self.others.append(p)
        groups = [{{"params": self.matrices, "weight_decay": 0.2}}, {{"params": self.others}}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-2)


def main():
    net = start()
    model = {WRAP}
    optimizer = Trainer(model).optimizer
    with FSDP.summon_full_params(model):
        slow = torch.optim.SGD(model.parameters(), lr=1e-3)
{TRAIN}
    model(torch.ones(2, 5).cuda()).sum().backward()
    slow.step()
"""

# Parameters that were asked for outside: FSDP1 made those whole as well.
STRANGE = f"""

def main():
    net = start()
    model = {WRAP}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    params = [p for p in model.parameters() if p.requires_grad]
    with FSDP.summon_full_params(model, writeback=False):
        average = [p.detach().clone() for p in params]
{TRAIN}
    with FSDP.summon_full_params(model, writeback=False), torch.no_grad():
        for mean, p in zip(average, params):
            mean.lerp_(p, 0.1)
    with FSDP.summon_full_params(model, writeback=False):
        for group in optimizer.param_groups:
            for p in group["params"]:
                print(p.shape, p.detach().cpu().numpy().tolist())
    print([mean.tolist() for mean in average])
"""

SUMMONED = {
    "copies of whole parameters": COPIES,
    "parameters kept beyond a summons": KEPT,
    "parameters from outside a summons": STRANGE,
}
