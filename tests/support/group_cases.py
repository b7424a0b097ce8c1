"""Small programs that ask a model for the ranks that it is sharded over."""

from __future__ import annotations

from support.crossing_cases import TRAIN, WRAP

# One optimizer of two models, of which one gets no gradients after the first step.
BOTH = f"""

def main():
    net, other = start(), Net().cuda()
    model = {WRAP}
    net = other
    other = {WRAP}
    optimizer = torch.optim.AdamW([*model.parameters(), *other.parameters()], lr=1e-2)
    other(torch.ones(2, 5).cuda()).square().mean().backward()
{TRAIN}"""

GROUPS = {
    "one optimizer of two models": BOTH,
    "grouped": """

class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(self, x):
        loss = self.model(x).square().mean()
        mean = loss.detach().clone()
        dist.all_reduce(mean, group=self.model.process_group)
        mean /= self.model.world_size
        (loss / mean).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def evaluate(self, x):
        return self.model(x).mean().item() + self.model.rank


def main():
    name = os.environ.get("STRATEGY", "FULL_SHARD")
    strategy = ShardingStrategy[name]
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), sharding_strategy=strategy,
        use_orig_params=True, device_id=torch.cuda.current_device(),
    )
    trainer = Trainer(model)
    for x in batches(4):
        trainer.step(x)
        trainer.evaluate(x)
""",
    "handles": """

from torch.distributed.fsdp import _traversal_utils


@torch.no_grad()
def update(ema, model):
    ours = _traversal_utils._get_fsdp_handles(ema)
    theirs = _traversal_utils._get_fsdp_handles(model)
    assert len(ours) == len(theirs)
    old, new = [], []
    for mine, other in zip(ours, theirs):
        if mine.flat_param is not None and other.flat_param.requires_grad:
            old.append(mine.flat_param.data)
            new.append(other.flat_param.data.to(dtype=mine.flat_param.dtype))
    torch._foreach_mul_(old, 0.9)
    torch._foreach_add_(old, new, alpha=0.1)


def wrap(net):
    return FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )


def main():
    net = start()
    torch.manual_seed(0)
    ema = wrap(Net().cuda().requires_grad_(False))
    model = wrap(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        update(ema, model)
    with torch.no_grad():
        print(round(ema(torch.ones(2, 5).cuda()).sum().item(), 5))
""",
}
