"""The rules by code and by what they own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest

from fsdp_migrate.rule.registry import Registry, load_rules
from fsdp_migrate.rule.rule import Rule, no_uses


def rule(code: str, symbols: Iterable[str] = (), methods: Iterable[str] = ()) -> Rule:
    return Rule(
        code, code.lower(), "", "", "", no_uses, symbols=tuple(symbols), methods=tuple(methods)
    )


FIRST = rule("X1", ["lib", "lib.a.b"], ["run"])
SECOND = rule("X2", ["lib.a", "lib.a.b"])


def test_rules_come_in_the_order_of_their_codes() -> None:
    assert list(Registry.of([SECOND, FIRST])) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("name", "owners"),
    [
        ("lib", (FIRST,)),
        ("lib.x.y", (FIRST,)),
        ("lib.a", (SECOND,)),
        ("lib.a.c", (SECOND,)),
        ("lib.a.b.c", (FIRST, SECOND)),
        ("library", ()),
        ("", ()),
    ],
)
def test_the_longest_symbol_at_or_above_a_name_decides(name: str, owners: tuple[Rule]) -> None:
    assert Registry.of([FIRST, SECOND]).owners(name) == owners


def test_methods_have_one_owner() -> None:
    assert Registry.of([FIRST, SECOND]).by_method == {"run": FIRST}


def test_two_rules_cannot_share_a_code() -> None:
    with pytest.raises(RuntimeError, match="two rules are called X1"):
        Registry.of([FIRST, rule("X1")])
    assert list(Registry.of([FIRST, FIRST])) == [FIRST]  # imported by another rule's file


def test_the_rules_of_the_package() -> None:
    registry = load_rules()
    assert len(registry.by_code) > 30
    assert [each.code for each in registry] == sorted(registry.by_code)
    assert "no_sync" in registry.by_method
    assert registry.owners("torch.distributed.fsdp.FullyShardedDataParallel")


CONSTRUCTOR = "FSDP101"  # says it argument by argument


@pytest.mark.parametrize("rule", list(load_rules()), ids=lambda rule: str(rule.code))
def test_what_goes_through_the_shim_can_be_written_by_hand(rule: Rule) -> None:
    """Where the shim is ruled out, nobody is left without a word of what to write."""
    asked = rule.survey if rule.check is no_uses else rule.check
    module = inspect.getmodule(asked) if asked is not None else None
    source = inspect.getsource(module) if module is not None else ""
    if "Tier.SHIM" in source and rule.code != CONSTRUCTOR:
        assert rule.by_hand, rule.name
