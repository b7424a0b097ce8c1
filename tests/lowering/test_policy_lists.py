"""Policies in a list that the program fills: what the list becomes, and where it stays."""

from __future__ import annotations

import pytest

from support.wraps import migrated

IMPORT = "from torch.distributed.fsdp.wrap import _or_policy, size_based_auto_wrap_policy\n\n\n"
BLOCKS = "ModuleWrapPolicy({Block})"
LINEARS = "ModuleWrapPolicy([nn.Linear])"
LAMBDA = "functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: m.training)"
SIZE = "functools.partial(size_based_auto_wrap_policy, min_num_params=7)"
UNION = "functools.partial(_or_policy, policies={})"


def _built(*lines: str, policy: str = UNION.format("policies")) -> str:
    """What becomes of a function that builds a policy by some lines, and of its reader."""
    body = "".join(f"    {line}\n" for line in lines)
    return migrated(
        f"{IMPORT}def get(flag, other):\n{body}    return {policy}\n\n\n"
        "def build(net, flag, other):\n"
        "    policy = get(flag, other)\n"
        "    return FSDP(net, auto_wrap_policy=policy)\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        f"if flag: policies.append({LINEARS})",
        f"if flag: policies.extend([{LINEARS}])",
        f"if flag: policies += [{LINEARS}]",
        f"if flag: policies = [{LINEARS}]",
        f"if flag: policies.insert(0, {LINEARS})",
    ],
)
def test_lists_of_classes(line: str) -> None:
    after = _built(f"policies = [{BLOCKS}]", line)
    assert "policies = [(Block,)]" in after
    assert "(nn.Linear,)" in after
    assert "return tuple(cls for classes in policies for cls in classes)" in after
    assert "isinstance(module, policy)" in after
    assert "fsdp_migrate" not in after


def test_a_predicate_makes_all_of_them_predicates() -> None:
    after = _built(f"policies = [{BLOCKS}]", f"if flag: policies.append({LAMBDA})")
    assert "policies = [lambda module: isinstance(module, Block)]" in after
    assert "policies.append(lambda m: m.training)" in after
    assert "return lambda module: any(policy(module) for policy in policies)" in after
    assert "if policy(module):" in after or "and policy(module):" in after


@pytest.mark.parametrize(
    ("made", "becomes"),
    [
        (LINEARS, "return (*one, *two)"),
        (LAMBDA, "return lambda module: one(module) or two(module)"),
    ],
)
def test_variables_that_others_read_too(made: str, becomes: str) -> None:
    union = UNION.format("[one, two]")
    after = _built(f"one = {BLOCKS}", f"two = {made}", "print(one, two)", policy=union)
    assert becomes in after
    assert "fsdp_migrate" not in after


@pytest.mark.parametrize(
    "lines",
    [
        (f"policies = [{BLOCKS}, other]",),
        (f"policies = [{BLOCKS}]", "policies.append(lambda module, recurse, nonwrapped_numel: 1)"),
        (f"policies = [{BLOCKS}]", f"if flag: policies.append({SIZE})"),
        (f"policies = [{BLOCKS}]", "other(policies)"),
        ("policies = other",),
    ],
)
def test_lists_that_may_hold_something_else(lines: tuple[str, ...]) -> None:
    after = _built(*lines)
    assert "units_from_policy(net, policy)" in after
    assert "or_policy, policies=policies" in after


@pytest.mark.parametrize(
    "lines",
    [
        (f"policies = [{LAMBDA}]", f"if flag: policies.append({BLOCKS})", f"policies = {UNION}"),
        (
            f"policies = [{LAMBDA}]",
            f"if flag: policies.append({BLOCKS})",
            f"made = {UNION}",
            f"policies.append({LINEARS})",
        ),
        (
            f"policies = [{LAMBDA}]",
            "for n in other:",
            f"    policies.append({BLOCKS})",
            f"    made = {UNION}",
        ),
    ],
)
def test_lists_that_change_later(lines: tuple[str, ...]) -> None:
    given = [line.replace("={}", "=policies") for line in lines]
    name = "policies" if given[-1].startswith("policies = ") else "made"
    after = _built(*given, policy=name)
    assert "units_from_policy(net, policy)" in after


def test_a_list_at_the_constructor() -> None:
    after = migrated(
        f"{IMPORT}def get(flag):\n    found = [{BLOCKS}]\n"
        f"    if flag:\n        found.append({LINEARS})\n    return found\n\n\n"
        "def build(net, flag):\n    found = get(flag)\n"
        f"    return FSDP(net, auto_wrap_policy={UNION.format('found')})\n"
    )
    assert "unit_classes = tuple(cls for classes in found for cls in classes)" in after
    assert "isinstance(module, unit_classes)" in after
