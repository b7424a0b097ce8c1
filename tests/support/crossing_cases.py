"""Programs that keep something of the parameters across the wrap, as text."""

from __future__ import annotations

WRAP = """FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
"""
TRAIN = """    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

# Lists that a loop fills, and a learning rate for each of a set of ids.
FILLED = f"""

def main():
    net = start()
    decay, plain = [], []
    for name, p in net.named_parameters():
        if p.ndim == 1 or name.startswith("first"):
            plain.append(p)
            continue
        decay.append(p)
    last = {{id(p) for p in net.last.parameters()}}
    model = {WRAP}
    groups = [
        {{"params": [p], "weight_decay": 0.2, "lr": 0.1 if id(p) in last else 0.01}}
        for p in decay
    ]
    optimizer = torch.optim.AdamW([*groups, {{"params": plain, "lr": 0.02}}])
{TRAIN}"""

# Attributes that classes set on their parameters, and a helper on others.
MARKED = f"""

class Scaled(Net):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.scale.plain = True

    def forward(self, x):
        return super().forward(x) * self.scale


def mark(parameter, **marks):
    for name, value in marks.items():
        setattr(parameter, name, value)


def groups(model):
    for p in model.parameters():
        plain = getattr(p, "plain", False)
        yield {{"params": [p], "weight_decay": 0.0 if plain else 0.3,
               "lr": 0.01 * getattr(p, "rate", 1.0)}}


def main():
    start()
    net = Scaled().cuda()
    for block in net.blocks:
        mark(block.inner.weight, rate=5.0)
    model = {WRAP}
    optimizer = torch.optim.AdamW(list(groups(model)))
{TRAIN}"""

# An optimizer and its schedule come with the model.
HANDED = """

class Trainer:
    def __init__(self, net, optimizer, schedule):
        self.net = net
        self.optimizer, self.schedule = optimizer, schedule
        self.prepare()

    def prepare(self):
        self.net = FSDP(
            self.net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
            device_id=torch.cuda.current_device(),
        )

    def run(self):
        for x in batches(4):
            self.net(x).square().mean().backward()
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()


def main():
    net = start()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    Trainer(net, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)).run()
"""

# Kept by objects that have to stay above, and by an optimizer from elsewhere.
KEPT = """

class Average:
    def __init__(self, model, rate):
        self.of = {name: p for name, p in model.named_parameters() if p.ndim > 1}
        self.rate = rate
        self.seen = sum(p.detach().sum().item() for p in self.of.values())

    def shrink(self):
        with torch.no_grad():
            torch._foreach_mul_(list(self.of.values()), self.rate)


class Marked(Net):
    def __init__(self):
        super().__init__()
        self.plain = [self.first.bias, self.last.bias]

    def rates(self):
        plain = {id(p) for p in self.plain}
        rest = [p for p in self.parameters() if id(p) not in plain]
        return [{"params": self.plain, "lr": 0.1}, {"params": rest, "lr": 0.02}]


def fit(net, average, optimizer):
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    slow = torch.optim.SGD(net.rates())
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        slow.step()
        average.shrink()
        optimizer.zero_grad()


def main():
    start()
    net = Marked().cuda()
    average = Average(net, 0.9)
    fit(net, average, vars(torch.optim)["SGD"](net.parameters(), lr=0.05))
"""

# Groups of one model, which is wrapped as a part of another, made by a function.
INSIDE = (
    """

class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.inner(x) * self.scale


def put(inner):
    return Outer(inner).cuda()


def main():
    net = start()
    slow = list(net.blocks[0].parameters())
    fast = [p for block in net.blocks[1:] for p in block.parameters()]
    outer = put(net)
    model = FSDP(outer, use_orig_params=True, device_id=torch.cuda.current_device())
    optimizer = torch.optim.AdamW([{"params": slow, "lr": 0.1}, {"params": fast, "lr": 0.01}])
"""
    + TRAIN
)

CROSSING = {"kept": KEPT, "filled": FILLED, "marked": MARKED, "handed": HANDED, "inside": INSIDE}
