"""Files: whole or not at all, whatever the disk does; each failure is named, with the way out."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule import Dense, files
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.training.history import History

PLACES = (files.make_folder, files.require_place_for_file, files.require_place_for_folder)


@pytest.fixture
def path(tmp_path):
    """A file in which something old stands."""
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"old")
    return target


def refused(path, match="the model could not be written", content=b"new"):
    """The error for a file that cannot be written."""
    with pytest.raises(StorageError, match=match) as caught:
        files.write(path, content, "the model")
    return caught.value


def untouched(path):
    return path.read_bytes() == b"old" and os.listdir(path.parent) == [path.name]


def test_a_file_is_written_and_read(path):
    files.write(path, b"new", "the model")
    assert files.read(path, "a model") == b"new"
    assert os.listdir(path.parent) == [path.name]


def test_a_disk_that_is_really_full_leaves_the_old_file(path, monkeypatch):
    """/dev/full takes what is written and has no room for it, as a full disk."""
    assert Path("/dev/full").exists()
    monkeypatch.setattr(files, "open", lambda *_, **how: io.FileIO("/dev/full", "w"), raising=False)
    error = refused(path, content=b"x" * 10**6)
    assert "No space left" in error.received and "free some space" in error.hint
    assert error.place == str(path)
    assert untouched(path)


FAILURES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "you cannot write to",
    errno.EPERM: "you cannot write to",
    errno.EIO: "has free space",
}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", FAILURES, ids=errno.errorcode.get)
def test_every_failure_of_the_system_is_named_and_leaves_the_old_file(
    code, step, path, monkeypatch
):
    def failing(*_, **how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, failing)
    error = refused(path)
    assert os.strerror(code) in error.received and FAILURES[code] in error.hint
    assert untouched(path)


@pytest.mark.parametrize("code", FAILURES, ids=errno.errorcode.get)
def test_a_folder_in_which_no_file_can_be_made_leaves_the_old_file(code, path, monkeypatch):
    def failing(*_, **how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "open", failing, raising=False)
    assert FAILURES[code] in refused(path).hint
    assert untouched(path)


def test_a_read_only_folder_is_reported(path):
    """For a user whom the system holds to it, also where the tests are run by root."""
    user = os.geteuid()
    modes = {part: stat.S_IMODE(part.stat().st_mode) for part in path.parents}
    closed = [part for part, mode in modes.items() if user == 0 and not mode & 0o001]
    try:
        for part in closed:
            part.chmod(modes[part] | 0o001)
        path.parent.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        error = refused(path)
    finally:
        os.seteuid(user)
        for part in {path.parent, *closed}:
            part.chmod(modes[part])
    assert "Permission denied" in error.received and "you cannot write to" in error.hint
    assert untouched(path)


def test_an_interruption_leaves_the_old_file(path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new", "the model")
    assert untouched(path)


def test_a_missing_folder_is_reported(tmp_path):
    error = refused(tmp_path / "missing" / "model")
    assert "FileNotFoundError" in error.received and "create it first" in error.hint
    assert os.listdir(tmp_path) == []


def test_a_folder_in_place_of_a_file_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "open", None, raising=False)
    error = refused(tmp_path)
    assert "IsADirectoryError" in error.received and "this is a folder" in error.hint


def test_a_file_in_place_of_a_folder_is_reported(path):
    assert "is a file, not a folder" in refused(path / "model").hint
    assert untouched(path)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_reported(name, path):
    assert refused(path.parent / name).received
    assert untouched(path)


@pytest.mark.parametrize("given", [None, 3, b"model"])
def test_what_is_no_path_is_a_named_error_of_all_that_take_one(given):
    model = Dense(2)
    model.build((3,), rng=0)
    history = History()
    for call in (
        *(chainrule.load, model.save, model.save_weights, model.load_weights),
        *(history.save, history.to_csv, History.load, History.from_csv),
        *(lambda path, f=f: f(path, "a run") for f in PLACES),
    ):
        with pytest.raises(ConfigurationError, match="not a path") as caught:
            call(given)
        error = caught.value
        assert (error.place, error.expected) == ("path", "a string or a pathlib.Path")
        assert type(given).__name__ in str(error.received)
        assert error.hint


def test_a_long_name_that_a_file_can_have_is_written(tmp_path):
    path = tmp_path / ("n" * 250)
    files.write(path, b"new", "the model")
    assert path.read_bytes() == b"new"


def test_a_device_or_a_pipe_is_never_replaced_and_never_read(tmp_path):
    """Renaming a file to /dev/null would take the device away, and /dev/zero never ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "device or a pipe" in refused(pipe).received
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]
    for endless in (pipe, "/dev/zero"):
        with pytest.raises(StorageError, match="could not be read") as caught:
            files.read(endless, "a model")
        assert "device or a pipe" in caught.value.received


def test_a_file_keeps_its_permissions(path):
    path.chmod(0o600)
    files.write(path, b"new", "the model")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, received in (
        ("missing", "No such file"),
        (tmp_path, "Is a directory"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(StorageError) as caught:
            files.read(place, "a model")
        assert received in caught.value.received and caught.value.place == str(place)
    with pytest.raises(StorageError, match="no file to read a model from") as caught:
        files.read("missing", "a model")
    assert str(tmp_path) in caught.value.hint


def test_a_folder_is_created_with_its_parents_or_the_reason_is_reported(path):
    made = path.parent / "one" / "two"
    assert files.make_folder(made, "the folder").is_dir()
    with pytest.raises(StorageError, match="the folder could not be written"):
        files.make_folder(path, "the folder")
    assert path.read_bytes() == b"old"


# ------------------------------------------------------------------------------- partial files

WRITES_FOREVER = """
import sys, os
from chainrule import files
fsync = os.fsync
def waits(descriptor):
    os.write(1, b"writing\\n")
    sys.stdin.read()
os.fsync = waits
files.write(sys.argv[1], b"half", "the model")
"""


def partials(path):
    return [name for name in os.listdir(path.parent) if name.endswith(files.PARTIAL)]


def test_what_a_killed_program_left_is_removed_and_what_a_living_one_writes_is_not(path):
    command = [sys.executable, "-c", WRITES_FOREVER, str(path)]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for writer in writers:
            writer.stdout.readline()
        assert len(partials(path)) == 2
        files.write(path, b"new", "the model")
        assert len(partials(path)) == 2
        writers[0].kill()
        writers[0].wait()
        files.write(path, b"newer", "the model")
        assert len(partials(path)) == 1 and path.read_bytes() == b"newer"
        writers[1].communicate(timeout=20)
        assert path.read_bytes() == b"half" and not partials(path)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()
            writer.stdin.close()


def test_the_files_of_a_user_are_not_taken_for_leftovers(path):
    names = [
        "model.safetensors.partial",
        "model.safetensors.mine.partial",
        "other.1234abcd.partial",
    ]
    for name in names:
        (path.parent / name).write_text("mine")
    files.write(path, b"new", "the model")
    assert sorted(partials(path)) == sorted(names)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o644])
def test_a_partial_file_never_has_wider_permissions_than_the_file(path, mode, monkeypatch):
    os.chmod(path, mode)
    seen = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)

        def looks(*given, real=real):
            seen.extend((path.parent / name).stat().st_mode & 0o777 for name in partials(path))
            return real(*given)

        monkeypatch.setattr(os, step, looks)
    opened = os.open

    def opens(name, flags, mode=0o777):
        descriptor = opened(name, flags, mode)
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    monkeypatch.setattr(os, "open", opens)
    files.write(path, b"new", "the model")
    monkeypatch.undo()
    assert seen[:-1] and not any(each & ~mode for each in seen[:-1])  # the last is the folder
    assert path.stat().st_mode & 0o777 == mode
