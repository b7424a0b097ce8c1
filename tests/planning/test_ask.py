"""Which rules are asked about what."""

from __future__ import annotations

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.planning.ask import UNOWNED
from support.programs import Run, dedent, migrate


def run(text: str) -> Run:
    return migrate(dedent(text))


def test_a_name_that_no_rule_owns_is_left_to_a_person() -> None:
    done = run(
        """
        from torch.distributed.fsdp._flat_param import FlatParamHandleOfTheFuture

        print(FlatParamHandleOfTheFuture)
        """
    )
    found = [item for item in done.findings if item.line == 3]
    assert found
    assert all(item.tier is Tier.MANUAL for item in found)
    assert not done.changed


def test_a_name_that_torch_has_dropped_blocks_nothing() -> None:
    done = run(
        """
        from torch import nn
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
        from torch.distributed.fsdp.wrap import default_auto_wrap_policy

        model = FSDP(nn.Linear(2, 2))
        print(default_auto_wrap_policy)
        """
    )
    (stale,) = [item for item in done.findings if item.code == UNOWNED]
    assert "went with torch 1.11" in stale.message
    assert not stale.blocking
    assert done.changed


def test_a_method_is_the_business_of_the_rule_that_owns_it() -> None:
    done = run(
        """
        from torch import nn
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

        model = FSDP(nn.Linear(2, 2))
        model.clip_grad_norm_(1.0)
        """
    )
    assert [item.code for item in done.findings if item.line == 5] == ["FSDP202"]


def test_a_thing_is_said_once() -> None:
    done = run(
        """
        from torch import nn
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

        def build():
            return FSDP(nn.Linear(2, 2))

        first, second = build(), build()
        """
    )
    said = [(item.line, item.col, item.code, item.message) for item in done.findings]
    assert len(said) == len(set(said))
