"""The command: `python -m fuzz`, or `make fuzz`.

    python -m fuzz                     ten minutes with atheris
    python -m fuzz --seconds 60        one minute
    python -m fuzz --without-atheris   ten minutes of random changes, if atheris does not run
    python -m fuzz --again FILE        repeat a file that atheris has saved

Atheris mutates bytes so that new lines of code run. The bytes determine which file is changed and
how (`fuzz.model_files`), or are the file itself. It stops at the first file that is neither read
completely nor rejected with a StorageError, and saves it as ``crash-…``; the exit code is then not
0. A file that takes more than five seconds or two gigabytes counts as a failure, too.
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
    """Test changed files for some time; raise the error of the first one that fails."""
    from fuzz import model_files

    rng = random.Random(seed)
    attempt, end = _attempts(model_files)[0], time.monotonic() + seconds
    count = read = 0
    while time.monotonic() < end:
        state = rng.getstate()
        try:
            read += attempt(rng.randrange)
        except Exception:
            print(f"attempt {count:,} of --seed {seed}; hash of the generator state: {hash(state)}")
            raise
        count += 1
    print(f"{count:,} changed files: {read:,} were read, the others rejected with a named error.")
    return 0


def with_atheris(options: argparse.Namespace) -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed; use make fuzz, or python -m fuzz --without-atheris")
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
    atheris.Fuzz()  # this ends the program
    return 0


def _attempts(model_files: Any) -> tuple[Callable[[Any], bool], Callable[[bytes], bool]]:
    """Return the tests for changes by picks, and for the bytes of a file."""
    models, files = model_files.models(), model_files.files()

    def by_picks(pick: Any) -> bool:
        number = pick(len(files))
        content = model_files.CHANGES[pick(len(model_files.CHANGES))](files[number], pick)
        is_weights = model_files.judge_weights(models[number], content)
        return bool(model_files.judge(content) or is_weights)

    return by_picks, model_files.judge


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="duration (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    parser.add_argument("--without-atheris", action="store_true", help="random changes only")
    parser.add_argument("--again", type=Path, help="a file that atheris has saved")
    options = parser.parse_args(arguments)
    if options.again is not None:
        options.again = str(options.again)
    return options


if __name__ == "__main__":
    sys.exit(main())
