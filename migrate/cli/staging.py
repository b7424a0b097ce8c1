"""New content of files, complete beside them before any of them is replaced."""

from __future__ import annotations

import os
import re
import socket
import stat
import tempfile
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.syntax.source import Source, SourceError, reason

_HOST = zlib.crc32(socket.gethostname().encode())
_PREFIX = f".fsdp-migrate-{_HOST}-{{}}-"
_SUFFIX = ".tmp"
_NAME = re.compile(r"\.fsdp-migrate-(\d+)-(\d+)-\w+\.tmp")
_FORGOTTEN = 3600.0  # seconds, after which no process of another machine is still at it


@dataclass(frozen=True)
class Staged:
    """New content that lies complete beside its file, one rename away from it."""

    source: Source
    temporary: str
    target: str

    @property
    def path(self) -> Path:
        """The file, as the user calls it."""
        return self.source.path

    def check(self) -> None:
        """`SourceError` if the file isn't any more what was read."""
        try:
            _unchanged(self.source, self.target)
        except OSError as error:
            raise SourceError(self.path, f"cannot write: {reason(error)}") from error

    def commit(self) -> None:
        """Put the new content in the place of the old."""
        self.check()
        try:
            os.replace(self.temporary, self.target)
        except OSError as error:
            raise SourceError(self.path, f"cannot write: {reason(error)}") from error

    def discard(self) -> None:
        """Leave the file as it is."""
        with suppress(OSError):
            os.unlink(self.temporary)
            os.rmdir(os.path.dirname(self.temporary))  # made for a new file, and empty again


def stage(source: Source, text: str) -> Staged:
    """Write `text` beside the file of `source`, with its permissions, ready to replace it.

    A link is followed to the file that it names.  A file that is not any more what was read is
    left alone.
    """
    data = source.encode(text)
    target = os.path.realpath(source.path)
    temporary = None
    try:
        status = _unchanged(source, target)
        folder = os.path.dirname(target)
        if status is None:
            os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(_SUFFIX, _PREFIX.format(os.getpid()), folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        _dress(temporary, status)
    except BaseException as error:
        if temporary is not None:
            Staged(source, temporary, target).discard()
        if isinstance(error, OSError):
            raise SourceError(source.path, f"cannot write: {reason(error)}") from error
        raise
    return Staged(source, temporary, target)


def _unchanged(source: Source, target: str) -> os.stat_result | None:
    """The status of the file to replace, None if it is a new one; an error if it is not as read."""
    try:
        with open(target, "rb") as file:
            if file.read() != source.encode(source.text):
                raise SourceError(source.path, "changed on disk in the meantime; left as it is")
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        if source.text:
            raise
        return None
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied")
    return status


def _dress(temporary: str, status: os.stat_result | None) -> None:
    """Give a temporary file the permissions, and if possible the owner, of what it replaces."""
    if status is None:
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        return
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(temporary, status.st_uid, status.st_gid)
    os.chmod(temporary, stat.S_IMODE(status.st_mode))


def sweep(folders: Iterable[Path]) -> None:
    """Remove what a run that was killed has left in `folders`; not what another one is making."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in list(entries):
                found = _NAME.fullmatch(entry.name)
                if found is not None and _is_forgotten(entry, int(found[1]), int(found[2])):
                    with suppress(OSError):
                        os.unlink(entry.path)


def _is_forgotten(entry: os.DirEntry[str], host: int, process: int) -> bool:
    if host != _HOST or os.name == "nt":  # Windows can't be asked without ending the process
        return time.time() - entry.stat().st_mtime > _FORGOTTEN
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's, and alive
        return False
    return process == os.getpid()
