"""Files: written whole or not at all.

A program may be killed at any moment, a disk may be full, a folder may be gone. What stood in a
file before is then worth more than half of what should have come. So a new content goes into a
file of its own beside the old one; it is brought onto the disk; and only then it takes the old
one's name, which the system does at once:

    write name.1f3a.partial  →  fsync  →  rename to name  →  fsync the folder

At every moment one finds under the name either the whole old content or the whole new one. What a
kill may leave behind is a ``.partial`` beside it, which nothing ever reads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

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
    target = Path(os.path.realpath(path))
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)  # all or nothing: what stood there is whole until now
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(path, error, what) from error
    sync_folder(target.parent)


def read(path: str | os.PathLike[str], what: str) -> bytes:
    """All that stands in a file.

    Raises
    ------
    StorageError
        There is no such file, or it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
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
    except OSError as error:
        raise unwritten(path, error, what) from error
    return Path(path)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk, where the system can."""
    with contextlib.suppress(OSError):  # the content is whole; some file systems sync no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unwritten(path: str | os.PathLike[str], error: OSError, what: str) -> StorageError:
    """The error for a file that could not be written."""
    return StorageError(
        f"{what} could not be written",
        place=os.fspath(path),
        received=_said(error),
        mend=_mend(Path(path), error),
    )


def unread(path: str | os.PathLike[str], error: OSError, what: str) -> StorageError:
    """The error for a file that could not be read."""
    missing = isinstance(error, FileNotFoundError)
    return StorageError(
        f"there is no file to read {what} from" if missing else f"{what} could not be read",
        place=os.fspath(path),
        received=_said(error),
        mend=f"paths begin at {Path.cwd()}" if missing and not Path(path).is_absolute() else None,
    )


def _said(error: OSError) -> str:
    return f"{type(error).__name__}: {error.strerror or error}"


def _mend(path: Path, error: OSError) -> str:
    folder = path.parent
    if path.is_dir():
        return "that is a folder; give the name of a file in it"
    if not folder.is_dir():
        return f"the folder {folder} is not there: make it first, or is it misspelt?"
    return {
        errno.ENOSPC: "the disk is full: make room, or write to another one",
        errno.EDQUOT: "your share of the disk is used up: make room, or write elsewhere",
        errno.EROFS: "the disk can only be read: write to another one",
        errno.EACCES: f"you may not write into {folder}: change its permissions, or write elsewhere",
        errno.EPERM: f"you may not write into {folder}: change its permissions, or write elsewhere",
    }.get(error.errno or 0, "is the folder there, is there room, and may you write to it?")
