"""Which contexts of `enable_wrap` are around calls of `wrap`, and what they say."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.wraps import WrapFact
from support.wraps import solved

IMPORT = "from torch.distributed.fsdp.wrap import enable_wrap, wrap\n\n\n"
ENABLE = "enable_wrap(wrapper_cls=FSDP, use_orig_params=True)"


def _fact(text: str) -> WrapFact:
    """The one call of `wrap` of a program."""
    (fact,) = solved(IMPORT + text).solver.wraps.values()
    return fact


@pytest.mark.parametrize(
    "text",
    [
        f"with {ENABLE}:\n    model = wrap(Block())\n",
        f"with torch.device('cpu'), {ENABLE}:\n    model = nn.Sequential(wrap(Block()))\n",
        f"with {ENABLE}:\n    for _ in range(2):\n        model = [wrap(Block()) for _ in 'ab']\n",
        f"def build():\n    return wrap(Block())\n\n\nwith {ENABLE}:\n    build()\n    build()\n",
        f"build = lambda: wrap(Block())\nwith {ENABLE}:\n    build()\n",
        (
            "class Net(nn.Module):\n    def __init__(self):\n        self.one = wrap(Block())\n\n\n"
            f"def main():\n    with {ENABLE}:\n        return Net()\n"
        ),
    ],
)
def test_one_context(text: str) -> None:
    fact = _fact(text)
    assert fact.direct
    (context,) = fact.contexts
    assert context is not None
    assert ast.unparse(context) == ENABLE
    assert set(fact.arguments) == {"module", "use_orig_params"}


@pytest.mark.parametrize(
    ("text", "contexts"),
    [
        ("model = wrap(Block())\n", 1),
        ("def build():\n    return wrap(Block())\n", 1),
        (f"def build():\n    return wrap(Block())\n\n\nbuild()\nwith {ENABLE}:\n    build()\n", 2),
        ("with enable_wrap(wrapper_cls=nn.Identity):\n    wrap(Block())\n", 1),
        (f"with open(str(wrap(Block()))) as f, {ENABLE}:\n    pass\n", 1),
    ],
)
def test_none_or_another(text: str, contexts: int) -> None:
    fact = _fact(text)
    assert not fact.direct
    assert len(fact.contexts) == contexts


def test_the_arguments_of_the_call_come_first() -> None:
    fact = _fact(
        "low, high = MixedPrecision(torch.bfloat16), MixedPrecision(torch.float32)\n"
        "with enable_wrap(wrapper_cls=FSDP, mixed_precision=low, device_id=1):\n"
        "    wrap(Block(), mixed_precision=high)\n"
    )
    written = {n: ast.unparse(a.node) for n, a in fact.arguments.items() if a.node is not None}
    assert written == {"module": "Block()", "mixed_precision": "high", "device_id": "1"}
