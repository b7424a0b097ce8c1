"""The names that patterns bind, and to what."""

from __future__ import annotations

import pytest

from support.values import check_model

# Cases of a match over `(FSDP(Net()), 1)`, a dict or an object with it, that bind `probe`.
CASES = {
    "a name": ("FSDP(Net())", "probe"),
    "a name for a pattern": ("FSDP(Net())", "nn.Module() as probe"),
    "a tuple": ("FSDP(Net()), 1", "(probe, 1)"),
    "a list with a rest": ("[FSDP(Net()), FSDP(Net())]", "[probe, *rest]"),
    "a dict": ('{"net": FSDP(Net())}', '{"net": probe}'),
    "a field": ("Job(FSDP(Net()))", "Job(net=probe)"),
    "a field by its place": ("Job(FSDP(Net()))", "Job(probe)"),
    "one of several": ("FSDP(Net()), 1", "(probe, 1) | (probe, 2)"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_pattern_binds(case: str) -> None:
    subject, pattern = CASES[case]
    check_model(
        f"@dataclass\nclass Job:\n    net: nn.Module\n\nmatch {subject}:\n"
        f"    case {pattern}:\n        probe\n"
    )
