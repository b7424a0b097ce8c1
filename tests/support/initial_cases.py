"""Where first weights come from under FSDP1: a function, the modules themselves, the first rank."""

from __future__ import annotations

from support.training_cases import HEAD, TAIL

STEPS = """

def empty():
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(0)
    with torch.device("meta"):
        return Net()


def small(module):
    if isinstance(module, nn.Linear):
        module.to_empty(device=torch.cuda.current_device(), recurse=False)
        nn.init.uniform_(module.weight, -0.2, 0.2)
        nn.init.zeros_(module.bias)


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

BY_FLAG = """

def chosen(by_hand):
    if by_hand:
        init = small
    else:
        init = None
    return ModuleWrapPolicy({{Block}}), init


def main(by_hand={by_hand}):
    policy, init = chosen(by_hand)
    model = FSDP(
        empty(), auto_wrap_policy=policy, param_init_fn=init, use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    train(model)
"""

IN_PLACE = """

def main(by_hand=True):
    model = empty()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        param_init_fn=(lambda module: small(module)) if by_hand else None,
        device_id=torch.cuda.current_device(),
    )
    train(model)
"""

BY_DEFAULT = """

def sharded(init=None, **more):
    return FSDP(
        empty(), auto_wrap_policy=ModuleWrapPolicy({Block}), param_init_fn=init,
        use_orig_params=True, device_id=torch.cuda.current_device(),
    )


def main():
    train(sharded())


def by_hand():
    train(sharded(small))
"""

OFFLOADED = """

def room(module):
    module.to_empty(device=torch.cuda.current_device(), recurse=False)
    for parameter in module.parameters(recurse=False):
        nn.init.constant_(parameter, dist.get_rank() + 0.1)


def main(offload=True):
    model = empty()
    if dist.get_rank() == 0:
        model = Net()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        param_init_fn=room, sync_module_states=True,
        cpu_offload=CPUOffload(offload_params=True) if offload else None,
        device_id=torch.cuda.current_device(),
    )
    train(model)
"""

PROGRAMS = {
    "a function or None, by a flag": BY_FLAG.format(by_hand=True),
    "None or a function, by a flag": BY_FLAG.format(by_hand=False),
    "a function or None, at the call": IN_PLACE,
    "a parameter that is None by default": BY_DEFAULT,
    "the first rank's, with shards on the CPU": OFFLOADED,
    "the first rank's, with shards on the device": OFFLOADED.replace("=True):", "=False):"),
}


def program(name: str) -> str:
    """The text of a case."""
    head = HEAD.replace("ShardingStrategy", "CPUOffload, ShardingStrategy")
    return head + STEPS + PROGRAMS[name] + TAIL
