"""Files as text and back: bytes that need not change do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdp_migrate.syntax.source import Source, SourceError, decode, read

LATIN = "# -*- coding: latin-1 -*-\ns = 'é'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_bytes(b"a = 1\n")
    return path


@pytest.mark.parametrize(
    ("data", "text", "encoding", "bom"),
    [
        pytest.param(b"", "", "utf-8", False, id="empty"),
        pytest.param("s = 'é'\n".encode(), "s = 'é'\n", "utf-8", False, id="utf-8"),
        pytest.param(b"a\r\nb\r\n", "a\r\nb\r\n", "utf-8", False, id="crlf"),
        pytest.param(b"a\rb\nc\r\n", "a\rb\nc\r\n", "utf-8", False, id="mixed"),
        pytest.param(b"a", "a", "utf-8", False, id="no newline at the end"),
        pytest.param(b"\xef\xbb\xbfa\n", "a\n", "utf-8", True, id="bom"),
        pytest.param(LATIN.encode("latin-1"), LATIN, "iso-8859-1", False, id="latin-1"),
        pytest.param(
            b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\ns = '\x80'\n",
            "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\ns = '€'\n",
            "cp1252",
            False,
            id="cookie on the second line",
        ),
        pytest.param(
            b"a = 1\n\n# coding: cp1252 comes too late\n",
            "a = 1\n\n# coding: cp1252 comes too late\n",
            "utf-8",
            False,
            id="cookie on the third line",
        ),
    ],
)
def test_text_is_decoded_and_comes_back(
    file: Path, data: bytes, text: str, encoding: str, bom: bool
) -> None:
    file.write_bytes(data)
    source = read(file)
    assert source == Source(file, text, encoding, bom)
    assert source.encode(text) == data


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")))
def test_any_text_comes_back(text: str) -> None:
    data = text.encode()
    if b"coding" not in data:
        source = decode(Path("x.py"), data)
        assert source.encode(source.text) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\0\0", "null bytes"),
        (b"a = 1\ns = '\xe9'\n", r"line 2: byte 0xe9 is not utf-8"),
        (b"# coding: klingon\n", "unknown encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding problem"),
    ],
)
def test_what_is_not_python_source_says_why(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        read(file)
    assert caught.value.path == file
    assert str(file) in str(caught.value)


def test_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read(tmp_path / "none.py")
