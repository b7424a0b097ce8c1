"""Small programs that ask a model for the ranks that it is sharded over."""

from __future__ import annotations

GROUPS = {
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
}
