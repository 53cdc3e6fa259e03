"""Files: written whole or not at all.

A program may be killed at any moment, a disk may be full, a folder may be gone. What stood in a
file before is then worth more than half of what should have come. So a new content goes into a
file of its own beside the old one; it is brought onto the disk; and only then it takes the old
one's name, which the system does at once:

    write name.1f3a.partial  →  fsync  →  rename to name  →  fsync the folder

At every moment one finds under the name either the whole old content or the whole new one. What a
kill may leave behind is a ``.partial`` beside it, which nothing ever reads.

Only files are written and read: a device or a pipe of that name is refused, for it cannot be
replaced, and what comes out of it may never end.
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
"""What the names of files end with that are not written to their end yet."""


def write(path: str | os.PathLike[str], content: bytes, what: str) -> None:
    """Write a file, or leave the one that stands there as it is.

    Parameters
    ----------
    path
        Where; a link is followed and stays a link.
    content
        All that shall stand in it.
    what
        What it is, for the error: ``"the model"``.

    Raises
    ------
    StorageError
        The file could not be written; nothing has changed.
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
                os.chmod(partial, mode)  # what only its owner could read stays that way
            os.replace(partial, target)  # all or nothing: what stood there is whole until now
        finally:
            with contextlib.suppress(OSError):  # the error that led here is the one to tell
                partial.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it
        raise unwritten(path, error, what) from error
    sync_folder(target.parent)


def read(path: str | os.PathLike[str], what: str) -> bytes:
    """All that stands in a file.

    Raises
    ------
    StorageError
        There is no such file, or it cannot be read.
    """
    with reading(path, what) as file:
        return file.read()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """A file that is open for reading, for whoever does not need all of it.

    Raises
    ------
    StorageError
        There is no such file, or it cannot be read.
    """
    try:
        _mode(Path(path))
        with open(path, "rb") as file:
            yield file
    except (OSError, ValueError, MemoryError) as error:
        raise unread(path, error, what) from error


def make_folder(path: str | os.PathLike[str], what: str) -> Path:
    """A folder, with those above it, made where it is not there yet.

    Raises
    ------
    StorageError
        It cannot be made, or there is a file of that name.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error
    return Path(path)


def require_place_for_file(path: str | os.PathLike[str], what: str) -> None:
    """Refuse a file that cannot be written, as far as can be seen without touching it.

    Parameters
    ----------
    path
        Where.
    what
        What it is, for the error: ``"the table of epochs"``.

    Raises
    ------
    StorageError
        Its folder is not there, that is no file, or one may not write there.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise _error(errno.EISDIR)
        if target.exists():
            if not target.is_file():
                raise OSError(errno.EINVAL, "that is a device or a pipe, and no file")
            _require_permission(target)
        if not target.parent.exists():
            raise _error(errno.ENOENT)
        _require_folder(target.parent)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error


def require_place_for_folder(path: str | os.PathLike[str], what: str) -> None:
    """Refuse a folder that cannot be made, or written into; see `require_place_for_file`."""
    try:
        target = Path(os.path.realpath(path))
        while not target.exists():
            target = target.parent
        _require_folder(target)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error


def lock_folder(folder: Path) -> int | None:
    """Keep a folder for this process, until `unlock_folder` or its end, however that comes.

    Returns
    -------
    int or None
        What `unlock_folder` takes; None where another process, or another part of this one, has
        the folder. −1 where the system knows no such locks: then nobody is kept out.
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
    """Give a folder free again."""
    if lock is not None and lock >= 0:
        os.close(lock)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk, where the system can."""
    with contextlib.suppress(OSError):  # the content is whole; some file systems sync no folders
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
        errno.EISDIR: "that is a folder; give the name of a file in it",
        errno.EACCES: "you may not read it: change its permissions",
    }.get(getattr(error, "errno", None) or 0)
    if missing and not Path(path).is_absolute():
        hint = f"paths begin at {Path.cwd()}"
    return StorageError(
        f"there is no file to read {what} from" if missing else f"{what} could not be read",
        place=os.fspath(path),
        received=_said(error),
        hint=hint,
    )


def _mode(path: Path) -> int | None:
    """Who may read and write a file; None where there is none. All else is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None  # what it is, opening will tell
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "that is a device or a pipe, and no file")
    return stat.S_IMODE(found.st_mode)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _hint(path: Path, error: Exception) -> str:
    folder = path.parent
    forbidden = f"you may not write into {folder}: change its permissions, or write elsewhere"
    known = {
        errno.ENOSPC: "the disk is full: make room, or write to another one",
        errno.EDQUOT: "your share of the disk is used up: make room, or write elsewhere",
        errno.EROFS: "the disk can only be read: write to another one",
        errno.EACCES: forbidden,
        errno.EPERM: forbidden,
        errno.ENAMETOOLONG: "give it a shorter name",
        errno.EISDIR: "that is a folder; give the name of a file in it",
        errno.EINVAL: "give the name of a file, new or old",
    }.get(getattr(error, "errno", None) or 0)
    if known is not None:
        return known
    if not os.path.lexists(folder):
        return f"the folder {folder} is not there: make it first, or is it misspelt?"
    if not os.path.isdir(folder):
        return f"{folder} is a file, and no folder that another one could stand in"
    return "is the folder there, is there room, and may you write to it?"


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise _error(errno.ENOTDIR)
    _require_permission(folder)


def _require_permission(place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise _error(errno.EACCES)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
