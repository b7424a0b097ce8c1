"""Ways to accumulate gradients under FSDP1, each of which FSDP2's flags can say."""

from __future__ import annotations

from support.training_cases import HEAD, TAIL

WRAPPED = """

def wrapped():
    return FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}),
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
"""

LAMBDA = """

def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    quiet = lambda last: contextlib.nullcontext() if last else model.no_sync()

    def step(xs):
        for k, x in enumerate(xs):
            with quiet(k == len(xs) - 1):
                model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    for n in (3, 1, 2):
        step(list(batches(n)))
"""

METHOD = """

class Loop:
    def __init__(self):
        self.model = FSDP(
            start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
            sharding_strategy=ShardingStrategy.SHARD_GRAD_OP,
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def window_of(self, last) -> "contextlib.AbstractContextManager":
        if last:
            return contextlib.nullcontext()
        return self.model.no_sync()

    def step(self, xs):
        for k, x in enumerate(xs):
            with self.window_of(k == len(xs) - 1):
                self.model(x).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def main():
    loop = Loop()
    for n in (3, 1, 2):
        loop.step(list(batches(n)))
"""

MANAGER = """

class Plain:
    def __init__(self):
        self.model = self.wrap(start())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def wrap(self, model):
        return model

    def quiet(self):
        return contextlib.nullcontext()

    def step(self, xs):
        for k, x in enumerate(xs):
            with self.quiet() if k < len(xs) - 1 else contextlib.nullcontext():
                self.model(x).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


class Sharded(Plain):
    def wrap(self, model):
        return FSDP(
            model, auto_wrap_policy=ModuleWrapPolicy({Block}),
            device_id=torch.cuda.current_device(), use_orig_params=True,
        )

    def quiet(self):
        return self.model.no_sync()


def main():
    loop = Sharded()
    for n in (3, 1, 2):
        loop.step(list(batches(n)))
"""

DECORATED = """

def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def alone(function):
        def run(*args):
            with model.no_sync():
                return function(*args)
        return run

    @alone
    def warm(x):
        model(x).square().mean().backward()

    for n in (3, 1, 2):
        first, *rest = batches(n + 1)
        warm(first)
        for x in rest:
            model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

EITHER = """

def build(kind):
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(start())
    return wrapped()


def main(kind="fsdp"):
    model = build(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for n in (3, 1, 2):
        xs = list(batches(n))
        for k, x in enumerate(xs):
            last = k == len(xs) - 1
            with contextlib.nullcontext() if last else model.no_sync():
                model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

EITHER_APART = """

def build(kind):
    return nn.parallel.DistributedDataParallel(start()) if kind == "ddp" else wrapped()


def main(kind="fsdp"):
    model = build(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y, z in zip(batches(3), batches(3), batches(3)):
        with model.no_sync():
            model(x).square().mean().backward()
            model(y).square().mean().backward()
        model(z).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

HELD = """

def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for n in (3, 1, 2):
        xs = list(batches(n))
        held = [contextlib.nullcontext() if x is xs[-1] else model.no_sync() for x in xs]
        for x, context in zip(xs, held):
            with context:
                model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

LARGEST = """

def main():
    model = wrapped()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    for x in batches(3):
        model(x).square().mean().backward()
        norm = model.clip_grad_norm_(0.01, norm_type=float("inf"))
        print(f"{float(norm):.5f}")
        optimizer.step()
        optimizer.zero_grad()
"""

EMPTY_SHARDS = """

def main(order="inf"):
    start()
    model = FSDP(nn.Linear(5, 1).cuda(), use_orig_params=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(3):
        model(x).square().mean().backward()
        norm = model.clip_grad_norm_(0.01, 2.0 if len(order) > 3 else float(order))
        print(f"{norm:.5f}")
        optimizer.step()
        optimizer.zero_grad()
"""

BOTH_KINDS = """

def main():
    net = start()
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), ignored_modules=[net.last],
        device_id=torch.cuda.current_device(), use_orig_params=True,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    for seed in range(3):  # the same on all ranks: nobody adds up what FSDP ignores
        x = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)).cuda()
        model(x).square().mean().backward()
        norm = model.clip_grad_norm_(0.01)
        print(f"{norm:.5f}")
        optimizer.step()
        optimizer.zero_grad()
"""

CLIP_KEPT = """

def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    clip = model.clip_grad_norm_
    for x in batches(3):
        model(x).square().mean().backward()
        norm = clip(0.01) if x.sum() > 1e9 else clip(max_norm=0.02, norm_type="inf")
        print(f"{norm:.5f}")
        optimizer.step()
        optimizer.zero_grad()
"""

WHOLE_READ = """

def norms(model, tag):
    with FSDP.summon_full_params(model, writeback=False, rank0_only=True):
        if dist.get_rank() == 0:
            for name, p in model.named_parameters():
                print(tag, name, tuple(p.shape), f"{p.norm().item():.5f}")


def largest(model):
    found = 0.0
    with FSDP.summon_full_params(model, writeback=False):
        for p in model.parameters():
            found = max(found, p.detach().abs().max().item())
        bias = [f"{b:.5f}" for b in model.last.bias.tolist()]
    return found, bias


def main():
    model = wrapped()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    norms(model, "first")
    for x in batches(3):
        with torch.no_grad():
            model(x)
        found, bias = largest(model)
        print(f"{found:.5f}", bias)
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    norms(model, "last")
"""

WHOLE_EDIT = """

def main():
    model = wrapped()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step, x in enumerate(batches(4)):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 1:
            with FSDP.summon_full_params(model), torch.no_grad():
                model.last.weight.mul_(0.5)
                model.last.bias.zero_()
        if step == 2:
            with torch.no_grad():
                with FSDP.summon_full_params(model):
                    for p in model.parameters():
                        p.clamp_(-0.25, 0.25)
"""

AVERAGE = """

def main():
    model = wrapped()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with FSDP.summon_full_params(model, writeback=False):
        shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
    for x in batches(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            with FSDP.summon_full_params(model, writeback=False):
                for name, p in model.named_parameters():
                    shadow[name].mul_(0.9).add_(p, alpha=0.1)
    if dist.get_rank() == 0:
        print({name: f"{value.norm().item():.5f}" for name, value in sorted(shadow.items())})
"""

COUNTED = """

def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with FSDP.summon_full_params(model, writeback=False):
        print(sum(p.numel() for p in model.parameters()), tuple(model.last.weight.shape))
    for x in batches(2):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

RUN_INSIDE = """

@torch.no_grad()
def rollout(model, x):
    # all layers are used again and again
    with FSDP.summon_full_params(model, writeback=False):
        for _ in range(3):
            x = x + model(x).mean()
    return x


def main():
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(3):
        x = rollout(model, x)
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

PROGRAMS = {
    "a context from a lambda": LAMBDA,
    "a context from a method": METHOD,
    "a method that overrides another": MANAGER,
    "a context in a decorator": DECORATED,
    "FSDP or DDP": EITHER,
    "FSDP or DDP, apart": EITHER_APART,
    "contexts in a list": HELD,
    "the maximum norm": LARGEST,
    "the maximum norm of empty shards": EMPTY_SHARDS,
    "the norm of sharded and plain gradients": BOTH_KINDS,
    "a clip that is kept": CLIP_KEPT,
    "whole parameters are read": WHOLE_READ,
    "whole parameters are changed": WHOLE_EDIT,
    "an average of whole parameters": AVERAGE,
    "whole parameters are counted": COUNTED,
    "a model is run with whole parameters": RUN_INSIDE,
}
# The norm is summed in another order.
CLOSE = frozenset({"the norm of sharded and plain gradients"})
# Less is gathered than for the context.
FEWER = frozenset(name for name in PROGRAMS if "whole" in name)


def program(name: str) -> str:
    """The whole text of a program."""
    return HEAD + WRAPPED + PROGRAMS[name] + TAIL
