"""Programs whose constructor calls get their arguments through `**`, as text."""

from __future__ import annotations

LOOP = """\
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(3):
        model(x).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

# A function hands on what its callers say, who say different things.
HANDED_ON = (
    """

def wrap(net, **kwargs):
    return FSDP(net, **kwargs, device_id=torch.cuda.current_device())


def train(model):
"""
    + LOOP
    + """

def main():
    net = start()
    train(wrap(net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True))
    train(wrap(Net(), sharding_strategy=ShardingStrategy.SHARD_GRAD_OP))
"""
)

# Keys that are there under conditions, of a dict for two models.
FILLED = (
    """

def train(model):
"""
    + LOOP
    + """

def settings(keep, bf16):
    kwargs = {"use_orig_params": True}
    if keep:
        kwargs["sharding_strategy"] = ShardingStrategy.SHARD_GRAD_OP
    if bf16:
        kwargs.update(mixed_precision=MixedPrecision(torch.bfloat16, torch.bfloat16))
    kwargs["auto_wrap_policy"] = ModuleWrapPolicy({Block})
    return kwargs


def main():
    net = start()
    for keep, bf16 in ((True, True), (False, True), (True, False)):
        kwargs = settings(keep, bf16)
        model = FSDP(net if keep and bf16 else Net().cuda(), **kwargs)
        train(model)
    kwargs.pop("auto_wrap_policy", None)
    print(sorted(kwargs), "mixed_precision" in kwargs)
    model = FSDP(Net().cuda(), sync_module_states=True, **kwargs)
    train(model)
"""
)

# A property of an object gives the dict, anew each time, from a table of strategies.
GIVEN = (
    """
STRATEGIES = {"full": ShardingStrategy.FULL_SHARD, "none": ShardingStrategy.NO_SHARD}
COMMON = {"use_orig_params": True, "limit_all_gathers": True}


class Settings:
    def __init__(self, strategy, units=()):
        self.strategy = strategy
        self.units = units
        self.read = 0

    @property
    def fsdp(self):
        self.read += 1
        kwargs = {**COMMON, "sharding_strategy": STRATEGIES[self.strategy]}
        if self.units:
            return kwargs | {"auto_wrap_policy": ModuleWrapPolicy(self.units)}
        return kwargs


def train(model):
"""
    + LOOP
    + """

def main():
    net = start()
    for settings in (Settings("full", [Block]), Settings("none")):
        model = FSDP(net, **settings.fsdp)
        train(model)
        print(settings.read)
        net = Net().cuda()
"""
)

IMPORT = "from torch.distributed.fsdp import MixedPrecision\n"
DICTS = {
    "keywords that are handed on": HANDED_ON,
    "keywords in a dict that is filled": IMPORT + FILLED,
    "keywords that a property gives": GIVEN,
}
