"""FullyShardedDataParallel: its constructor, its methods, and its state-dict contexts."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.library.fsdp1 import SET_MODE, entered, sets_mode
from fsdp_migrate.analysis.values import Const, Result, Symbol, Wrapped, constants, unknown
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.span import Site
from support.values import FULL, ZERO2, analyse, probed, wraps

ONE, TWO = Site("/project/train", 1, 0, 1, 5), Site("/project/train", 2, 0, 2, 5)
CONTEXT = Result(f"{FSDP1}.state_dict_type", ONE)


def test_keyword_arguments_of_a_wrap() -> None:
    analysis = analyse(
        """
        def options(bf16):
            found = {"use_orig_params": True}
            if bf16:
                found["mixed_precision"] = MixedPrecision(param_dtype=torch.bfloat16)
            return found
        shared = dict(sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)
        probe = FSDP(Net(), **shared, **options(True), limit_all_gathers=True)
        """
    )
    (fact,) = analysis.solver.wraps.values()
    assert not fact.opaque
    assert set(fact.arguments) == {
        "module",
        "sharding_strategy",
        "use_orig_params",
        "mixed_precision",
        "limit_all_gathers",
    }
    assert fact.arguments["sharding_strategy"].value == {ZERO2}
    assert constants(fact.arguments["use_orig_params"].value) == [True]
    (precision,) = fact.arguments["mixed_precision"].value
    assert isinstance(precision, Result)


def test_keyword_arguments_bound_in_a_partial() -> None:
    analysis = analyse(
        """
        base = partial(FSDP, sharding_strategy=ShardingStrategy.FULL_SHARD)
        more = partial(base, use_orig_params=True)
        probe = more(Net(), device_id=0)
        """
    )
    (fact,) = analysis.solver.wraps.values()
    assert {"module", "sharding_strategy", "use_orig_params", "device_id"} <= set(fact.arguments)
    assert not fact.direct
    assert fact.arguments["device_id"].node is None


def test_arguments_by_position() -> None:
    analysis = analyse("probe = FSDP(Net(), None, ShardingStrategy.FULL_SHARD)")
    (fact,) = analysis.solver.wraps.values()
    assert fact.arguments["process_group"].value == {Const.of(None)}
    assert fact.arguments["sharding_strategy"].value == {FULL}
    node = fact.arguments["sharding_strategy"].node
    assert node is not None
    assert ast.unparse(node) == "ShardingStrategy.FULL_SHARD"


def test_what_comes_from_outside_is_opaque() -> None:
    analysis = analyse("def f(m, **kwargs):\n    return FSDP(m, **kwargs)")
    (fact,) = analysis.solver.wraps.values()
    assert set(fact.arguments) == {"module"}
    assert fact.opaque


def test_the_function_wrap_makes_a_model_too() -> None:
    analysis = analyse("from torch.distributed.fsdp.wrap import wrap\nprobe = wrap(Net())\nprobe")
    assert wraps(analysis)
    (fact,) = analysis.solver.wraps.values()
    assert not fact.direct


def test_one_constructor_that_is_called_with_several_values() -> None:
    analysis = analyse("def f(s):\n    return FSDP(Net(), sharding_strategy=s)\nf(1)\nf(2)")
    (fact,) = analysis.solver.wraps.values()
    assert sorted(constants(fact.arguments["sharding_strategy"].value) or [], key=str) == [1, 2]


def test_methods_give_results_by_canonical_name() -> None:
    (atom,) = probed("probe = FSDP(Net()).no_sync()\nprobe")
    assert isinstance(atom, Result)
    assert atom.symbol == f"{FSDP1}.no_sync"


def test_entering_a_context_takes_the_place_of_the_one_outside() -> None:
    assert entered(frozenset({None}), frozenset({CONTEXT})) == {ONE}
    assert entered(frozenset({TWO}), frozenset({CONTEXT})) == {ONE}


def test_a_context_that_may_be_another_leaves_both() -> None:
    assert entered(frozenset({None}), frozenset({CONTEXT, *unknown("x")})) == {None, ONE}
    assert entered(frozenset({None}), unknown("x")) == {None}


def test_setting_a_mode_for_good() -> None:
    assert sets_mode(frozenset({Result(SET_MODE, ONE)}))
    assert not sets_mode(frozenset({CONTEXT, Symbol(SET_MODE), Wrapped(None)}))
