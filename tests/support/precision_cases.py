"""Mixed precisions that are chosen where they are made, with buffers of a dtype of their own."""

from __future__ import annotations

IMPORTS = """\
import sys

from torch.distributed.fsdp import MixedPrecision
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

# Each with the arguments that it is run with.
PROGRAMS = {
    "buffers as gradients": (AS_GRADIENTS, ("low+whole", "low+low", "none+whole")),
}
