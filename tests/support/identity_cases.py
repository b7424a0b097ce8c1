"""Programs that ask a model for its class, its rank and its group, as text."""

from __future__ import annotations

# Learning rates by the class of a module, in the three ways that it can be asked for.
BY_CLASS = """

class Wide(Block):
    pass


RATES = {Block: 0.3, Wide: 0.2}


def rate_of(module):
    if type(module) is Net:
        return 0.05
    return RATES.get(type(module), 0.0) * (2 if type(module).__name__ in {"Wide", "Net"} else 1)


def main():
    start()
    net = Net()
    net.blocks.append(Wide(7))
    net = net.cuda()
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    groups, exact = [], 0
    for module in model.modules():
        exact += type(module) == Block
        for part in module.children():
            if isinstance(part, nn.Linear):
                groups.append({"params": list(part.parameters()), "lr": rate_of(module)})
    assert exact == 2, exact
    assert type(model.module).__name__ == "Net"
    optimizer = torch.optim.SGD(groups, lr=0.1)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

# Inputs and losses that depend on what the model says of its ranks.
BY_RANK = """

class Trainer:
    def __init__(self, net):
        self.model = FSDP(
            net, use_orig_params=True, device_id=torch.cuda.current_device(),
            sharding_strategy=ShardingStrategy.SHARD_GRAD_OP,
        )

    def mean(self, value):
        dist.all_reduce(value, group=self.model.process_group)
        return value / self.model.world_size


def main():
    trainer = Trainer(start())
    optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    for x in batches(4):
        x = x.to(trainer.model.compute_device) * (1 + getattr(trainer.model, "rank"))
        loss = trainer.model(x).square().mean()
        scale = trainer.mean(loss.detach().clone()).item()
        (loss * scale).backward()
        optimizer.step()
        optimizer.zero_grad()
"""

IDENTITY = {"by_class": BY_CLASS, "by_rank": BY_RANK}
