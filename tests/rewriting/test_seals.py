"""By its seal a file that was copied is known later, and a change to it is seen."""

from __future__ import annotations

from fsdp_migrate.planning.suppressions import ignores_file
from fsdp_migrate.rewriting.seals import is_sealed, is_unchanged, sealed


def test_a_copy_is_known_and_left_alone_by_later_runs() -> None:
    copy = sealed("x = 1\n")
    assert copy.endswith("\nx = 1\n")
    assert is_sealed(copy)
    assert is_unchanged(copy)
    assert ignores_file(copy)


def test_a_change_is_seen() -> None:
    changed = sealed("x = 1\n").replace("1", "2").replace("x = 2", "y = 1")
    assert not is_unchanged(changed)
    assert not is_unchanged(sealed("x = 1\n") + "\n")
    assert is_sealed(sealed("x = 1\n") + "\n")


def test_what_was_never_copied() -> None:
    assert not is_sealed("x = 1\n")
    assert not is_unchanged("x = 1\n")
