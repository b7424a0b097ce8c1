"""Files as text and back: bytes that need not change do not, and no failure damages a file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdp_migrate.syntax.source import Source, SourceError, decode, read, stage, write

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
    write(source, text)
    assert file.read_bytes() == data


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


def test_a_character_that_the_encoding_lacks_damages_nothing(file: Path) -> None:
    file.write_bytes(LATIN.encode("latin-1"))
    with pytest.raises(SourceError, match="iso-8859-1 cannot express '→'"):
        write(read(file), "# →\n")
    assert file.read_bytes() == LATIN.encode("latin-1")


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o664])
def test_permissions_are_kept(file: Path, mode: int) -> None:
    file.chmod(mode)
    write(read(file), "b = 2\n")
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert file.read_text() == "b = 2\n"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    path, other = tmp_path / "new.py", tmp_path / "other.py"
    write(Source(path, ""), "a = 1\n")
    other.touch()
    assert path.read_text() == "a = 1\n"
    assert path.stat().st_mode == other.stat().st_mode


def test_a_linked_file_is_written_where_it_is(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "sub" / "link.py"
    link.parent.mkdir()
    link.symlink_to(file)
    write(read(link), "b = 2\n")
    assert link.is_symlink()
    assert file.read_text() == "b = 2\n"
    assert os.listdir(link.parent) == ["link.py"]


def test_a_file_that_changed_meanwhile_is_left_alone(file: Path) -> None:
    source = read(file)
    file.write_text("changed = True\n")
    with pytest.raises(SourceError, match="changed on disk"):
        write(source, "b = 2\n")
    assert file.read_text() == "changed = True\n"


def test_a_file_that_went_away_is_not_brought_back(file: Path) -> None:
    source = read(file)
    file.unlink()
    with pytest.raises(SourceError, match="no such file"):
        write(source, "b = 2\n")
    assert not file.exists()


@pytest.mark.parametrize("failing", ["os.replace", "os.fdopen", "os.chmod", "tempfile.mkstemp"])
def test_a_full_disk_damages_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = read(file)
    monkeypatch.setattr(failing, full)
    with pytest.raises(SourceError, match="cannot write: no space left on device"):
        write(source, "b = 2\n")
    monkeypatch.undo()
    assert file.read_text() == "a = 1\n"
    assert os.listdir(file.parent) == ["train.py"]


def test_an_interrupt_damages_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    source = read(file)
    monkeypatch.setattr("os.chmod", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(source, "b = 2\n")
    assert file.read_text() == "a = 1\n"
    assert os.listdir(file.parent) == ["train.py"]


def test_what_is_staged_can_be_discarded(file: Path) -> None:
    staged = stage(read(file), "b = 2\n")
    assert Path(staged.temporary).read_text() == "b = 2\n"
    staged.discard()
    assert os.listdir(file.parent) == ["train.py"]
    assert file.read_text() == "a = 1\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_without_permission_nothing_is_written(file: Path, locked: str) -> None:
    source = read(file)
    target = file if locked == "file" else file.parent
    mode = target.stat().st_mode
    target.chmod(mode & ~0o222)
    try:
        with pytest.raises(SourceError, match="cannot write: permission denied"):
            write(source, "b = 2\n")
    finally:
        target.chmod(mode)
    assert file.read_text() == "a = 1\n"


def test_a_file_that_may_not_be_written_is_not_replaced(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writable folder would let a read-only file be replaced: it must not."""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SourceError, match="permission denied"):
        write(read(file), "b = 2\n")
    assert file.read_text() == "a = 1\n"
