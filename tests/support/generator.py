"""Whole FSDP1 programs, made up: a Hypothesis strategy over the ways in which people write them.

Each part of a program (imports, model, policy, strategy, precision, place of the wrap, loop,
checkpoint) is drawn apart from the others, and formatting noise is laid over the result.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from hypothesis import strategies as st

ROOT = "torch.distributed.fsdp"
WRAP_NAMES = {
    "ModuleWrapPolicy",
    "always_wrap_policy",
    "lambda_auto_wrap_policy",
    "size_based_auto_wrap_policy",
    "transformer_auto_wrap_policy",
}
FORMS = (
    "alias",
    "plain",
    "module",
    "qualified",
    "parent",
    "inner",
    "star",
    "function",
    "try",
    "compat",
    "compat star",
)


@dataclass
class Names:
    """How a program spells FSDP1's names, and which of them it has used."""

    form: str
    used: set[str] = field(default_factory=set)

    def __call__(self, name: str) -> str:
        """The spelling of `name` where it is used."""
        self.used.add(name)
        home = f"{ROOT}.wrap" if name in WRAP_NAMES else ROOT
        if self.form == "qualified":
            return f"{home}.{name}"
        if self.form in {"module", "parent"}:
            return f"fsdp{home[len(ROOT) :]}.{name}"
        if name == "FullyShardedDataParallel" and self.form not in {"plain", "star"}:
            return "FSDP"
        return name

    def imports(self) -> list[str]:
        """The statements that import what was used."""
        if self.form == "qualified":
            wrap = [f"import {ROOT}.wrap"] if self.used & WRAP_NAMES else []
            return [f"import {ROOT}", *wrap]
        if self.form == "module":
            return [f"import {ROOT} as fsdp"]
        if self.form == "parent":
            return ["from torch.distributed import fsdp"]
        lines = []
        names = sorted(self.used - WRAP_NAMES)
        if self.form == "star":
            lines.append(f"from {ROOT} import *")
        elif self.form == "inner":
            for name in names:
                sharded = name == "FullyShardedDataParallel"
                home = "fully_sharded_data_parallel" if sharded else "api"
                alias = " as FSDP" if sharded else ""
                lines.append(f"from {ROOT}.{home} import {name}{alias}")
        else:
            plain = self.form == "plain"
            words = [
                f"{n} as FSDP" if n == "FullyShardedDataParallel" and not plain else n
                for n in names
            ]
            lines.append(f"from {ROOT} import {', '.join(words)}")
        if self.used & WRAP_NAMES:
            lines.append(f"from {ROOT}.wrap import {', '.join(sorted(self.used & WRAP_NAMES))}")
        return lines


@dataclass
class Program:
    """A program that is being put together."""

    names: Names
    top: list[str] = field(default_factory=list)  # between the imports and the functions
    before: list[str] = field(default_factory=list)  # before the wrap, where it is made
    arguments: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)


MODEL = """
class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return x + self.linear(x)


class Net(nn.Module):
    def __init__(self, dim=8, depth=2):
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))
        self.head = nn.Linear(dim, 4)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)
"""


def _policy(draw: st.DrawFn, program: Program) -> None:
    n = program.names
    kind = draw(
        st.sampled_from(
            ["", "transformer", "module", "lambda", "size", "always", "function", "made"]
        )
    )
    if not kind:
        return
    if kind in {"transformer", "lambda", "size"}:
        program.imports.add("import functools")
    text = {
        "transformer": lambda: (
            f"functools.partial({n('transformer_auto_wrap_policy')}, "
            "transformer_layer_cls={Block})"
        ),
        "module": lambda: f"{n('ModuleWrapPolicy')}({{Block}})",
        "lambda": lambda: (
            f"functools.partial({n('lambda_auto_wrap_policy')}, "
            "lambda_fn=lambda m: isinstance(m, Block))"
        ),
        "size": lambda: f"functools.partial({n('size_based_auto_wrap_policy')}, min_num_params=64)",
        "always": lambda: n("always_wrap_policy"),
        "function": lambda: "by_size",
        "made": lambda: "make_policy()",
    }[kind]()
    if kind == "function":
        program.top += ["def by_size(module, recurse, nonwrapped_numel):", "    return recurse"]
    if kind == "made":
        program.top += ["def make_policy():", f"    return {n('ModuleWrapPolicy')}({{Block}})"]
    if draw(st.booleans()) and kind not in {"function", "always"}:
        where = draw(st.sampled_from([program.before, program.top]))
        where.append(f"policy = {text}")
        text = "policy"
    program.arguments.append(f"auto_wrap_policy={text}")


def _strategy(draw: st.DrawFn, program: Program) -> None:
    kind = draw(
        st.sampled_from(["", "literal", "literal", "variable", "choice", "table", "name", "config"])
    )
    if not kind:
        return
    enum = program.names("ShardingStrategy")
    members = ["FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD"]
    one, other = (f"{enum}.{draw(st.sampled_from(members))}" for _ in range(2))
    if kind == "variable":
        program.before.append(f"strategy = {one}")
    elif kind == "choice":
        program.before.append(f"strategy = {one} if args.zero else {other}")
    elif kind == "table":
        program.top.append(f'STRATEGIES = {{"one": {one}, "other": {other}}}')
    elif kind == "config":
        program.imports.add("from dataclasses import dataclass")
        program.top += ["@dataclass", "class Config:", f"    strategy: {enum} = {one}"]
        program.top += ["    lr: float = 0.1", "", "", "CONFIG = Config()"]
    text = {
        "literal": one,
        "variable": "strategy",
        "choice": "strategy",
        "table": "STRATEGIES[args.strategy]",
        "name": f"{enum}[args.strategy]",
        "config": "CONFIG.strategy",
    }[kind]
    program.arguments.append(f"sharding_strategy={text}")


def _precision(draw: st.DrawFn, program: Program) -> None:
    kind = draw(st.sampled_from(["", "", "inline", "variable", "top", "function", "none"]))
    if not kind:
        return
    if kind == "none":
        program.arguments.append("mixed_precision=None")
        return
    fields = ["param_dtype=torch.bfloat16"]
    fields += ["reduce_dtype=torch.float32"] if draw(st.booleans()) else []
    fields += ["buffer_dtype=torch.bfloat16"] if draw(st.booleans()) else []
    made = f"{program.names('MixedPrecision')}({', '.join(fields)})"
    if kind == "variable":
        program.before.append(f"precision = {made}")
    elif kind == "top":
        program.top.append(f"precision = {made}")
    elif kind == "function":
        program.top += ["def make_precision(low):", "    if low:", f"        return {made}"]
        program.top.append("    return None")
    text = {"inline": made, "function": "make_precision(args.low)"}.get(kind, "precision")
    program.arguments.append(f"mixed_precision={text}")


def _rest(draw: st.DrawFn, program: Program) -> None:
    n = program.names
    every = {
        "device_id": "torch.cuda.current_device()",
        "use_orig_params": "True",
        "limit_all_gathers": "True",
        "forward_prefetch": "args.prefetch",
        "sync_module_states": "True",
        "ignored_modules": "[model.head]",
    }
    for name in draw(st.lists(st.sampled_from(sorted(every)), unique=True, max_size=3)):
        program.arguments.append(f"{name}={every[name]}")
    if draw(st.booleans()):
        member = draw(st.sampled_from(["BACKWARD_PRE", "BACKWARD_POST"]))
        program.arguments.append(f"backward_prefetch={n('BackwardPrefetch')}.{member}")
    offload = draw(st.sampled_from(["", "", "", "True", "args.offload"]))
    if offload:
        program.arguments.append(f"cpu_offload={n('CPUOffload')}(offload_params={offload})")


def _call(draw: st.DrawFn, program: Program, model: str) -> list[str]:
    """The constructor call, on one line or an argument a line."""
    sharded = program.names("FullyShardedDataParallel")
    arguments = [model, *program.arguments]
    if program.arguments and draw(st.integers(0, 5)) == 0:
        items = ", ".join(f'"{a.partition("=")[0]}": {a.partition("=")[2]}' for a in arguments[1:])
        program.before.append(f"options = {{{items}}}")
        arguments = [model, "**options"]
    if draw(st.booleans()):
        return [f"{sharded}({', '.join(arguments)})"]
    return [f"{sharded}(", *(f"    {argument}," for argument in arguments), ")"]


def _prefixed(prefix: str, lines: list[str]) -> list[str]:
    return [prefix + lines[0], *lines[1:]]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else line for line in lines]


def _place(draw: st.DrawFn, program: Program) -> list[str]:
    """A function `prepare(args)` that gives the model."""
    kind = draw(
        st.sampled_from(["same", "new", "return", "inline", "if", "ddp", "conditional", "cuda"])
    )
    local = program.names.imports if program.names.form == "function" else None
    made = "Net().cuda()"
    body = [f"model = {made}"]
    call = _call(draw, program, made if kind == "inline" else "model")
    body += program.before
    if kind == "same":
        body += [*_prefixed("model = ", call), "return model"]
    elif kind == "new":
        body += [*_prefixed("sharded = ", call), "return sharded"]
    elif kind == "return":
        body += _prefixed("return ", call)
    elif kind == "inline":
        body += [*_prefixed("model = ", call), "return model"]
    elif kind == "cuda":
        body += [*_prefixed("model = ", call), "model.train()", "return model"]
    elif kind == "if":
        body += ["if args.fsdp:", *_indented(_prefixed("model = ", call)), "return model"]
    elif kind == "ddp":
        program.imports.add("from torch.nn.parallel import DistributedDataParallel as DDP")
        body += ["if args.fsdp:", *_indented(_prefixed("model = ", call))]
        body += ["else:", "    model = DDP(model)", "return model"]
    else:
        flat = [" ".join(line.strip() for line in call)]
        body += _prefixed("model = ", [f"{flat[0]} if args.fsdp else model"])
        body.append("return model")
    if local is not None:
        body = [*local(), *body]
    return ["def prepare(args):", *_indented(body)]


def _loop(draw: st.DrawFn, program: Program) -> list[str]:
    """The body of the training loop."""
    kind = draw(st.sampled_from(["plain", "with", "conditional", "other way", "stored"]))
    step = ["loss = model(batch).sum()", "loss.backward()"]
    if kind == "with":
        body = ["if i % 2 == 0:", "    with model.no_sync():", *_indented(_indented(step))]
        body += ["else:", *_indented(step)]
    elif kind == "plain":
        body = step
    else:
        program.imports.add("from contextlib import nullcontext")
        one, other = "model.no_sync()", "nullcontext()"
        test = "i % 2 == 0"
        if kind == "other way":
            one, other, test = other, one, "i % 2"
        context = f"{one} if {test} else {other}"
        body = [f"with {context}:", *_indented(step)]
        if kind == "stored":
            body = [f"context = {context}", "with context:", *_indented(step)]
    clip = draw(st.sampled_from(["", "call", "name", "print"]))
    if clip:
        call = "model.clip_grad_norm_(1.0)"
        body.append({"call": call, "name": f"norm = {call}"}.get(clip, f"print({call}.item())"))
    return [*body, "optimizer.step()", "optimizer.zero_grad()"]


def _checkpoint(draw: st.DrawFn, program: Program) -> list[str]:
    """A function `save(model, optimizer)`."""
    n = program.names
    kind = draw(st.sampled_from(["", "plain", "full", "sharded", "set", "optimizer"]))
    if not kind:
        return []
    body = ['torch.save(model.state_dict(), "model.pt")']
    if kind != "plain":
        sharded = n("FullyShardedDataParallel")
        member = "SHARDED_STATE_DICT" if kind == "sharded" else "FULL_STATE_DICT"
        arguments = f"model, {n('StateDictType')}.{member}"
        if kind in {"full", "optimizer"} and draw(st.booleans()):
            config = f"{n('FullStateDictConfig')}(offload_to_cpu=True, rank0_only=True)"
            arguments += f", {config}"
        if kind == "set":
            body = [f"{sharded}.set_state_dict_type({arguments})", *body]
        else:
            inner = ["state = model.state_dict()"]
            if kind == "optimizer":
                inner.append(f"optim_state = {sharded}.optim_state_dict(model, optimizer)")
            body = [f"with {sharded}.state_dict_type({arguments}):", *_indented(inner)]
            body.append('torch.save(state, "model.pt")')
            if kind == "optimizer":
                body.append('torch.save(optim_state, "optim.pt")')
    if n.form == "function" and kind != "plain":
        body = [*n.imports(), *body]
    return ["def save(model, optimizer):", *_indented(body)]


def _look(draw: st.DrawFn, program: Program) -> list[str]:
    """Statements that look into the model."""
    n = program.names
    kind = draw(st.sampled_from(["", "isinstance", "module", "summon", "modules"]))
    if not kind or n.form == "function":
        return []
    sharded = n("FullyShardedDataParallel")
    return {
        "isinstance": [f"print(isinstance(model, {sharded}))"],
        "module": [
            f"inner = model.module if isinstance(model, {sharded}) else model",
            "print(inner.head)",
        ],
        "summon": [
            f"with {sharded}.summon_full_params(model, writeback=False):",
            "    print(model.head.weight.norm())",
        ],
        "modules": [f"print(len({sharded}.fsdp_modules(model)))"],
    }[kind]


def _text(lines: list[str], indent: str) -> str:
    made = []
    for line in lines:
        bare = line.lstrip(" ")
        made.append(indent * ((len(line) - len(bare)) // 4) + bare)
    return "\n".join(made) + "\n"


def _noise(draw: st.DrawFn, lines: list[str]) -> list[str]:
    """Comments beside and above lines, blank lines, spaces at their ends."""
    result = []
    random = draw(st.randoms(use_true_random=False))
    for number, line in enumerate(lines):
        chance = random.random()
        if chance < 0.06 and line:
            pad = line[: len(line) - len(line.lstrip())]
            result.append(f"{pad}# above {number}")
        if 0.06 < chance < 0.09:
            result.append("")
        if 0.1 < chance < 0.2 and line:
            line += f"  # beside {number}"
        elif 0.2 < chance < 0.22 and line:
            line += "  "
        result.append(line)
    return result


@st.composite
def programs(draw: st.DrawFn) -> dict[str, str]:
    """The files of a program."""
    names = Names(draw(st.sampled_from(FORMS)))
    program = Program(names)
    if names.form != "function":
        _policy(draw, program)
        _precision(draw, program)
        _strategy(draw, program)
    _rest(draw, program)
    checkpoint = _checkpoint(draw, program)
    look = _look(draw, program)
    prepare = _place(draw, program)
    in_class = draw(st.booleans())
    loop = _loop(draw, program)
    if in_class:
        loop = [line.replace("model", "self.model") for line in loop]
        loop = [line.replace("optimizer.", "self.optimizer.") for line in loop]
        body = [
            "class Trainer:",
            "    def __init__(self, args):",
            "        self.model = prepare(args)",
            "        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)",
            "",
            "    def train(self, batches):",
            "        for i, batch in enumerate(batches):",
            *_indented(_indented(_indented(loop))),
        ]
        if checkpoint:
            body += ["        save(self.model, self.optimizer)"]
        body += _indented(_indented([line.replace("model", "self.model") for line in look]))
    else:
        body = [
            "def main(args, batches):",
            "    model = prepare(args)",
            "    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)",
            "    for i, batch in enumerate(batches):",
            *_indented(_indented(loop)),
        ]
        body += ["    save(model, optimizer)"] if checkpoint else []
        body += _indented(look)
    return _assembled(draw, program, prepare, checkpoint, body)


def _assembled(
    draw: st.DrawFn,
    program: Program,
    prepare: list[str],
    checkpoint: list[str],
    body: list[str],
) -> dict[str, str]:
    """The parts in files, noise included."""
    names = program.names
    apart = draw(st.booleans())
    model = textwrap.dedent(MODEL).strip("\n").split("\n")
    head = [*sorted(program.imports), "", "import torch", "import torch.distributed as dist"]
    head.append("from torch import nn")
    own = []
    if names.form == "try":
        own += ["try:", *_indented(names.imports()), "except ImportError:", "    raise"]
    elif names.form in {"compat", "compat star"}:
        words = ", ".join(
            "FSDP" if n == "FullyShardedDataParallel" else n for n in sorted(names.used)
        )
        own += [
            "from compat import *" if names.form == "compat star" else f"from compat import {words}"
        ]
    elif names.form != "function":
        own += names.imports()
    own += ["from network import Block, Net"] if apart else []
    setup = ["dist.init_process_group('nccl')"]
    parts = [part for part in (program.top, prepare, checkpoint, body) if part]
    if not apart:
        parts.insert(0, model)
    lines = [*head, *own, ""]
    for part in parts:
        lines += ["", *part, ""]
    lines += ["", *setup]
    indent = draw(st.sampled_from(["    ", "    ", "  ", "\t"]))
    files = {"train.py": _text(_noise(draw, lines), indent)}
    if apart:
        files["network.py"] = _text(["import torch.nn as nn", "", "", *model], "    ")
    if names.form in {"compat", "compat star"}:
        inner = Names("alias", names.used)
        files["compat.py"] = _text(inner.imports(), "    ")
    return files
