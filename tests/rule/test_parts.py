"""From an expression back to the model that it is a part of."""

from __future__ import annotations

import pytest

from support.facts import Program
from support.programs import dedent
from support.values import HEAD

PARTS = {
    "an attribute": "model = FSDP(Net())\nprobe = model.encoder\nprobe",
    "of a parameter that is a model": "def f(model: FSDP):\n    probe = model.encoder\n    probe",
    "an item": "model = FSDP(Net())\nmodel.blocks[0].state_dict()\nprobe = model.blocks[0]\nprobe",
    "in a loop": "model = FSDP(Net())\nfor probe in model.children():\n    probe",
    "of a sequence": "model = FSDP(nn.Sequential(Net()))\nfor probe in model:\n    probe",
    "with names": "model = FSDP(Net())\nfor name, probe in model.named_modules():\n    probe",
    "in a comprehension": "model = FSDP(Net())\n[probe for probe in model.children()]",
    "counted": "model = FSDP(Net())\nfor i, probe in enumerate(model.children()):\n    probe",
    "by its name": "model = FSDP(Net())\nprobe = getattr(model, input())\nprobe",
    "by its path": "model = FSDP(Net())\nprobe = model.get_submodule('a.b')\nprobe",
    "the first": "model = FSDP(Net())\nprobe = next(model.children())\nprobe",
    "out of a dict": "model = FSDP(Net())\nprobe = dict(model.named_children())['a']\nprobe",
    "one of two": "model = FSDP(Net())\nprobe = model.a if input() else model.b\nprobe",
    "passed on": """
        def keep(probe):
            probe
        def main():
            model = FSDP(Net())
            keep(model.encoder)
        """,
    "passed by name": """
        def keep(path, probe):
            probe
        def main():
            model = FSDP(Net())
            keep("a.pt", probe=model.encoder)
        """,
    "given back": """
        def encoder_of(model):
            return model.encoder
        model = FSDP(Net())
        probe = encoder_of(model)
        probe
        """,
    "kept": """
        class A:
            def __init__(self, net):
                self.model = FSDP(net)
                self.encoder = self.model.encoder
            def save(self):
                probe = self.encoder
                probe
        """,
    "in the model's own method": """
        class Big(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = Net()
            def own(self):
                probe = self.encoder
                probe
        model = FSDP(Big())
        model.own()
        """,
    "named before the wrap": "net = Net()\nprobe = net.encoder\nmodel = FSDP(net)\nprobe",
    "of the module inside": "net = Net()\nmodel = FSDP(net)\nnet.blocks[0]\nprobe = net.a\nprobe",
    "the module inside": "probe = Net()\nmodel = FSDP(probe)\nprobe",
    "listed before the wrap": """
        def main(net):
            every = list(net.children())
            model = FSDP(net)
            for probe in every:
                probe
        """,
    "named by a function": """
        def build():
            return Net()
        net = build()
        first = getattr(net, "first")
        model = FSDP(net)
        probe = first
        probe
        """,
    "kept before the wrap": """
        class A:
            def __init__(self):
                self.net, self.other = Net(), 1
                self.encoder = self.net.encoder
                self.model = FSDP(self.net)
            def save(self):
                probe = self.encoder
                probe
        a = A()
        a.save()
        """,
    "wrapped in a method": """
        class Job:
            def __init__(self, net):
                self.net = net
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job(net)
        job.shard()
        probe = head
        probe
        """,
    "given by keyword": """
        class Job:
            def __init__(self, *, model):
                self.net: nn.Module = model
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job(model=net)
        job.shard()
        probe = head
        probe
        """,
    "a field of a dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class Job:
            net: nn.Module
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job(net)
        job.shard()
        probe = head
        probe
        """,
    "set from outside": """
        class Job:
            net = None
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job()
        job.net = net
        job.shard()
        probe = head
        probe
        """,
    "of a namespace": """
        import types
        def main():
            net = Net()
            head = net.head
            job = types.SimpleNamespace(net=net)
            job.net = FSDP(job.net)
            probe = head
            probe
        main()
        """,
    "wrapped by a function of the object": """
        class Job:
            pass
        def shard(job):
            job.net = FSDP(job.net)
        def main():
            net = Net()
            head = net.head
            job = Job()
            job.net = net
            shard(job)
            probe = head
            probe
        main()
        """,
    "put into a dict": """
        def main():
            net = Net()
            head = net.head
            state = {}
            state["model"] = net
            state["model"] = FSDP(state["model"])
            probe = head
            probe
        main()
        """,
    "appended": """
        def main():
            net = Net()
            head = net.head
            models = []
            models.append(net)
            for i, m in enumerate(models):
                models[i] = FSDP(m)
            probe = head
            probe
        main()
        """,
    "given by stars": """
        def shard(net):
            return FSDP(net)
        def main():
            net = Net()
            head = net.head
            model = shard(**{"net": net})
            probe = head
            probe
        main()
        """,
    "a default": """
        def main():
            net = Net()
            head = net.head
            def shard(net=net):
                return FSDP(net)
            model = shard()
            probe = head
            probe
        main()
        """,
    "a property": """
        class Job:
            def __init__(self, net):
                self._net = net
            @property
            def net(self):
                return self._net
            def shard(self):
                self._net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job(net)
        job.shard()
        probe = head
        probe
        """,
    "set by name": """
        class Job:
            def __init__(self, net):
                setattr(self, "net", net)
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        head = net.head
        job = Job(net)
        job.shard()
        probe = head
        probe
        """,
    "wrapped by a function of the module": """
        net = Net()
        head = net.head
        def main():
            model = FSDP(net)
            probe = head
            probe
        main()
        """,
}
NONE = {
    "another, beside one wrapped in a method": """
        class Job:
            def __init__(self, net):
                self.net = net
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        teacher = Net()
        head = teacher.head
        job = Job(net)
        job.shard()
        probe = head
        probe
        """,
    "the other one of two": """
        class Job:
            def __init__(self, net, teacher):
                self.net = net
                self.teacher = teacher
            def shard(self):
                self.net = FSDP(self.net)
            def run(self):
                probe = self.teacher.head
                probe
        net = Net()
        job = Job(net, Net())
        job.shard()
        job.run()
        """,
    "before the method that wraps": """
        class Job:
            def __init__(self, net):
                self.net = net
            def shard(self):
                self.net = FSDP(self.net)
        net = Net()
        job = Job(net)
        head = net.head
        probe = head
        probe
        job.shard()
        """,
    "another item": """
        def main():
            state = {"model": Net(), "teacher": Net()}
            state["model"] = FSDP(state["model"])
            probe = state["teacher"].head
            probe
        main()
        """,
    "another of a namespace": """
        import types
        def main():
            job = types.SimpleNamespace(net=Net(), teacher=Net())
            job.net = FSDP(job.net)
            probe = job.teacher.head
            probe
        main()
        """,
    "used before the wrap": "net = Net()\nprobe = net.encoder\nprobe\nmodel = FSDP(net)",
    "another of the class": """
        net, teacher = Net(), Net()
        model = FSDP(net)
        probe = teacher.encoder
        probe
        """,
    "inside of DDP": """
        from torch.nn.parallel import DistributedDataParallel
        def save(model):
            if isinstance(model, DistributedDataParallel):
                probe = model.module
                probe
        model = Net()
        model = FSDP(model) if input() else DistributedDataParallel(model)
        save(model)
        """,
    "another that is passed": """
        def main(net, teacher):
            model = FSDP(net)
            probe = teacher.encoder
            probe
        """,
    "the model": "probe = FSDP(Net())\nprobe",
    "before it is wrapped": "probe = Net()\nprobe\nprobe = FSDP(probe)",
    "of another model": "model = FSDP(Net())\nteacher = Net()\nprobe = teacher.encoder\nprobe",
    "its optimizer": "model = FSDP(Net())\nprobe = torch.optim.Adam(model.parameters())\nprobe",
    "its output": "model = FSDP(Net())\nprobe = model(1)\nprobe",
    "beside it in a list": """
        model = FSDP(Net())
        for m, probe in zip([model], other):
            probe
        """,
    "beside it in a dict": """
        model = FSDP(Net())
        for probe in {"model": model.encoder, "scheduler": scheduler}.values():
            probe
        """,
    "a number": "model = FSDP(Net())\nprobe = 1 if model.training else 2\nprobe",
}


def owners(text: str) -> bool:
    program = Program(HEAD + dedent(text))
    node = program.node("probe")
    (module,) = program.project.modules.values()
    return bool(program.facts.parts.owners(module, node))


@pytest.mark.parametrize("shape", PARTS)
def test_a_part(shape: str) -> None:
    assert owners(PARTS[shape])


@pytest.mark.parametrize("shape", NONE)
def test_no_part(shape: str) -> None:
    assert not owners(NONE[shape])


GROUPS = """
    def train(optimizer):
        for group in optimizer.param_groups:
            for p in group['params']:
                p.data = p.data * 0.9
    def main(other):
        net = Net()
        {made}
        model = FSDP(net)
        train({given})
    """
OPTIMIZERS = {
    "of children": "optimizer = SGD([{'params': c.parameters()} for c in net.children()])",
    "of weights in a list": "ws = [m.weight for m in net.modules()]\n        optimizer = SGD(ws)",
    "by a keyword": "optimizer = SGD(params=[m.bias for m in net.modules()])",
    "by append": (
        "ws = []\n        for c in net.children():\n            ws.append(c.weight)\n"
        "        optimizer = SGD(ws)"
    ),
}


def _carried(made: str, given: str = "optimizer") -> int:
    text = "from torch.optim import SGD\n" + dedent(GROUPS.format(made=made, given=given))
    program = Program(HEAD + text)
    return len(program.facts.parts.carried(program.module(), program.node("p", 0)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_carries_parameters(name: str) -> None:
    assert _carried(OPTIMIZERS[name]) == 1


def test_an_optimizer_of_others_carries_none() -> None:
    assert _carried("optimizer = SGD([m.weight for m in other.modules()])") == 0
