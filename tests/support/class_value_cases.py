"""Programs that hand FSDP's class around as a value, as text: what makes the model of each."""

from __future__ import annotations

from support.training_cases import HEAD

MORE = """
import functools

from torch.distributed.fsdp import MixedPrecision
from torch.nn.parallel import DistributedDataParallel as DDP

"""

TAIL = """

def main():
    model = make(start())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for x in batches(4):
        loss = model(x).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"{loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
"""

PROGRAMS = {
    # A variable of its own: the calls are those of the class.
    "called_once": """
shard = functools.partial(FSDP, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True)


def make(net):
    return shard(net, forward_prefetch=True)
""",
    "called_with_more": """
def make(net):
    fsdp = functools.partial(FSDP, mixed_precision=MixedPrecision(param_dtype=torch.bfloat16))
    return fsdp(net, auto_wrap_policy=ModuleWrapPolicy({Block}))
""",
    "called_with_others": """
def make(net):
    fsdp = functools.partial(FSDP, mixed_precision=MixedPrecision(param_dtype=torch.bfloat16))
    net.blocks[0] = fsdp(net.blocks[0], sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)
    net.blocks[1] = fsdp(net.blocks[1])
    return fsdp(net)
""",
    # A function in the place of the partial.
    "out_of_a_factory": """
def factory(policy, **unused):
    return functools.partial(FSDP, auto_wrap_policy=policy, limit_all_gathers=True)


def make(net):
    wrap = factory(ModuleWrapPolicy({Block}))
    return wrap(net, use_orig_params=True)
""",
    "out_of_a_factory_without": """
def factory(policy=None, precision=None):
    return functools.partial(FSDP, auto_wrap_policy=policy, mixed_precision=precision)


def make(net):
    factory()(nn.Linear(4, 4).cuda())
    bf16 = MixedPrecision(param_dtype=torch.bfloat16)
    return factory(ModuleWrapPolicy({Block}), precision=bf16)(net)
""",
    "given_a_dict": """
def make(net):
    given = dict(sharding_strategy=ShardingStrategy.SHARD_GRAD_OP, use_orig_params=True)
    shard = functools.partial(FSDP, **given, auto_wrap_policy=ModuleWrapPolicy({Block}))
    return [shard(module) for module in (net, nn.Linear(4, 4).cuda())][0]
""",
    "computed_when_it_is_made": """
class Args:
    bf16 = True


def precision(args):
    return MixedPrecision(param_dtype=torch.bfloat16) if args.bf16 else None


def make(net):
    args = Args()
    units = ModuleWrapPolicy({Block})
    shard = functools.partial(FSDP, mixed_precision=precision(args), auto_wrap_policy=units)
    args.bf16 = False
    return [shard(module) for module in (net, nn.Linear(4, 4).cuda())][0]
""",
    "attribute_in_an_expression": """
class Holder:
    units = ModuleWrapPolicy({Block})

    def get(self, net, cached=None):
        return cached or FSDP(net, auto_wrap_policy=self.units)


def make(net):
    return Holder().get(net)
""",
    "given_more_by_an_object": """
class Engine:
    def __init__(self):
        self.shard = functools.partial(FSDP, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)

    def prepare(self, net):
        return self.shard(net, auto_wrap_policy=ModuleWrapPolicy({Block}))


def make(net):
    return Engine().prepare(net)
""",
    "kept_by_an_object": """
class Engine:
    def __init__(self, wrapper):
        self.wrapper = wrapper

    def prepare(self, net):
        return self.wrapper(net)


def make(net):
    return Engine(functools.partial(FSDP, auto_wrap_policy=ModuleWrapPolicy({Block}))).prepare(net)
""",
    "for_each_policy": """
def make(net):
    made = {}
    for name, kinds in {"blocks": {Block}, "linear": {nn.Linear}}.items():
        made[name] = functools.partial(FSDP, auto_wrap_policy=ModuleWrapPolicy(kinds))
    return made["linear"](net)
""",
    "attribute_of_a_class": """
class Recipe:
    shard = functools.partial(FSDP, auto_wrap_policy=ModuleWrapPolicy({Block}))
    plain = FSDP


def make(net):
    recipe = Recipe()
    recipe.plain(nn.Linear(4, 4).cuda())
    return recipe.shard(net)
""",
    # A partial of fully_shard.
    "handed_to_map": """
def make(net):
    shard = functools.partial(FSDP, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)
    net.blocks = nn.ModuleList(map(shard, net.blocks))
    return shard(net)
""",
    # A table of ways to wrap a model.
    "registry": """
WRAPPERS = {
    "units": functools.partial(FSDP, auto_wrap_policy=ModuleWrapPolicy({Block})),
    "whole": FSDP,
    "ddp": DDP,
}


def make(net):
    return WRAPPERS[os.environ.get("WRAPPER", "units")](net)
""",
    "flag": """
def make(net):
    wrapper = FSDP if os.environ.get("SHARDED", "1") == "1" else DDP
    net = wrapper(net)
    return net
""",
    # Statements for an expression.
    "lambda": """
def make(net):
    wrap = lambda module: FSDP(module, auto_wrap_policy=ModuleWrapPolicy({Block}))
    return wrap(net)
""",
    "comprehension": """
def make(net, policy=ModuleWrapPolicy({Block})):
    return {name: FSDP(each, auto_wrap_policy=policy) for name, each in [("net", net)]}["net"]
""",
    "conditional": """
def make(net):
    sharded = os.environ.get("SHARDED", "1") == "1"
    if (made := FSDP(net, auto_wrap_policy=ModuleWrapPolicy({Block})) if sharded else DDP(net)):
        return made
""",
}


def program(name: str) -> str:
    """The whole text of one."""
    return HEAD + MORE + PROGRAMS[name] + TAIL
