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

PROGRAMS = {
    "a context from a lambda": LAMBDA,
    "a context from a method": METHOD,
    "a method that overrides another": MANAGER,
    "a context in a decorator": DECORATED,
    "FSDP or DDP": EITHER,
    "FSDP or DDP, apart": EITHER_APART,
    "contexts in a list": HELD,
}


def program(name: str) -> str:
    """The whole text of a program."""
    return HEAD + WRAPPED + PROGRAMS[name] + TAIL
