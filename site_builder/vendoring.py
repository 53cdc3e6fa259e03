"""KaTeX and Mermaid out of their npm packages, so that the site serves them itself.

`vendored.json` names a version of each, the hash of its package and the files that are wanted.
`npm pack` fetches a package by its name, from wherever npm is set up to look. It is kept in
`build/packages/`, and its hash is checked whenever something is taken out of it: where it is the
right one, no build needs npm or a network again.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PINS = Path(__file__).with_name("vendored.json")


class VendoringError(Exception):
    """A package could not be had, or is not the one that was pinned."""


def vendored_files(packages: Path) -> dict[str, bytes]:
    """The wanted files of all packages, by their path such as `katex/dist/katex.min.js`.

    Parameters
    ----------
    packages
        The folder in which packages are kept.

    Raises
    ------
    VendoringError
        A package could not be fetched, its hash is another, or a wanted file is not in it.
    """
    found: dict[str, bytes] = {}
    for name, pin in json.loads(PINS.read_text(encoding="utf-8")).items():
        package = packages / f"{name}-{pin['version']}.tgz"
        if not package.is_file():
            _fetch(name, pin["version"], package)
        _check(package, pin["integrity"])
        found |= _wanted(package, name, pin)
    return found


def _fetch(name: str, version: str, package: Path) -> None:
    by_hand = f"npm pack {name}@{version} --pack-destination {package.parent}"
    npm = shutil.which("npm")
    if npm is None:
        raise VendoringError(
            f"the site needs {name} {version} from its npm package, and there is no npm here; "
            f"install Node.js with npm, or run this where there is one and copy the file: {by_hand}"
        )
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        command = [npm, "pack", f"{name}@{version}", "--pack-destination", folder, "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(packed) != 1:
            raise VendoringError(f"npm could not fetch {name} {version}:\n{done.stderr.strip()}")
        packed[0].replace(package)


def _check(package: Path, integrity: str) -> None:
    kind, _, wanted = integrity.partition("-")
    found = base64.b64encode(hashlib.new(kind, package.read_bytes()).digest()).decode()
    if found != wanted:
        package.unlink()
        raise VendoringError(
            f"{package.name} is not the package that {PINS.name} pins, and was removed\n"
            f"expected  {kind}-{wanted}\nreceived  {kind}-{found}"
        )


def _wanted(package: Path, name: str, pin: dict[str, Any]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(package) as archive:
        members = {
            member.name.removeprefix("package/"): member
            for member in archive.getmembers()
            if member.isfile()
        }
        for pattern in pin["files"]:
            matches = fnmatch.filter(members, pattern)
            if not matches:
                raise VendoringError(f"there is no {pattern} in {package.name}")
            for path in matches:
                file = archive.extractfile(members[path])
                assert file is not None
                found[f"{name}/{path}"] = file.read()
    return found
