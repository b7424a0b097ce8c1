"""Where a value comes from, in words."""

from __future__ import annotations

import pytest

from support.wraps import wrapped


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("flag", "a parameter of `build`"),
        ("flag.offload", "an attribute"),
        ("flag['offload']", "a look-up"),
        ("other(flag)", "what a call returns"),
        ("flag or other", "what an expression says"),
    ],
)
def test_words(value: str, words: str) -> None:
    (residue,) = wrapped(f"cpu_offload={value}").parts.residues
    assert residue.origin == f" (`{value}`, {words})"


def test_the_lines_of_a_variable() -> None:
    lines = ("kept = flag", "if other:", "    kept = other")
    (residue,) = wrapped("cpu_offload=kept", *lines).parts.residues
    assert "a variable that is set in lines" in residue.origin
