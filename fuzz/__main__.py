"""The command: `python -m fuzz`, or `make fuzz`.

    python -m fuzz                     ten minutes with atheris
    python -m fuzz --seconds 60        less
    python -m fuzz --without-atheris   ten minutes of random changes, where atheris does not run
    python -m fuzz --again FILE        one file that atheris has kept, once more

Atheris changes its bytes so that lines run which have not run before. The bytes say which file is
changed and how (`fuzz.model_files`), or are themselves the file. It stops at the first one that is
neither read as a whole nor refused with a StorageError, and keeps it as ``crash-…``; the exit code
is then not 0. A file that takes more than five seconds, or two gigabytes, counts as such too.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.without_atheris:
        return change_at_random(options.seconds, options.seed)
    return with_atheris(options)


def change_at_random(seconds: float, seed: int) -> int:
    """Judge changed files for some time; what must not be is raised."""
    from fuzz import model_files

    rng = random.Random(seed)
    attempt, end = _attempts(model_files)[0], time.monotonic() + seconds
    count = read = 0
    while time.monotonic() < end:
        state = rng.getstate()
        try:
            read += attempt(rng.randrange)
        except Exception:
            print(f"attempt {count:,} of --seed {seed}; the generator stood at {hash(state)}")
            raise
        count += 1
    print(f"{count:,} changed files: {read:,} were read as a whole, the others refused by name.")
    return 0


def with_atheris(options: argparse.Namespace) -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: make fuzz, or python -m fuzz --without-atheris")
        return 2
    with atheris.instrument_imports(include=["chainrule.storage", "chainrule.core", "safetensors"]):
        from fuzz import model_files
    by_picks, by_bytes = _attempts(model_files)

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        if provider.ConsumeIntInRange(0, 3):
            by_picks(lambda n: provider.ConsumeIntInRange(0, n - 1))
        else:
            by_bytes(provider.ConsumeBytes(len(data)))

    libfuzzer = [
        "fuzz", "-timeout=5", "-rss_limit_mb=2048", "-max_len=8192", "-len_control=0",
        "-print_final_stats=1",
        *([options.again] if options.again else [f"-max_total_time={options.seconds:.0f}"]),
        *([f"-seed={options.seed}"] if options.seed else []),
    ]  # fmt: skip
    atheris.Setup(libfuzzer, one)
    atheris.Fuzz()  # which ends the program
    return 0


def _attempts(model_files: Any) -> tuple[Callable[[Any], bool], Callable[[bytes], bool]]:
    """What is done with picks, and with the bytes of a file."""
    models, files = model_files.models(), model_files.files()

    def by_picks(pick: Any) -> bool:
        number = pick(len(files))
        content = model_files.CHANGES[pick(len(model_files.CHANGES))](files[number], pick)
        is_weights = model_files.judge_weights(models[number], content)
        return bool(model_files.judge(content) or is_weights)

    return by_picks, model_files.judge


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long (600)")
    parser.add_argument("--seed", type=int, default=0, help="where the random numbers begin")
    parser.add_argument("--without-atheris", action="store_true", help="random changes alone")
    parser.add_argument("--again", type=Path, help="one file that atheris has kept")
    options = parser.parse_args(arguments)
    if options.again is not None:
        options.again = str(options.again)
    return options


if __name__ == "__main__":
    sys.exit(main())
