"""Ways in which a list of parameters is made above the wrap, and gets past it to the optimizer."""

from __future__ import annotations

from support.fuzz.piece import Piece


def _way(before: str, given: str, top: str = "") -> Piece:
    optimizer = f"optimizer = torch.optim.AdamW({given}, lr=1e-2)"
    return Piece(top=top, before=before, after=optimizer, flat=False)


LISTS = {
    "setdefault": _way(
        "groups = {}\nfor n, p in net.named_parameters():\n"
        "    group = groups.setdefault(p.requires_grad, {'params': []})\n"
        "    group['params'].append(p)",
        "list(groups.values())",
    ),
    "setdefault in a function": _way(
        "groups = grouped(net)",
        "groups",
        top=(
            "def grouped(net):\n    found = {}\n    for n, p in net.named_parameters():\n"
            "        one = found.setdefault(n.split('.')[-1], {'params': [], 'lr': 1e-2})\n"
            "        one['params'].append(p)\n    return list(found.values())"
        ),
    ),
    "dataclass": _way(
        "split = Split([*net.stem.parameters(), *net.head.parameters()],"
        " [*net.blocks.parameters()])",
        "[{'params': split.outer}, {'params': split.inner}]",
        top="@dataclasses.dataclass\nclass Split:\n    outer: list\n    inner: list",
    ),
    "named tuple": _way(
        "split = Split(list(net.parameters()), 3)",
        "split.chosen",
        top="class Split(typing.NamedTuple):\n    chosen: list\n    count: int",
    ),
    "closure of a list": _way(
        "chosen = later(net)",
        "chosen()",
        top="def later(net):\n    kept = list(net.parameters())\n    return lambda: kept",
    ),
    "global": _way(
        "remember(net)",
        "REMEMBERED",
        top=(
            "REMEMBERED = []\n\n\ndef remember(net):\n    for p in net.parameters():\n"
            "        REMEMBERED.append(p)"
        ),
    ),
    "namespace": _way("kept = types.SimpleNamespace(all=[*net.parameters()])", "kept.all"),
    "queue": _way(
        "waiting = queue.Queue()\nfor p in net.parameters():\n    waiting.put(p)",
        "[waiting.get() for _ in range(waiting.qsize())]",
    ),
    "applied": _way(
        "chosen = []\nnet.apply(lambda m: chosen.extend(m.parameters(recurse=False)))", "chosen"
    ),
    "unbound": _way("chosen = [*nn.Module.parameters(net)]", "chosen"),
    "caller of a method": _way("chosen = list(operator.methodcaller('parameters')(net))", "chosen"),
    "private dicts": _way(
        "chosen = []\nfor m in net.modules():\n    for n, p in m._parameters.items():\n"
        "        chosen.append(p)",
        "chosen",
    ),
    "kept variables": _way("kept = net.state_dict(keep_vars=True)", "list(kept.values())"),
    "columns": _way("names, chosen = zip(*net.named_parameters())", "chosen"),
    "halves": _way(
        "chosen = list(net.parameters())\nfirst, second = chosen[:4], chosen[4:]",
        "[{'params': first}, {'params': second}]",
    ),
    "keys": _way("chosen = dict.fromkeys(net.parameters(), 0.1)", "list(chosen)"),
    "grouped": _way(
        "groups = [{'params': [p for _, p in some]} for _, some in itertools.groupby("
        "net.named_parameters(), key=lambda pair: pair[0].split('.')[0])]",
        "groups",
    ),
    "taken in turn": _way(
        "chosen, left = [], list(net.parameters())\nwhile left:\n    chosen.append(left.pop())",
        "chosen",
    ),
    "of a visitor": _way(
        "visitor = Visitor()\nvisitor.visit(net)",
        "visitor.found",
        top=(
            "class Visitor:\n    def __init__(self):\n        self.found = []\n\n"
            "    def visit(self, module):\n"
            "        self.found += module.parameters(recurse=False)\n"
            "        for child in module.children():\n            self.visit(child)"
        ),
    ),
    "partition": _way(
        "biases, rest = partition(lambda p: p.ndim == 1, net.parameters())",
        "[{'params': rest}, {'params': biases, 'weight_decay': 0.0}]",
        top=(
            "def partition(holds, items):\n    yes, no = [], []\n    for item in items:\n"
            "        (yes if holds(item) else no).append(item)\n    return yes, no"
        ),
    ),
}
