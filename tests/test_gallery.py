"""The gallery shows what the rules do today, without the runtime."""

from __future__ import annotations

import pytest

import gallery

PAGES = gallery.pages()


def test_ten_programs() -> None:
    assert len(gallery.PROGRAMS) == 10


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    written = (gallery.PAGES / name).read_text(encoding="utf-8")
    assert written == PAGES[name], "run: python tests/gallery.py"
