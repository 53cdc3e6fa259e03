"""Files: written completely or not at all.

A program may be killed at any moment, a disk may be full, a folder may be gone. The old content of
a file is then worth more than half of the new one. So new content goes into a separate file in the
same folder, is flushed to disk, and only then takes the name of the old file, in one atomic step:

    write name.1f3a.partial  →  fsync  →  rename to name  →  fsync the folder

At every moment the name refers either to the complete old content or to the complete new one. A
killed program may leave a ``.partial`` file, which is never read; the next program that writes the
same file removes it. The writer holds a lock on its partial file, so that the files of a program
that still runs are left alone.

Only regular files are written and read. A device or a pipe of that name raises an error: it cannot
be replaced, and reading it may never end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.terminal import described

if TYPE_CHECKING:
    from pathlib import Path  # imported on use: every program imports this module, few need a file

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
    ConfigurationError
        If the path is not one.
    """
    import glob

    _require_path(path, what)
    try:
        target = _followed(path)
        mode = _mode(target)
        sweep(target.parent, f"{glob.escape(target.name[:100])}.{'[0-9a-f]' * 8}")
        partial, file = _new_partial(target, mode)
        try:
            with file:
                file.write(content)
                file.flush()
                if mode is not None:
                    os.chmod(partial, mode)
                os.fsync(file.fileno())
                if os.name != "nt":  # Windows does not rename an open file
                    os.replace(partial, target)  # atomic: until here, the old file is complete
            if os.name == "nt":
                os.replace(partial, target)
        finally:
            with contextlib.suppress(OSError):  # report the original error, not this one
                partial.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name that contains a null character
        raise unwritten(path, error, what) from error
    sync_folder(target.parent)


def _require_path(path: Any, what: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(
            f"the path of {what} is not a path",
            place="path",
            expected="a string or a pathlib.Path",
            received=described(path),
            hint='pass the name of a file, such as "runs/first.model"',
        )


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with ``~`` expanded."""
    from pathlib import Path

    return Path(os.path.expanduser(path))


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path, with ``~`` expanded: it survives a change of the working folder."""
    return expanded(path).absolute()


def _followed(path: str | os.PathLike[str]) -> Path:
    """The path of the file itself, if the given one is that of a link."""
    return expanded(os.path.realpath(expanded(path)))


def sweep(folder: Path, pattern: str) -> None:
    """Remove the partial files that killed programs have left in a folder.

    Parameters
    ----------
    folder
        The folder.
    pattern
        The pattern of their names, without the suffix.
    """
    with contextlib.suppress(OSError):  # a leftover does no harm
        for partial in list(folder.glob(f"{pattern}{PARTIAL}")):
            with contextlib.suppress(OSError), open(partial, "rb") as file:
                # If its writer is alive, it holds the lock; Windows removes no open file.
                if _lock(file.fileno()) or os.name == "nt":
                    partial.unlink()


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
    ConfigurationError
        If the path is not one.
    """
    _require_path(path, what)
    try:
        found = expanded(path)
        _mode(found)
        with open(found, "rb") as file:
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
    _require_path(path, what)
    folder = expanded(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error
    return folder


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
    _require_path(path, what)
    try:
        target = _followed(path)
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
    _require_path(path, what)
    try:
        target = _followed(path)
        while not target.exists():
            target = target.parent
        _require_folder(target)
    except (OSError, ValueError) as error:
        raise unwritten(path, error, what) from error


class FolderLock:
    """A lock on a folder, held until `release` or the end of this process, however it ends.

    A forked child of the process does not hold it. Where the system has no such locks, nothing is
    locked.

    Parameters
    ----------
    folder
        The folder; it is created if it does not exist.
    what
        What the folder contains, for the error message.

    Attributes
    ----------
    is_held
        False if the folder is already locked, by another process or by another part of this one.

    Raises
    ------
    StorageError
        If the folder does not exist and cannot be created.
    """

    _all: ClassVar[weakref.WeakSet[FolderLock]] = weakref.WeakSet()

    def __init__(self, folder: Path, what: str) -> None:
        self.folder = folder
        self._created = [each for each in (folder, *folder.parents) if not each.exists()]
        make_folder(folder, what)
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):  # Windows cannot open a folder
            self._descriptor = os.open(folder, os.O_RDONLY)
        self._identity = _identity(folder)
        self.is_held = self._descriptor is None or _lock(self._descriptor) is not False
        FolderLock._all.add(self)
        if not self.is_held:
            self.release()

    def is_current(self) -> bool:
        """Whether the name still refers to the folder that was locked."""
        return self._identity is not None and _identity(self.folder) == self._identity

    def release(self, *, undo: bool = False) -> None:
        """Unlock the folder; with ``undo``, remove it if the lock has created it, and if empty."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        if undo:
            with contextlib.suppress(OSError):
                for folder in self._created:  # the innermost first
                    folder.rmdir()


def _close_in_child() -> None:
    for lock in list(FolderLock._all):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lock(descriptor: int) -> bool | None:
    """Lock an open file or folder; False if another holds the lock, None if there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, and some network file systems
        return None
    return True


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
    from pathlib import Path

    return StorageError(
        f"{what} could not be written",
        place=os.fspath(path),
        received=_said(error),
        hint=_hint(Path(path), error),
    )


def unread(path: str | os.PathLike[str], error: Exception, what: str) -> StorageError:
    """The error for a file that could not be read."""
    from pathlib import Path

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


def _new_partial(target: Path, mode: int | None) -> tuple[Path, BinaryIO]:
    """A new, locked file beside the target, with no wider permissions than the target has."""
    permissions = 0o666 if mode is None else mode & 0o600
    while True:
        partial = target.with_name(f"{target.name[:100]}.{os.urandom(4).hex()}{PARTIAL}")
        file = open(  # noqa: SIM115 - the caller closes it
            partial, "xb", opener=lambda name, flags: os.open(name, flags, permissions)
        )
        if _lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return partial, file
        file.close()  # another program has taken it for a leftover


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
