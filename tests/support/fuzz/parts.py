"""The pieces of a training program: each is one way in which people write one thing.

A piece is lines for up to five places of the program.  In `setup` and `before` the plain model is
called `net`; from `after` on the wrapped one is called `model`, and `optimizer` is there.
"""

from __future__ import annotations

from support.fuzz.piece import Piece

MODEL = """
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(3 * width, width)

    def forward(self, x):
        return x + self.outer(torch.relu(self.inner(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def groups(self):
        weights = [p for n, p in self.named_parameters() if n.endswith("weight")]
        others = [p for n, p in self.named_parameters() if not n.endswith("weight")]
        return [{"params": weights, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
"""

POLICIES = {
    "none": "",
    "module": "auto_wrap_policy=ModuleWrapPolicy({Block})",
    "transformer": (
        "auto_wrap_policy=functools.partial("
        "transformer_auto_wrap_policy, transformer_layer_cls={Block})"
    ),
}
PRECISIONS = {
    "full": "",
    "bf16": (
        "mixed_precision=MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)"
    ),
}
STRATEGIES = {
    "default": "",
    "grad": "sharding_strategy=ShardingStrategy.SHARD_GRAD_OP",
    "none": "sharding_strategy=ShardingStrategy.NO_SHARD",
}

# How the plain model is made: for most of these the analysis can't say what it is.
MAKERS = {
    "class": Piece("net = Net().cuda()"),
    "class of a table": Piece('net = {"net": Net}["net"]().cuda()'),
    "named at run time": Piece('net = globals()["N" + "et"]().cuda()'),
    "evaluated": Piece('net = eval("Net()").cuda()'),
    "copied": Piece("net = copy.deepcopy(Net()).cuda()"),
    "loaded": Piece(
        "net = load(Net()).cuda()",
        top=(
            "def load(net):\n    file = io.BytesIO()\n    torch.save(net, file)\n"
            "    file.seek(0)\n    return torch.load(file, weights_only=False)"
        ),
    ),
    "function of a name": Piece(
        'net = make("Net").cuda()', top="def make(name):\n    return globals()[name]()"
    ),
}

# Where the model is wrapped: `WRAP(x)` becomes the constructor call with `x` wrapped.
PLACES = {
    "inline": Piece("model = WRAP(net)"),
    "same name": Piece("net = WRAP(net)\nmodel = net"),
    "helper": Piece("model = shard(net)", top="def shard(module):\n    return WRAP(module)"),
    "helper with a name": Piece(
        "model = shard(net)",
        top="def shard(module):\n    sharded = WRAP(module)\n    return sharded",
    ),
    "constructor": Piece(
        "job = Job(net)\nmodel = job.net",
        top="class Job:\n    def __init__(self, net):\n        self.net = WRAP(net)",
    ),
    "method": Piece(
        "job = Job(net)\njob.shard()\nmodel = job.net",
        top=(
            "class Job:\n    def __init__(self, net):\n        self.net = net\n\n"
            "    def shard(self):\n        self.net = WRAP(self.net)"
        ),
    ),
    "condition": Piece("model = net\nif dist.get_world_size() > 1:\n    model = WRAP(net)"),
    "choice": Piece("model = WRAP(net) if dist.get_world_size() > 1 else net"),
    "blocks by hand": Piece(
        "for i, block in enumerate(net.blocks):\n    net.blocks[i] = WRAP(block)\nmodel = WRAP(net)"
    ),
    "tuple": Piece(
        "model, count = shard(net, 3)",
        top="def shard(module, count):\n    return WRAP(module), count",
    ),
}

# What is made of parameters, and where.  The last line of the last place makes `optimizer`.
CROSSINGS = {
    "nothing": Piece(after="optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)"),
    "sgd": Piece(after="optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)"),
    "optimizer": Piece(
        before="optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)", flat=False
    ),
    "optimizer and scheduler": Piece(
        before=(
            "optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)\n"
            "scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)"
        ),
        flat=False,
    ),
    "list": Piece(
        before="chosen = list(net.parameters())",
        after="optimizer = torch.optim.AdamW(chosen, lr=1e-2)",
        flat=False,
    ),
    "filtered": Piece(
        before="chosen = list(filter(lambda p: p.requires_grad, net.parameters()))",
        after="optimizer = torch.optim.AdamW(chosen, lr=1e-2)",
        flat=False,
    ),
    "append": Piece(
        before=(
            "decay, other = [], []\n"
            "for name, p in net.named_parameters():\n"
            "    if p.ndim > 1:\n        decay.append(p)\n    else:\n        other.append(p)"
        ),
        after=(
            'optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.3}, '
            '{"params": other, "weight_decay": 0.0}], lr=1e-2)'
        ),
        flat=False,
    ),
    "helper": Piece(
        top=(
            "def groups_of(module):\n"
            "    slow = [p for n, p in module.named_parameters() if n.startswith('head')]\n"
            "    fast = [p for n, p in module.named_parameters() if not n.startswith('head')]\n"
            '    return [{"params": slow, "lr": 1e-3}, {"params": fast}]'
        ),
        before="groups = groups_of(net)",
        after="optimizer = torch.optim.AdamW(groups, lr=1e-2)",
        flat=False,
    ),
    "own method": Piece(
        before="groups = net.groups()",
        after="optimizer = torch.optim.AdamW(groups, lr=1e-2)",
        flat=False,
    ),
    "ids": Piece(
        before="chosen = {id(p) for p in net.head.parameters()}",
        after=(
            "slow = [p for p in model.parameters() if id(p) in chosen]\n"
            "fast = [p for p in model.parameters() if id(p) not in chosen]\n"
            'optimizer = torch.optim.SGD([{"params": slow, "lr": 0.01}, {"params": fast}], lr=0.1)'
        ),
        flat=False,
    ),
    "set": Piece(
        before="chosen = set(net.head.parameters())",
        after=(
            "slow = [p for p in model.parameters() if p in chosen]\n"
            "fast = [p for p in model.parameters() if p not in chosen]\n"
            'optimizer = torch.optim.SGD([{"params": slow, "lr": 0.01}, {"params": fast}], lr=0.1)'
        ),
        flat=False,
    ),
    "by name": Piece(
        before="known = dict(net.named_parameters())",
        after="optimizer = torch.optim.AdamW([known[n] for n in sorted(known)], lr=1e-2)",
        flat=False,
    ),
    "attribute": Piece(
        before="for p in net.head.parameters():\n    p.slow = True",
        after=(
            'slow = [p for p in model.parameters() if getattr(p, "slow", False)]\n'
            'fast = [p for p in model.parameters() if not getattr(p, "slow", False)]\n'
            'optimizer = torch.optim.SGD([{"params": slow, "lr": 0.01}, {"params": fast}], lr=0.1)'
        ),
        flat=False,
    ),
    "part": Piece(
        before="head = net.head",
        after=(
            'optimizer = torch.optim.AdamW([{"params": head.parameters(), "lr": 1e-3}, '
            '{"params": [p for n, p in model.named_parameters() if "head" not in n]}], lr=1e-2)'
        ),
        flat=False,
    ),
    "frozen": Piece(
        before="for p in net.stem.parameters():\n    p.requires_grad_(False)",
        after=(
            "optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], "
            "lr=1e-2)"
        ),
        flat=False,
    ),
    "of modules": Piece(
        before=(
            "decay, other = [], []\n"
            "for module in net.modules():\n"
            "    for name, p in module.named_parameters(recurse=False):\n"
            "        chosen = other if name == 'bias' else decay\n"
            "        chosen.append(p)"
        ),
        after=(
            'optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.3}, '
            '{"params": other, "weight_decay": 0.0}], lr=1e-2)'
        ),
        flat=False,
    ),
    "of children": Piece(
        before=(
            "groups = []\n"
            "for i, (name, child) in enumerate(net.named_children()):\n"
            "    groups.append({'params': child.parameters(), 'lr': 1e-2 / (i + 1)})\n"
            "optimizer = torch.optim.AdamW(groups)"
        ),
        flat=False,
    ),
    "of parts": Piece(
        before=(
            "head, blocks = net.head, net.blocks\n"
            "chosen = [*head.parameters(), *blocks[0].parameters(), *blocks[1].parameters()]\n"
            "optimizer = torch.optim.AdamW([*chosen, *net.stem.parameters()], lr=1e-2)"
        ),
        flat=False,
    ),
    "weights": Piece(
        before=(
            "weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]\n"
            "biases = [m.bias for m in net.modules() if isinstance(m, nn.Linear)]\n"
            "optimizer = torch.optim.AdamW([{'params': weights}, {'params': biases}], lr=1e-2)"
        ),
        flat=False,
    ),
    "both in a helper": Piece(
        top=(
            "def tools_of(module):\n"
            "    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)\n"
            "    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)\n"
            "    return optimizer, scheduler"
        ),
        before="optimizer, scheduler = tools_of(net)",
        flat=False,
    ),
    "second model": Piece(
        before="teacher = Net().cuda().requires_grad_(False)",
        after=(
            "teacher = WRAP(teacher)\n"
            "with torch.no_grad():\n"
            "    print(round(teacher(torch.ones(2, 6, device='cuda')).sum().item(), 2))\n"
            "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)"
        ),
        flat=False,
    ),
    "evaluated first": Piece(
        after=(
            "with torch.no_grad():\n    model(torch.ones(2, 6, device='cuda'))\n"
            "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)"
        )
    ),
    "evaluated in a helper": Piece(
        top=(
            "@torch.no_grad()\ndef evaluate(net):\n"
            "    return net(torch.ones(2, 6, device='cuda')).sum().item()"
        ),
        after=(
            "print(round(evaluate(model), 4))\n"
            "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)"
        ),
    ),
}

# A step of the training loop: `x` is the batch and `i` its number.
STEP = "model(x).square().mean().backward()"
LOOPS = {
    "plain": Piece(STEP),
    "accumulate": Piece(
        "with model.no_sync() if i % 2 == 0 else contextlib.nullcontext():\n"
        f"    {STEP}\nif i % 2 == 0:\n    continue"
    ),
    "accumulate in branches": Piece(
        f"if i % 2 == 0:\n    with model.no_sync():\n        {STEP}\n    continue\n{STEP}"
    ),
    "clip": Piece(f"{STEP}\nmodel.clip_grad_norm_(1000.0)"),
    "clip logged": Piece(f"{STEP}\nprint(round(float(model.clip_grad_norm_(1000.0)), 2))"),
    "clip by item": Piece(
        f"{STEP}\nnorm = model.clip_grad_norm_(max_norm=1000.0)\nprint(f'{{norm.item():.2f}}')"
    ),
    "two backwards": Piece(
        f"with model.no_sync():\n    {STEP}\nmodel(x + 1).square().mean().backward()"
    ),
}

# What else is done in the loop, behind the optimizer's step.
USES = {
    "nothing": Piece(),
    "again nothing": Piece(),
    "evaluate": Piece("with torch.no_grad():\n    print(round(model(x).sum().item(), 4))"),
    "evaluate in eval mode": Piece(
        "model.eval()\nwith torch.no_grad():\n    print(round(model(x).sum().item(), 2))\n"
        "model.train()"
    ),
    "evaluate in inference mode": Piece(
        "with torch.inference_mode():\n    print(round(model(x).sum().item(), 2))"
    ),
    "isinstance": Piece("print(isinstance(model, FSDP))"),
    "class name": Piece("print(type(model).__name__)"),
    "names": Piece("print([n for n, _ in model.named_parameters()][:2])"),
    "count": Piece("print(sum(p.numel() for p in model.parameters()))"),
    "count of all": Piece(
        "count = torch.tensor(sum(p.numel() for p in model.parameters()), device='cuda')\n"
        "dist.all_reduce(count)\nprint(count.item())"
    ),
    "module": Piece("print(model.module.head.out_features)"),
    "rank": Piece("print(model.rank, model.world_size)"),
    "data": Piece("for p in model.parameters():\n    p.data = p.data.clamp(-0.3, 0.3)", flat=False),
    "data in place": Piece("for p in model.parameters():\n    p.data.mul_(0.99)"),
    "data of groups": Piece(
        "for group in optimizer.param_groups:\n    for p in group['params']:\n"
        "        p.data = p.data * 0.99",
        flat=False,
    ),
    "weights": Piece(
        "with FSDP.summon_full_params(model):\n"
        "    print(round(sum(p.norm().item() for p in model.parameters()), 3))"
    ),
    "largest weight": Piece(
        "with FSDP.summon_full_params(model, writeback=False):\n"
        "    print(round(max(p.abs().max().item() for p in model.module.head.parameters()), 4))"
    ),
    "norm of shards": Piece(
        "total = torch.zeros((), device='cuda')\n"
        "for p in model.parameters():\n    total += p.detach().square().sum()\n"
        "dist.all_reduce(total)\nprint(round(total.item(), 3))"
    ),
    "units": Piece("print(len(FSDP.fsdp_modules(model)))"),
    "numbers": Piece(
        "print(sum(len(p.detach().cpu().numpy().ravel()) for p in model.parameters()) > 0)"
    ),
    "noise": Piece(
        "with torch.no_grad():\n    for p in model.parameters():\n"
        "        p.add_(torch.randn_like(p), alpha=1e-3)"
    ),
    "mean": Piece(
        "with torch.no_grad():\n"
        "    for e, p in zip(average, model.parameters()):\n        e.lerp_(p, 0.1)",
        after="average = [p.detach().clone() for p in model.parameters()]",
    ),
    "mean by name": Piece(
        "with torch.no_grad():\n    for n, p in model.named_parameters():\n"
        "        average[n].mul_(0.9).add_(p, alpha=0.1)",
        after="average = {n: p.detach().clone() for n, p in model.named_parameters()}",
    ),
}

# What is done with the module inside, below the wrap.
INNER = {
    "nothing": Piece(),
    "again nothing": Piece(),
    "data": Piece("for p in net.parameters():\n    p.data = p.data * 0.5", flat=False),
    "data in a helper": Piece(
        "shrink(net)",
        top="def shrink(module):\n    for p in module.parameters():\n        p.data = p.data * 0.5",
        flat=False,
    ),
    "data of a part": Piece(
        "for p in net.head.parameters():\n    p.data = p.data.clamp(-0.1, 0.1)", flat=False
    ),
    "in place": Piece("with torch.no_grad():\n    for p in net.parameters():\n        p.mul_(0.5)"),
    "count": Piece("print(sum(p.numel() for p in net.parameters()))"),
    "names": Piece("print([n for n, _ in net.named_parameters()][:2])"),
    "norm": Piece("print(round(sum(p.detach().norm().item() for p in net.parameters()), 3))"),
    "mode": Piece("net.eval()\nnet.train()"),
    "parts": Piece("print([type(m).__name__ for m in net.children()])"),
}

# What is saved at the end: `out` is the folder.
CHECKPOINTS = {
    "nothing": Piece(),
    "no context": Piece(
        "state = model.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "full": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, "
        "FullStateDictConfig(offload_to_cpu=True, rank0_only=True)):\n"
        "    state = model.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "full in a helper": Piece(
        "save(model, out)",
        top=(
            "def state_of(net):\n    return net.state_dict()\n\n\n"
            "def save(net, out):\n"
            "    with FSDP.state_dict_type(net, StateDictType.FULL_STATE_DICT):\n"
            "        state = state_of(net)\n"
            "    if dist.get_rank() == 0:\n        torch.save(state, f'{out}/model.pt')"
        ),
    ),
    "part": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    state = model.module.blocks.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "parts in a loop": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    state = {n: c.state_dict() for n, c in model.named_children()}\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "set type": Piece(
        "FSDP.set_state_dict_type(model, StateDictType.FULL_STATE_DICT)\n"
        "state = model.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "with optimizer": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    state = {'model': model.state_dict(), "
        "'optimizer': FSDP.optim_state_dict(model, optimizer)}\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "there and back": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    state = model.state_dict()\n"
        "    saved = {name: value.clone() for name, value in state.items()}\n"
        "train(model, optimizer)\n"
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    model.load_state_dict(saved)\n"
        "train(model, optimizer)"
    ),
    "of the module": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    state = model.module.state_dict()\n"
        "if dist.get_rank() == 0:\n    torch.save(state, f'{out}/model.pt')"
    ),
    "sharded there and back": Piece(
        "with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):\n"
        "    dcp.save({'model': model.state_dict()}, checkpoint_id=f'{out}.dcp')\n"
        "train(model, optimizer)\n"
        "with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):\n"
        "    state = {'model': model.state_dict()}\n"
        "    dcp.load(state, checkpoint_id=f'{out}.dcp')\n"
        "    model.load_state_dict(state['model'])\n"
        "train(model, optimizer)"
    ),
    "optimizer there and back": Piece(
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    saved = copy.deepcopy(FSDP.optim_state_dict(model, optimizer))\n"
        "train(model, optimizer)\n"
        "with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):\n"
        "    optimizer.load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, saved))\n"
        "train(model, optimizer)"
    ),
}
