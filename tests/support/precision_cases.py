"""Mixed precisions that are chosen where they are made, with buffers of a dtype of their own."""

from __future__ import annotations

IMPORTS = """\
import functools
import sys

from torch.distributed.fsdp import MixedPrecision
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy, transformer_auto_wrap_policy
"""

SCALED = """

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.register_buffer("scale", torch.linspace(0.1, 1.3, 5), persistent=False)

    def forward(self, x):
        return self.net(x * self.scale.to(x.dtype))


def scaled():
    start()
    return Scaled().cuda()


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x in batches(4):
        model(x).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

AS_GRADIENTS = """

def main():
    low, whole = sys.argv[1].split("+")
    if low == "low":
        reduced = torch.float32 if whole == "whole" else torch.bfloat16
        precision = MixedPrecision(
            param_dtype=torch.bfloat16, reduce_dtype=reduced, buffer_dtype=reduced
        )
    else:
        precision = MixedPrecision(
            param_dtype=torch.float32, reduce_dtype=torch.float32, buffer_dtype=torch.float32
        )
    model = FSDP(
        scaled(), auto_wrap_policy=ModuleWrapPolicy({Block}), mixed_precision=precision,
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
    print(f"{precision.param_dtype} {precision.reduce_dtype} {precision.buffer_dtype}")
    train(model)
"""

ATTENTIVE = """

class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.heads = nn.Linear(3, 9)
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)
        self.last = nn.Linear(3, 9)

    def forward(self, x):
        query, key, value = self.heads(self.net(x)).chunk(3, dim=-1)
        return self.last(self.attention(query, key, value)[0])


def attentive():
    start()
    return Attentive().cuda()


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x in batches(4):
        model(x).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

# Attention is a unit of its own with mixed precision only, and one part of it is too small to be.
WRITTEN_OUT = """

def main():
    low = sys.argv[1] == "low"
    model = FSDP(
        attentive(),
        auto_wrap_policy=functools.partial(size_based_auto_wrap_policy, min_num_params=20),
        mixed_precision=MixedPrecision(param_dtype=torch.bfloat16) if low else None,
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
    train(model)
"""
PASSED_ON = """

def get_policy(by_class):
    if by_class:
        return functools.partial(
            transformer_auto_wrap_policy, transformer_layer_cls={Block, nn.MultiheadAttention}
        )
    return functools.partial(size_based_auto_wrap_policy, min_num_params=20)


def get_precision(low):
    if low:
        return MixedPrecision(torch.bfloat16, torch.float32, torch.float32)
    return None


def main():
    precision, kind = sys.argv[1].split("+")
    model = FSDP(
        attentive(),
        auto_wrap_policy=get_policy(kind == "classes"),
        mixed_precision=get_precision(precision == "low"),
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
    train(model)
"""
ONE_OF_TWO = """

def by_size(least):
    return functools.partial(size_based_auto_wrap_policy, min_num_params=least)


def main():
    policy = by_size(20)
    low = FSDP(
        attentive(), auto_wrap_policy=policy, mixed_precision=MixedPrecision(torch.bfloat16),
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
    train(low)
    full = Attentive().cuda()
    train(FSDP(full, auto_wrap_policy=policy, device_id=torch.cuda.current_device()))
"""

# Each with the arguments that it is run with.
PROGRAMS = {
    "buffers as gradients": (AS_GRADIENTS, ("low+whole", "low+low", "none+whole")),
}
WITH_ATTENTION = {
    "written out": (WRITTEN_OUT, ("low", "none")),
    "passed on": (PASSED_ON, ("low+size", "none+size", "low+classes", "none+classes")),
    "one of two": (ONE_OF_TWO, ("",)),
}
