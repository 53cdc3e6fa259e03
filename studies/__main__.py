"""Run studies and compare their results with what is stored: see `studies`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def names() -> list[str]:
    """The names of all studies."""
    return sorted(m.name for m in pkgutil.iter_modules([str(HERE)]) if not m.name.startswith("_"))


def stored(name: str) -> Any:
    """The stored result of a study."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def differences(new: Any, old: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """Yield a line for each entry in which two results differ by more than the tolerance."""
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        for key in new:
            yield from differences(new[key], old[key], tolerance, f"{place}.{key}".lstrip("."))
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for n, (one, other) in enumerate(zip(new, old, strict=True)):
            yield from differences(one, other, tolerance, f"{place}[{n}]")
    elif isinstance(new, int | float) and isinstance(old, int | float):
        if not np.isclose(new, old, rtol=tolerance, atol=0, equal_nan=True):
            yield f"{place}: {new:.6g}, stored {old:.6g}"
    elif new != old:
        yield f"{place}: {new!r:.60}, stored {old!r:.60}"


def main() -> int:
    """Run the studies that the command line names; 1 if one differs from what is stored."""
    parser = argparse.ArgumentParser(prog="studies", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; all if none")
    parser.add_argument("--accept", action="store_true", help="store the results")
    given = parser.parse_args()
    different = 0
    for name in given.names or names():
        module = importlib.import_module(f"studies.{name}")
        start = perf_counter()
        result = json.loads(json.dumps(module.run()))
        print(f"{name}: {perf_counter() - start:.0f} s", flush=True)
        if given.accept:
            text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
            (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
            continue
        lines = list(differences(result, stored(name), module.TOLERANCE))
        different += bool(lines)
        print("\n".join(f"  {line}" for line in lines) or "  as stored")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
