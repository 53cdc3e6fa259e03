"""Files: written completely or not at all.

A program may be killed at any moment, a disk may be full, a folder may be gone. The old content of
a file is then worth more than half of the new one. So new content goes into a separate file in the
same folder, is flushed to disk, and only then takes the name of the old file, in one atomic step:

    write name.1f3a.partial  →  fsync  →  rename to name  →  fsync the folder

At every moment the name refers either to the complete old content or to the complete new one. A
killed program may leave a ``.partial`` file, which is never read.

Only regular files are written and read. A device or a pipe of that name raises an error: it cannot
be replaced, and reading it may never end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chainrule.core.errors import StorageError

PARTIAL = ".partial"
"""The suffix of files that are not completely written yet."""


def write(path: str | os.PathLike[str], content: bytes, what: str) -> None:
    """Write a file completely, or leave an existing one unchanged.

    Parameters
    ----------
    path
        Where to write; a link is followed and remains a link.
    content
        The complete content.
    what
        What the file contains, for the error message: ``"the model"``.

    Raises
    ------
    StorageError
        If the file could not be written; nothing has changed.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        partial = target.with_name(f"{target.name[:100]}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(partial, mode)  # keep a private file private
            os.replace(partial, target)  # atomic: until here, the old file is complete
        finally:
            with contextlib.suppress(OSError):  # report the original error, not this one
                partial.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name that contains a null character
        raise unwritten(path, error, what) from error
    sync_folder(target.parent)


def read(path: str | os.PathLike[str], what: str) -> bytes:
    """The complete content of a file.

    Raises
    ------
    StorageError
        If the file does not exist or cannot be read.
    """
    with reading(path, what) as file:
        return file.read()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """Open a file for reading, for callers that need only a part of it.

    Raises
    ------
    StorageError
        If the file does not exist or cannot be read.
    """
    try:
        _mode(Path(path))
        with open(path, "rb") as file:
            yield file
    except StorageError:  # the caller's, about the content
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise unread(path, error, what) from error


def make_folder(path: str | os.PathLike[str], what: str) -> Path:
    """Create a folder and its parents if they do not exist yet.

    Raises
    ------
    StorageError
        If it cannot be created, or a file has that name.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error
    return Path(path)


def require_place_for_file(path: str | os.PathLike[str], what: str) -> None:
    """Raise an error if a file cannot be written, as far as can be seen without touching it.

    Parameters
    ----------
    path
        Where to write.
    what
        What the file contains, for the error message: ``"the table of epochs"``.

    Raises
    ------
    StorageError
        If its folder does not exist, it is not a regular file, or writing is not permitted.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise _error(errno.EISDIR)
        if target.exists():
            if not target.is_file():
                raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
            _require_permission(target)
        if not target.parent.exists():
            raise _error(errno.ENOENT)
        _require_folder(target.parent)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error


def require_place_for_folder(path: str | os.PathLike[str], what: str) -> None:
    """Raise an error if a folder cannot be created or written to; see `require_place_for_file`."""
    try:
        target = Path(os.path.realpath(path))
        while not target.exists():
            target = target.parent
        _require_folder(target)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until `unlock_folder` or the end of this process, however it ends.

    Returns
    -------
    int or None
        The argument for `unlock_folder`; None if the folder is already locked, by another process
        or by another part of this one. −1 if the system does not support such locks; then nothing
        is locked.
    """
    try:
        import fcntl
    except ImportError:
        return -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # some network file systems refuse
        os.close(descriptor)
        return -1
    return descriptor


def unlock_folder(lock: int | None) -> None:
    """Unlock a folder."""
    if lock is not None and lock >= 0:
        os.close(lock)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the system supports it."""
    with contextlib.suppress(OSError):  # the content is safe; some file systems can't sync folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unwritten(path: str | os.PathLike[str], error: Exception, what: str) -> StorageError:
    """The error for a file that could not be written."""
    return StorageError(
        f"{what} could not be written",
        place=os.fspath(path),
        received=_said(error),
        hint=_hint(Path(path), error),
    )


def unread(path: str | os.PathLike[str], error: Exception, what: str) -> StorageError:
    """The error for a file that could not be read."""
    missing = isinstance(error, FileNotFoundError)
    hint = {
        errno.EISDIR: "this is a folder: pass the name of a file in it",
        errno.EACCES: "you cannot read it: change its permissions",
    }.get(getattr(error, "errno", None) or 0)
    if missing and not Path(path).is_absolute():
        hint = f"relative paths start at {Path.cwd()}"
    return StorageError(
        f"there is no file to read {what} from" if missing else f"{what} could not be read",
        place=os.fspath(path),
        received=_said(error),
        hint=hint,
    )


def _mode(path: Path) -> int | None:
    """The permissions of a file; None if it does not exist. Raises if it is not a regular file."""
    try:
        found = os.stat(path)
    except OSError:
        return None  # opening the file will raise the proper error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    return stat.S_IMODE(found.st_mode)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _hint(path: Path, error: Exception) -> str:
    folder = path.parent
    forbidden = f"you cannot write to {folder}: change its permissions, or write elsewhere"
    known = {
        errno.ENOSPC: "the disk is full: free some space, or write to another disk",
        errno.EDQUOT: "your disk quota is used up: free some space, or write elsewhere",
        errno.EROFS: "the disk is read-only: write to another one",
        errno.EACCES: forbidden,
        errno.EPERM: forbidden,
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.EISDIR: "this is a folder: pass the name of a file in it",
        errno.EINVAL: "pass the name of a file, new or existing",
    }.get(getattr(error, "errno", None) or 0)
    if known is not None:
        return known
    if not os.path.lexists(folder):
        return f"the folder {folder} does not exist: create it first, or is it misspelt?"
    if not os.path.isdir(folder):
        return f"{folder} is a file, not a folder"
    return "check that the folder exists, has free space, and that you can write to it"


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise _error(errno.ENOTDIR)
    _require_permission(folder)


def _require_permission(place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise _error(errno.EACCES)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
