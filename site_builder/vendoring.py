"""Extracts KaTeX and Mermaid from their npm packages, so that the site serves them itself.

`vendored.json` gives the version of each, the hash of its package and the required files. `npm
pack` downloads a package from the registry for which npm is configured. The package is kept in
`build/packages/`, and its hash is checked before each use. So only the first build needs npm and a
network.
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
    """A package could not be obtained, or is not the pinned one."""


def vendored_files(packages: Path, pins: Path | None = None) -> dict[str, bytes]:
    """The required files of all packages, by their path such as `katex/dist/katex.min.js`.

    Parameters
    ----------
    packages
        The folder that holds the packages.
    pins
        The file with their versions, hashes and files; default: those of the site.

    Raises
    ------
    VendoringError
        A package could not be downloaded, its hash differs, or it lacks a required file.
    """
    pins = pins or PINS
    found: dict[str, bytes] = {}
    for name, pin in json.loads(pins.read_text(encoding="utf-8")).items():
        package = packages / f"{name}-{pin['version']}.tgz"
        if not package.is_file():
            _fetch(name, pin["version"], package)
        _check(package, pin["integrity"], pins)
        found |= _wanted(package, name, pin)
    return found


def _fetch(name: str, version: str, package: Path) -> None:
    by_hand = f"npm pack {name}@{version} --pack-destination {package.parent}"
    npm = shutil.which("npm")
    if npm is None:
        raise VendoringError(
            f"the site needs {name} {version} from its npm package, but npm was not found; "
            f"install Node.js with npm, or copy the file from a machine with npm: {by_hand}"
        )
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        command = [npm, "pack", f"{name}@{version}", "--pack-destination", folder, "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(packed) != 1:
            raise VendoringError(f"npm could not download {name} {version}:\n{done.stderr.strip()}")
        packed[0].replace(package)


def _check(package: Path, integrity: str, pins: Path) -> None:
    kind, _, wanted = integrity.partition("-")
    found = base64.b64encode(hashlib.new(kind, package.read_bytes()).digest()).decode()
    if found != wanted:
        package.unlink()
        raise VendoringError(
            f"{package.name} does not have the hash in {pins.name}, and was removed\n"
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
                raise VendoringError(f"{package.name} contains no {pattern}")
            for path in matches:
                file = archive.extractfile(members[path])
                assert file is not None
                found[f"{name}/{path}"] = file.read()
    return found
