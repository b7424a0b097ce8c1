"""Small programs with idioms of FSDP1 that have a word in FSDP2, as text."""

from __future__ import annotations

from support.training_cases import HEAD, TAIL

FREED = """
from torch.distributed.fsdp._runtime_utils import _lazy_init, _reshard
from torch.distributed.utils import _free_storage
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.utils.checkpoint import checkpoint


def units(module, recurse, nonwrapped_numel, layers=(Block,)):
    return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, layers)


def run(fn, x):
    return fn(x)


def main():
    model = FSDP(start(), auto_wrap_policy=units, device_id=torch.cuda.current_device())
    _lazy_init(model, model)
    teacher = FSDP(Net().cuda(), auto_wrap_policy=units, device_id=torch.cuda.current_device())
    with torch.no_grad():
        targets = [teacher(x) for x in batches(6)]
    for m in teacher.modules():
        if isinstance(m, FSDP):
            _free_storage(m._handle.flat_param.data)
    del teacher
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    forward = model.forward
    for index, (x, target) in enumerate(zip(batches(6), targets)):
        if index % 2:
            y = run(model.forward, x)
        else:
            y = forward(x) + 0 * checkpoint(model.forward, x, use_reentrant=False)
        (y - 2 * target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            print(round(model(x).sum().item(), 6))
        if model._handle is not None:
            model._handle.reshard(True)
        for m in FSDP.fsdp_modules(model):
            if m._has_params:
                _reshard(m, m._handle, True)
"""

MOVED = """
from torch.distributed.fsdp import LocalStateDictConfig, StateDictType


def move(model, device):
    for p in model.parameters():
        p.data = p.data.to(device, non_blocking=True)
        if p.grad is not None:
            p.grad = p.grad.to(device, non_blocking=True)


def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for index, x in enumerate(batches(5)):
        move(model, x.device)
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        move(model, "cpu")
        with FSDP.state_dict_type(
            model, StateDictType.LOCAL_STATE_DICT, LocalStateDictConfig()
        ):
            state = optimizer.state_dict()
        if index == 2:
            optimizer.load_state_dict(state)
"""

LOW = """
from torch.distributed.fsdp import MixedPrecision


def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
        mixed_precision=MixedPrecision(
            param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16, keep_low_precision_grads=True
        ),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(5):
        model(x).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

AVERAGED = """

class Average:
    def __init__(self, model, decay):
        self.model, self.decay = model, decay
        self.shadow = {}
        self.backup = {}
        for name, param in self.model.named_parameters():
            self.shadow[name] = param.data.clone()

    def update(self):
        for name, param in self.model.named_parameters():
            new = (1.0 - self.decay) * param.data + self.decay * self.shadow[name]
            self.shadow[name] = new.clone()

    def apply(self):
        for name, param in self.model.named_parameters():
            self.backup[name] = param.data
            param.data = self.shadow[name]

    def restore(self):
        for name, param in self.model.named_parameters():
            param.data = self.backup[name]
        self.backup = {}


def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    average = Average(model, 0.5)
    for x in batches(5):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        average.apply()  # FSDP1 loses what is kept when the model runs here
        average.restore()
    average.apply()
    with torch.no_grad():
        print(round(model(x).sum().item(), 6))
"""

SWAPPED = """

def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shadow = [p.detach().clone() for p in model.parameters()]
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        for _ in range(2):
            for p, s in zip(model.parameters(), shadow):
                p.data, s.data = s.data, p.data
"""

NODES = """
from torch.distributed.fsdp._init_utils import _init_intra_and_inter_node_groups


def main():
    model = start()
    groups = _init_intra_and_inter_node_groups(dist.group.WORLD, 2)
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), process_group=groups,
        sharding_strategy=ShardingStrategy.HYBRID_SHARD, device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

PROGRAMS = {
    "nodes": NODES,
    "averaged": AVERAGED,
    "swapped": SWAPPED,
    "freed": FREED,
    "low_precision_gradients": LOW,
    "moved": MOVED,
}


def program(name: str) -> str:
    """The whole text of a program."""
    return HEAD + PROGRAMS[name] + TAIL
