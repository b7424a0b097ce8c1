"""Arguments that come in through `**`."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.arguments.keyword_dicts import written_arguments
from support.wraps import plan, plans, shown, solved, wrapped

GRAD_OP = "ShardingStrategy.SHARD_GRAD_OP"


@pytest.mark.parametrize(
    "made", [f"{{'sharding_strategy': {GRAD_OP}}}", f"dict(sharding_strategy={GRAD_OP})"]
)
def test_a_dict_that_is_written_out_is_as_good_as_the_arguments(made: str) -> None:
    direct, named = wrapped(f"**{made}"), wrapped("**options", f"options = {made}")
    for found in (direct, named):
        assert found.native
        assert found.parts.reshard is not None
        assert shown(found.fact.module, found.parts.reshard.after_forward) == "False"
    assert not direct.parts.absorbed
    assert len(named.parts.absorbed) == 1


def test_two_calls_may_share_a_dict() -> None:
    text = f"options = {{'sharding_strategy': {GRAD_OP}}}\na = FSDP(Block(), **options)\n"
    assert all(found.native for found in plans(f"{text}b = FSDP(Block(), **options)\n"))


@pytest.mark.parametrize(
    "lines",
    [
        ("options = {'sync_module_states': True}", "print(options)"),
        ("options = {'use_orig_params': (orig := True), 'sync_module_states': True}",),
        ("options = flag",),
    ],
)
def test_a_dict_that_others_see_is_passed_on(lines: tuple[str, ...]) -> None:
    assert wrapped("**options", *lines).reason.startswith("arguments come in through `**")


def test_looking_at_a_call_leaves_the_facts_as_they_are() -> None:
    made = solved(
        f"options = {{'sharding_strategy': {GRAD_OP}}}\nmodel = FSDP(Block(), **options)\n"
    )
    (fact,) = made.solver.wraps.values()
    assert fact.arguments["sharding_strategy"].node is None
    written = written_arguments(made.solver, fact)
    assert written.arguments["sharding_strategy"].node is not None
    assert fact.arguments["sharding_strategy"].node is None


def test_a_starred_list_is_not_followed() -> None:
    reason = plan("def build(some):\n    return FSDP(*some)\n").reason
    assert "`*" in reason


def test_a_dict_that_says_nothing_may_be_read_elsewhere() -> None:
    head = "kw = {'limit_all_gathers': True, 'use_orig_params': True}\nprint(kw)\n"
    assert plan(f"{head}model = FSDP(Block(), **kw)\n").native
    assert not plan(f"{head}kw['cpu_offload'] = x\nmodel = FSDP(Block(), **kw)\n").native
