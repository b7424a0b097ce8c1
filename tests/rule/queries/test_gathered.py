"""Which forward passes leave parameters gathered until something reads them."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.rule.queries.gathered import State, Walk, walk
from fsdp_migrate.rule.queries.gathered_events import Events, Kind
from fsdp_migrate.rule.queries.gradients import grad_mode, turns_gradients_off
from fsdp_migrate.syntax.span import Site
from support.facts import Program
from support.programs import dedent

HEAD = """
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(x)


model = FSDP(Net(), use_orig_params=True)
optimizer = torch.optim.AdamW(model.parameters())
"""


def reads(text: str) -> dict[str, list[str]]:
    """What reads parameters after each forward pass, as source."""
    found = walk(Program(HEAD + dedent(text)).facts).read_after
    return {ast.unparse(run): [ast.unparse(read) for read in by] for run, by in found.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model(x)\nlist(model.parameters())", {"model(x)": ["model.parameters()"]}),
        ("model(x)\nmodel.zero_grad()", {"model(x)": ["model.zero_grad()"]}),
        ("model(x)\nprint(model.head.weight)", {"model(x)": ["model.head.weight"]}),
        ("model(x)\nmodel.head.state_dict()", {"model(x)": ["model.head.state_dict()"]}),
        ("model(x)\nlibrary.look(model)", {"model(x)": ["library.look(model)"]}),
        (
            "model(x)\nget_optimizer_state_dict(model, optimizer)",
            {"model(x)": ["get_optimizer_state_dict(model, optimizer)"]},
        ),
        ("model(x)\nmodel.state_dict()\nmodel.parameters()", {}),
        ("model(x)\nmodel.reshard()\nmodel.parameters()", {}),
        ("model(x).backward()\nmodel.parameters()", {}),
        ("model(x)\noptimizer.zero_grad()\nprint(model)\nmodel.train()\nlen(model.modules())", {}),
        (
            "with torch.no_grad():\n    model(x)\nloss.backward()\nmodel.parameters()",
            {"model(x)": ["model.parameters()"]},
        ),
        ("with torch.no_grad():\n    model(x)\nmodel(y).backward()\nmodel.parameters()", {}),
        (
            "for x in loader:\n    model.zero_grad()\n    model(x)",
            {"model(x)": ["model.zero_grad()"]},
        ),
        (
            "try:\n    model(x)\nexcept ValueError:\n    model.parameters()",
            {"model(x)": ["model.parameters()"]},
        ),
        ("if a:\n    model(x)\nelse:\n    model.parameters()", {}),
        (
            "while True:\n    if model(x):\n        break\n    loss.backward()\nmodel.parameters()",
            {"model(x)": ["model.parameters()"]},
        ),
        (
            "match kind:\n    case 1:\n        model(x)\nmodel.parameters()",
            {"model(x)": ["model.parameters()"]},
        ),
        (
            "def run(m):\n    return [m(x) for x in loader]\nrun(model)\nmodel.parameters()",
            {"m(x)": ["model.parameters()"]},
        ),
        (
            "from functools import partial\ndef run(n, m):\n    m(n)\npartial(run, 1)(model)\n"
            "model.parameters()",
            {"m(n)": ["model.parameters()"]},
        ),
        (
            "with torch.no_grad():\n    library.run(model)\nmodel.parameters()",
            {"library.run(model)": ["model.parameters()"]},
        ),
        ("library.run(model)\nmodel.parameters()", {}),
        ("model(x)\nmodel = FSDP(Net())\nprint(model.parameters())", {}),
    ],
)  # fmt: skip
def test_reads(text: str, expected: dict[str, list[str]]) -> None:
    assert reads(text) == expected


def test_entries_run_in_any_order() -> None:
    text = """
    class Job:
        def __init__(self):
            self.model = FSDP(Net())
        def read(self):
            return self.model.parameters()
        def test(self):
            with torch.no_grad():
                self.model(x)
    """
    assert reads(text) == {"self.model(x)": ["self.model.parameters()"]}


def test_writes() -> None:
    text = """
    with torch.no_grad():
        model(x)
        for p in model.parameters():
            p.data.mul_(2)
    """
    found = walk(Program(HEAD + dedent(text)).facts)
    assert [ast.unparse(node) for node in found.written_after.values()] == ["p.data.mul_(2)"]


def test_a_step_writes() -> None:
    program = Program(HEAD + "optimizer.step()\nother.step()\n")
    events = Events(program.facts)
    assert [event.kind for event in events.of(program.call("optimizer.step()"))] == [Kind.WRITE]
    assert not events.of(program.call("other.step()"))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("torch.no_grad()", False),
        ("torch.autograd.no_grad()", False),
        ("torch.inference_mode()", False),
        ("torch.inference_mode(False)", True),
        ("torch.set_grad_enabled(False)", False),
        ("torch.set_grad_enabled(mode)", True),
        ("torch.autocast('cuda')", True),
    ],
)
def test_grad_mode(context: str, expected: bool) -> None:
    program = Program(HEAD + f"with {context}:\n    pass\n")
    call = program.call(context)
    assert grad_mode(program.facts, call, True) is expected


def test_gradients_come_back() -> None:
    program = Program(HEAD + "with torch.enable_grad():\n    pass\n")
    assert grad_mode(program.facts, program.call("torch.enable_grad()"), False)


@pytest.mark.parametrize(
    "decorator", ["torch.no_grad()", "torch.no_grad", "torch.inference_mode()"]
)
def test_decorators(decorator: str) -> None:
    program = Program(HEAD + f"@{decorator}\ndef f():\n    pass\n")
    (function,) = [n for n in ast.walk(program.module().tree) if getattr(n, "name", "") == "f"]
    assert turns_gradients_off(program.facts, function)


SCALER = """
class Scaler:
    def __call__(self, loss, parameters=None):
        {first}
        loss.backward()
        {then}


scaler = Scaler()
"""


@pytest.mark.parametrize(
    "text",
    [
        "model(x)\nprint(next(model.parameters()).device)",
        "model(x)\nx.to(next(iter(model.parameters())).dtype)",
        "model(x)\nx.to(list(model.parameters())[0].device)",
        "model(x)\nx.to(model.head.weight.dtype)",
        "model(x)\nprint(sum(p.numel() for p in model.parameters()))",
        "model(x)\n[(n, p.shape) for n, p in model.named_parameters() if p.requires_grad]",
        SCALER.format(first="pass", then="print(parameters)")
        + "scaler(model(x), parameters=model.parameters())",
        SCALER.format(first="pass", then="pass") + "scaler(model(x), model.parameters())",
        "def sample(m):\n    m(x)\ndef main():\n    model = Net()\n    print(model.head.weight)\n"
        "    sample(model)",
        "def main():\n    net = Net()\n    print(list(net.parameters()))\n    model = FSDP(net)\n"
        "    model(x)\ndef test():\n    main()\n    main()",
        "class Late(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        print(self.weight)\nsecond = FSDP(Late())\nsecond(x)\nLate()",
        "class Norm(nn.Module):\n    def forward(self, x):\n        return self.weight * x\n"
        "class Big(nn.Module):\n    def __init__(self):\n        self.norm = Norm()\n"
        "    def forward(self, x):\n        return self.norm(x)\nbig = FSDP(Big())\nbig(x)\n"
        "big.norm(x)",
    ],
)
def test_what_does_not_read(text: str) -> None:
    assert not reads(text)


@pytest.mark.parametrize(
    "text",
    [
        "model(x)\nprint(next(model.parameters()))",
        "model(x)\nprint(sum(p.sum() for p in model.parameters()))",
        "model(x)\nprint(model.head.weight.data)",
        SCALER.format(first="print(parameters)", then="pass")
        + "scaler(model(x), parameters=model.parameters())",
        SCALER.format(first="pass", then="pass") + "scaler(model(x), list(model.parameters()))",
        "def test(m):\n    m(x)\ndef train(m):\n    print(list(m.parameters()))\n"
        "def main():\n    test(model)\n    train(model)",
        "other = Net()\nmodel(x)\nother = Net()\nprint(list(model.parameters()))",
    ],
)
def test_what_reads_all_the_same(text: str) -> None:
    assert reads(text)


INSIDE = HEAD.count("\n") - 2  # the lines of the model's own methods end above


def evaluations(number: int) -> str:
    """Functions that each leave the model gathered for the next, and then have it looked at."""
    one = "def run{n}(x):\n    with torch.no_grad():\n        model(x + {n})\n    look(x)\n"
    head = "def look(x):\n    print(list(model.parameters()))\n"
    return head + "".join(one.format(n=n) for n in range(number))


@pytest.mark.parametrize("number", [3, 40])
def test_each_forward_pass_is_seen_to_be_read_however_many_there_are(number: int) -> None:
    found = reads(evaluations(number))
    read_after = {run for run, by in found.items() if by == ["model.parameters()"]}
    assert read_after >= {f"model(x + {n})" for n in range(number)}


def test_a_function_called_in_many_states_is_followed_for_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is done in it for twice as many calls is not four times as much."""
    follow = Walk._follow
    passes: Counter[int] = Counter()  # that functions are followed with, by their lines

    def counted(self: Walk, site: Site, state: State, grad: bool) -> State:
        passes[site.line] += 1 + len(state)
        return follow(self, site, state, grad)

    monkeypatch.setattr(Walk, "_follow", counted)
    work = []
    for number in (40, 80):
        passes.clear()
        reads(evaluations(number))
        work.append(passes[min(line for line in passes if line > INSIDE)])
    assert 0 < work[1] < 3 * work[0], work


def test_a_model_or_its_plain_module_is_not_another_model_of_the_class() -> None:
    text = """
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    class Net(nn.Module):
        pass

    def main(flag):
        student = FSDP(Net()) if flag else Net()
        teacher = FSDP(Net()) if flag else Net()
        print(student, teacher, Net())
    """
    asked = Program(text)
    student, teacher, plain = asked.call("print(student, teacher, Net())").args
    events = Events(asked.facts)
    sites = {fact.node.lineno: Wrapped(site) for site, fact in asked.facts.analysis.wraps.items()}
    assert len(sites) == 2
    first, second = (sites[line] for line in sorted(sites))
    assert events.itself(asked.facts.value(student)) == {first}
    assert events.itself(asked.facts.value(teacher)) == {second}
    assert events.itself(asked.facts.value(plain)) == {first, second}


CONTEXT = """
import contextlib

@contextlib.contextmanager
def averaged():
    kept = list(model.parameters())
    {body}

"""
YIELDS = "yield\n    print(model.head.weight)"
FINALLY = "try:\n        yield\n    finally:\n        print(model.head.weight)"
OBJECT = """
class Averaged:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        print(model.head.weight)

"""
AFTER = {"model(x)": ["model.head.weight"]}


@pytest.mark.parametrize("body", [YIELDS, FINALLY], ids=["after", "finally"])
@pytest.mark.parametrize(
    "use",
    [
        "with averaged():\n    model(x)",
        "with averaged(), torch.no_grad():\n    model(x)",
        "def evaluate():\n    with averaged():\n        return model(x)\nevaluate()",
        "for x in loader:\n    with averaged():\n        if model(x):\n            break",
        "with torch.no_grad():\n    with averaged():\n        y = model(x)",
        "with contextlib.ExitStack() as stack:\n    stack.enter_context(averaged())\n    model(x)",
    ],
)
def test_what_a_context_reads_when_it_is_left(body: str, use: str) -> None:
    read = reads(dedent(CONTEXT).format(body=body) + use)
    assert "model.head.weight" in read["model(x)"]


def test_an_object_reads_when_it_is_left() -> None:
    assert reads(OBJECT + "with Averaged():\n    model(x)") == AFTER
    assert reads(OBJECT + "with Averaged():\n    pass\nmodel(x)") == {}


def test_what_a_stack_calls_back() -> None:
    look = "import contextlib\ndef look():\n    print(model.head.weight)\n"
    stack = "with contextlib.ExitStack() as stack:\n    stack.callback(look)\n    model(x)"
    assert reads(look + stack) == AFTER


@pytest.mark.parametrize(
    "use",
    [
        "with averaged():\n    pass\nmodel(x)",
        "with averaged():\n    model(x)\n    model.reshard()",
        "with averaged():\n    model(x).backward()",
        "with averaged() as a:\n    model.state_dict()",
    ],
)
def test_nothing_is_gathered_when_a_context_is_left(use: str) -> None:
    assert "model(x)" not in reads(dedent(CONTEXT).format(body=FINALLY) + use)


def test_a_body_runs_once_where_its_generator_waits() -> None:
    """What stands before `yield` comes before the body, though both are in one loop."""
    text = dedent(CONTEXT).format(body="yield")
    assert reads(f"{text}with averaged():\n    model(x)") == {}


@pytest.mark.parametrize("leaves", ["return model(x)", "model(x)\n        return None"])
def test_finally_runs_after_a_return(leaves: str) -> None:
    text = (
        f"def run():\n    try:\n        {leaves}\n    finally:\n        print(model.head.weight)\n"
    )
    assert reads(f"{text}run()") == AFTER


def test_finally_runs_after_break_and_continue() -> None:
    for leaves in ("break", "continue"):
        text = "for x in loader:\n    try:\n        model(x)\n        "
        text += f"{leaves}\n    finally:\n        print(model.head.weight)\n"
        assert reads(text) == AFTER


BY_THE_WAY = """
import atexit
import threading
from concurrent.futures import ThreadPoolExecutor

def train(net):
    net(x)
    print(net.head.weight)

"""


@pytest.mark.parametrize(
    "runs",
    [
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(train, model).result()",
        "with ThreadPoolExecutor(1) as pool:\n    list(pool.map(train, [model]))",
        "threading.Thread(target=train, args=(model,)).start()",
        "list(map(train, [model]))",
    ],
)
def test_what_a_call_runs_that_it_is_given(runs: str) -> None:
    assert "net.head.weight" in reads(dedent(BY_THE_WAY) + runs)["net(x)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m(x)\nlist(m.parameters())", {"m(x)": ["m.parameters()"]}),
        ("m(x)\nm.zero_grad()", {"m(x)": ["m.zero_grad()"]}),
        ("m(x)\nfor p in m.parameters():\n    p.float()", {"m(x)": ["m.parameters()"]}),
        ("m.parameters()", {}),
        ("m(x).backward()\nm.parameters()", {}),
        ("m.eval()\nm.train()", {}),
    ],
)
def test_a_model_that_nobody_knows_to_be_one(text: str, expected: dict[str, list[str]]) -> None:
    assert (
        reads(f"import collections\nm = collections.deque([model]).popleft()\n{text}") == expected
    )


def test_parameters_of_what_is_inside_by_its_old_name() -> None:
    text = "net = torch.load('net.pt')\nouter = torch.nn.Sequential(net)\nwhole = FSDP(outer)\n"
    assert reads(f"{text}whole(x)\nlist(net.parameters())") == {"whole(x)": ["net.parameters()"]}
