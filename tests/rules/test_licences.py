"""No fix is called safe without the facts that make it so."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.finding import Safety
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.rule import Rule
from support.cases import all_cases
from support.licences import Licence, read_licences, safe_fixes

LICENCES = read_licences()
RULES = {rule.name: rule for rule in load_rules()}


@pytest.mark.parametrize(
    "licence",
    [
        pytest.param(
            one,
            id=f"{one.rule}: {one.fact}",
            marks=[pytest.mark.xfail(reason=one.not_yet)] if one.not_yet else [],
        )
        for one in LICENCES
    ],
)
def test_without_the_fact_no_fix_is_safe(licence: Licence) -> None:
    code = RULES[licence.rule].code
    assert safe_fixes(licence.having, code), "with the fact there is a safe fix"
    assert licence.lacking != licence.having
    assert not safe_fixes(licence.lacking, code)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_every_need_is_broken_once(rule: Rule) -> None:
    assert list(rule.needs) == [one.fact for one in LICENCES if one.rule == rule.name]


def test_rules_with_safe_fixes_say_what_they_need() -> None:
    safe = {
        item.code
        for case in all_cases()
        if not case.not_yet
        for item in case.run().findings
        if item.fix is not None and item.fix.safety is Safety.SAFE
    }
    assert {rule.name for rule in RULES.values() if rule.code in safe and not rule.needs} == set()
