"""Programs that choose their units in all the ways that FSDP1 knew, as text."""

from __future__ import annotations

IMPORTS = """\
import functools
import sys

from torch.distributed.fsdp import MixedPrecision, ShardingStrategy
from torch.distributed.fsdp.wrap import (
    CustomPolicy,
    _or_policy,
    always_wrap_policy,
    enable_wrap,
    lambda_auto_wrap_policy,
    size_based_auto_wrap_policy,
    transformer_auto_wrap_policy,
    wrap,
)
"""

TRAIN = """

def train(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

SIZE = """

def main():
    least = int(sys.argv[1])
    policy = functools.partial(size_based_auto_wrap_policy, min_num_params=least)
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

SIZE_OF_ATTENTION = """

class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)
        self.last = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})

    def forward(self, x):
        x = self.net(x)
        x = self.attention(x, x, x)[0] + x
        return self.last["a"](x) + self.last["b"](x)


def main():
    start()
    model = Attentive().cuda()
    model = FSDP(
        model,
        auto_wrap_policy=functools.partial(
            size_based_auto_wrap_policy, min_num_params=int(sys.argv[1])
        ),
        device_id=torch.cuda.current_device(),
    )
    train(model)
"""

HANDED_ON = """

def sized(module, recurse, nonwrapped_numel):
    return size_based_auto_wrap_policy(module, recurse, nonwrapped_numel, 100)


def main():
    train(FSDP(start(), auto_wrap_policy=sized, device_id=torch.cuda.current_device()))
"""

PREDICATE = """

def is_unit(module, recurse, nonwrapped_numel):
    if recurse:
        return True
    if isinstance(module, Block):
        return True
    return isinstance(module, nn.Linear) and module.out_features == 3


def main():
    train(FSDP(start(), auto_wrap_policy=is_unit, device_id=torch.cuda.current_device()))
"""

COUNTING = """

def counting(module, recurse, nonwrapped_numel, least=100):
    if recurse:
        return True
    return isinstance(module, (Block, nn.Linear)) and nonwrapped_numel >= least


def main():
    least = int(sys.argv[1])
    policy = functools.partial(counting, least=least) if least else counting
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

RECURSING = """

class Policy:
    def __init__(self, least):
        self.least = least

    def decide(self, module, recurse, nonwrapped_numel):
        if isinstance(module, nn.ModuleList):
            return recurse
        if recurse and isinstance(module, Block):
            return self.least > 20
        return nonwrapped_numel >= self.least


def main():
    policy = Policy(int(sys.argv[1]))
    train(FSDP(start(), auto_wrap_policy=policy.decide, device_id=torch.cuda.current_device()))
"""

ALWAYS = """

def main():
    train(FSDP(start(), auto_wrap_policy=always_wrap_policy, device_id=torch.cuda.current_device()))
"""

CUSTOM = """

def main():
    policy = CustomPolicy(lambda m: isinstance(m, Block) or hasattr(m, "out_features"))
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

CONTEXT = """

class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 7)
        with enable_wrap(wrapper_cls=FSDP, device_id=torch.cuda.current_device()):
            self.blocks = nn.Sequential(wrap(Block(7)), wrap(Block(7)))
        self.last = nn.Linear(7, 3)

    def forward(self, x):
        return self.last(self.blocks(self.first(x)))


def main():
    start()
    train(FSDP(Nested(), device_id=torch.cuda.current_device()))
"""

CONTEXT_AROUND = """

class Wrapping(Net):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([wrap(Block(7)), wrap(Block(7), mixed_precision=None)])
        self.last = wrap(self.last)


def main():
    start()
    low = MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    with enable_wrap(
        wrapper_cls=FSDP,
        sharding_strategy=ShardingStrategy.SHARD_GRAD_OP,
        device_id=torch.cuda.current_device(),
    ):
        model = wrap(Wrapping())
        other = wrap(Net(), mixed_precision=low)
    train(model)
    train(other)
"""

CARRIED = """

def get_policy(kind, least=100):
    if kind == "size":
        return functools.partial(size_based_auto_wrap_policy, min_num_params=least)
    if kind == "blocks":
        return functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={Block})
    if kind == "heads":
        return functools.partial(
            lambda_auto_wrap_policy, lambda_fn=lambda m: getattr(m, "out_features", 0) == 3
        )
    return always_wrap_policy if kind == "always" else None


def main():
    policy = get_policy(sys.argv[1])
    if policy is None:
        print("one unit")
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

CLASSES = """
import dataclasses

from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)

KINDS = {"block": Block, "linear": nn.Linear}


@dataclasses.dataclass
class Config:
    policy: ModuleWrapPolicy | None = None


def configured(words):
    if words:
        return Config(ModuleWrapPolicy({KINDS[word] for word in words.split("+")}))
    return Config()


def main():
    config = configured(sys.argv[1])
    train(FSDP(start(), auto_wrap_policy=config.policy, device_id=torch.cuda.current_device()))
    model = Net().cuda()
    blocks = ModuleWrapPolicy([Block])
    apply_activation_checkpointing(model, auto_wrap_policy=blocks)
    train(FSDP(model, auto_wrap_policy=blocks, device_id=torch.cuda.current_device()))
"""

CHOSEN = """

def main():
    policy = None
    if sys.argv[1] == "blocks":
        policy = ModuleWrapPolicy({Block})
    elif sys.argv[1]:
        policy = functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: hasattr(m, "bias"))
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

EITHER = """

def units(kinds, least):
    def wide(module):
        return isinstance(module, nn.Linear) and module.out_features >= least

    by_width = functools.partial(lambda_auto_wrap_policy, lambda_fn=wide)
    by_class = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls=set(kinds))
    return functools.partial(_or_policy, policies=[by_width, by_class])


def main():
    policy = units([Block], int(sys.argv[1]))
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

BY_EXPRESSION = """

def shard(model, units=None, strategy=ShardingStrategy.FULL_SHARD, device=None):
    return FSDP(
        model,
        auto_wrap_policy=ModuleWrapPolicy(units or {Block}),
        sharding_strategy=strategy,
        device_id=device,
    )


def main():
    sharded = functools.partial(shard, device=torch.cuda.current_device())
    if sys.argv[1]:
        train(sharded(start(), {nn.Linear}, strategy=ShardingStrategy.SHARD_GRAD_OP))
    else:
        train(sharded(start()))
"""

GROWN = """

def units(names):
    def wide(module):
        return getattr(module, "out_features", 0) >= 7

    def narrow(module):
        return getattr(module, "out_features", 99) < 7

    by_width = functools.partial(lambda_auto_wrap_policy, lambda_fn=wide)
    by_class = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={Block})
    if "blocks" in names:
        return by_class
    policies = [by_width]
    if "all" in names:
        policies.extend([functools.partial(lambda_auto_wrap_policy, lambda_fn=narrow), by_class])
    elif "more" in names:
        policies.append(by_class)
    return functools.partial(_or_policy, policies=policies)


def main():
    policy = units(sys.argv[1].split("+"))
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

OF_PARTS = """

class Part:
    def __init__(self, kind):
        self.kind = kind

    def get_policy(self):
        return functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={self.kind})


class Ends(Part):
    def get_policy(self):
        ends = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={self.kind})
        return functools.partial(_or_policy, policies=[ends, ModuleWrapPolicy([nn.ReLU])])


class Whole:
    def __init__(self):
        self.parts = Part(Block), Ends(nn.Linear)

    def get_policy(self):
        first, second = self.parts
        one = first.get_policy()
        two = second.get_policy()
        return functools.partial(_or_policy, policies=[one, two, ModuleWrapPolicy({Net})])


def main():
    policy = Whole().get_policy()
    train(FSDP(start(), auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

LIST_OF_A_FUNCTION = """

def policies(more):
    found = [ModuleWrapPolicy({Block})]
    if more:
        found.append(ModuleWrapPolicy([nn.Linear]))
    return found


def main():
    found = policies(sys.argv[1])
    model = FSDP(
        start(),
        auto_wrap_policy=functools.partial(_or_policy, policies=found),
        device_id=torch.cuda.current_device(),
    )
    train(model)
"""

# Each with the arguments that it is run with.
PROGRAMS = {
    "size": (SIZE, ("1", "40", "100", "190", "400", "100000")),
    "size of attention": (SIZE_OF_ATTENTION, ("20", "30", "60")),
    "handed on": (HANDED_ON, ("",)),
    "predicate": (PREDICATE, ("",)),
    "counting": (COUNTING, ("0", "30", "300")),
    "recursing": (RECURSING, ("20", "30", "100000")),
    "always": (ALWAYS, ("",)),
    "custom": (CUSTOM, ("",)),
    "carried": (CARRIED, ("size", "blocks", "heads", "always", "")),
    "classes": (CLASSES, ("block", "linear", "block+linear", "")),
    "either": (EITHER, ("1", "1000")),
    "by expression": (BY_EXPRESSION, ("linear", "")),
    "chosen": (CHOSEN, ("blocks", "bias", "")),
    "grown list": (GROWN, ("blocks", "all", "more", "")),
    "list of what parts say": (OF_PARTS, ("",)),
    "list of a function": (LIST_OF_A_FUNCTION, ("more", "")),
    "context": (CONTEXT, ("",)),
    "context around": (CONTEXT_AROUND, ("",)),
}
