"""The demonstration: a network of layers is checked, then learns to read handwritten digits.

    chainrule --epochs 30 --seed 0 --layers 128,64 --output chainrule-demo
    python -m chainrule --version

The network maps the 64 pixels of an image to ten numbers z_k; p_k = exp(z_k) / Σ_l exp(z_l) is
the probability that the image shows the digit k. Training minimises

    C = −⟨ln p_t⟩,      t the digit that the image shows,

over most of the training digits. The others, the validation digits, are only evaluated after every
epoch. No choice depends on the test digits: they are used once, at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if __name__ == "__main__":
    # Matrices this small are multiplied faster in one thread than in several, and much faster if
    # other programs are running. NumPy reads these variables when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VECLIB_MAXIMUM_THREADS", "1")

import numpy as np
from attrs import define

import chainrule
from chainrule import Activation, Dense, Sequential, Softmax, files
from chainrule.core.errors import ChainruleError, StorageError
from chainrule.core.terminal import ERRORS

if TYPE_CHECKING:
    from chainrule.datasets import Digits
    from chainrule.training.history import History

# Chosen by sixfold cross-validation on the training digits.
LAYERS, EPOCHS, LEARNING_RATE, BATCH_SIZE = (128, 64), 30, 3e-3, 32
VALIDATION = 144  # of the training digits: a tenth
LARGEST, DEEPEST = 5_000_000, 20  # parameters, layers: more would take too long
EXACT = 1e-12  # the tolerance between two computations of the same gradient


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration and return the exit code: 0, 1, 2 (options), or 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)  # an encoding without Δ shows "delta"
    options = _parser().parse_args(arguments)
    try:
        return _demonstrate(options)
    except KeyboardInterrupt:
        print("\nchainrule: stopped", file=sys.stderr)
        return 130
    except _FolderError as error:
        print(f"chainrule: {error}", file=sys.stderr)
        return 2
    except ChainruleError as error:
        print(f"chainrule: {error}", file=sys.stderr)
        return 1


def _demonstrate(options: argparse.Namespace) -> int:
    folder = _Folder(options.output)
    folder.check()
    show = _Screen()
    splitting, building, training = np.random.default_rng(options.seed).spawn(3)

    show.title()
    digits = chainrule.datasets.digits()
    order = splitting.permutation(len(digits.t_train))
    learned, watched = order[VALIDATION:], order[:VALIDATION]
    show.data(digits, len(learned))

    model = _network(options.layers, "tanh")
    model.build((64,), rng=building)
    show.network(model)

    show.check(model, digits)

    from chainrule import Trainer, losses, optimizers

    trainer = Trainer(
        model,
        losses.SoftmaxCrossEntropy(),
        optimizers.Adam(LEARNING_RATE),
        rng=training,
        metrics=["accuracy"],
    )
    show.heading("Training", f"with Adam, learning rate {LEARNING_RATE}, batches of {BATCH_SIZE}")
    began = time.perf_counter()
    history = trainer.fit(
        digits.x_train[learned],
        digits.t_train[learned],
        epochs=options.epochs,
        batch_size=BATCH_SIZE,
        validation_data=(digits.x_train[watched], digits.t_train[watched]),
        progress=show.console,
    )
    show.training(history, time.perf_counter() - began)

    probabilities = Softmax()(model(digits.x_test))
    show.test(digits.t_test, probabilities)
    show.files(folder, *folder.write(model, history, digits, probabilities))
    return 0


def _network(layers: Sequence[int], activation: str, last: str | None = None) -> Sequential:
    hidden = [layer for units in layers for layer in (Dense(units), Activation(activation))]
    return Sequential([*hidden, Dense(10), *([Activation(last)] if last else [])])


def difference_to_the_lecture(
    layers: Sequence[int], x: Any, t: Any, rng: np.random.Generator | int
) -> float:
    """The largest relative difference between the gradients of layers and of the lecture's code.

    Both compute ∂C/∂w and ∂C/∂b of a sigmoid network [64, …, 10] with the lecture's cost. The
    result is the largest max|a − b| / max|b| over all these arrays.
    """
    from chainrule import derivatives, lecture, losses

    model = _network(layers, "sigmoid", last="sigmoid")
    model.build(x.shape[1:], rng=rng)
    targets = np.eye(10)[t]
    _, ours = derivatives.value_and_gradient(model, losses.HalfSquaredError(), x, targets)

    weights = [p.value for p in model.parameters if p.path.endswith("weights")]
    biases = [p.value for p in model.parameters if p.path.endswith("biases")]
    y_layer, df_layer = lecture.apply_net(x, weights, biases)
    dw_layer, db_layer = lecture.backprop(targets, y_layer, df_layer, weights)

    largest, start = 0.0, 0
    for theirs in (array for pair in zip(dw_layer, db_layer, strict=True) for array in pair):
        piece = ours[start : start + theirs.size].reshape(theirs.shape)
        largest = max(largest, float(np.abs(piece - theirs).max() / np.abs(theirs).max()))
        start += theirs.size
    return largest


# ------------------------------------------------------------------------------- the options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"chainrule: {message.removeprefix('argument ')} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="chainrule",
        description="Check a network of layers, then train it to read handwritten digits.",
        epilog="Writes the model, the history and a figure of the results to a folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"chainrule {chainrule.__version__}",
        help="print the version and exit",
    )
    parser.add_argument(
        "--epochs",
        type=_epochs,
        default=EPOCHS,
        metavar="N",
        help="the number of passes through the training digits (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="the seed of all random numbers; the same seed repeats a run (default: %(default)s)",
    )
    parser.add_argument(
        "--layers",
        type=_layers,
        default=LAYERS,
        metavar="N,N,...",
        help="the widths of the hidden layers between 64 pixels and 10 digits "
        f"(default: {','.join(map(str, LAYERS))})",
    )
    parser.add_argument(
        "--output",
        type=_output,
        default=Path("chainrule-demo"),
        metavar="FOLDER",
        help="the folder for the files, created if necessary (default: %(default)s)",
    )
    return parser


def _epochs(text: str) -> int:
    return _whole(text, least=1)


def _seed(text: str) -> int:
    return _whole(text, least=0)


def _layers(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(_whole(part, least=1) for part in text.split(","))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write the widths like 64,32") from None
    sizes = (64, *widths, 10)
    parameters = sum((n + 1) * m for n, m in pairwise(sizes))
    if parameters > LARGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} gives {parameters:,} parameters; the demonstration allows up to {LARGEST:,}"
        )
    if len(widths) > DEEPEST:
        raise argparse.ArgumentTypeError(
            f"these are {len(widths)} layers; the demonstration allows up to {DEEPEST}"
        )
    return widths


def _whole(text: str, least: int) -> int:
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) <= 18 and int(digits) >= least:
        return int(digits)
    raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {least}")


def _output(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of a folder is missing")
    return files.expanded(text)


# ------------------------------------------------------------------------------- the files


class _FolderError(Exception):
    """The folder for the files cannot be used; the message is one line that says why."""


@define
class _Folder:
    """The folder for the files: writes all of them or none."""

    path: Path

    def check(self) -> None:
        """Check that the folder can be written to, before any computation; leaves no files."""
        try:
            there = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
            with tempfile.TemporaryFile(dir=there):
                pass
            taken = [name for name in NAMES if (self.path / name).is_dir()]
        except OSError as error:
            raise self._useless(error.strerror or str(error)) from error
        if taken:
            raise self._useless(f"it contains a folder named {taken[0]}")

    def write(
        self, model: Any, history: History, digits: Digits, probabilities: Any
    ) -> tuple[list[str], str | None]:
        """Write the files; return their names, and the reason if there is no figure."""
        model_name, history_name, figure_name = NAMES
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        why_no_figure = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path, prefix=".unfinished-") as unfinished:
                made = Path(unfinished)
                model.save(made / model_name)
                history.save(made / history_name)
                try:
                    _draw(made / figure_name, history, digits, probabilities)
                except ImportError:
                    why_no_figure = "matplotlib is not installed: pip install 'chainrule[plot]'"
                names = [name for name in NAMES if (made / name).exists()]
                for name in names:
                    os.replace(made / name, self.path / name)
        except BaseException as error:
            with contextlib.suppress(OSError):  # stop at one that does not exist or is not empty
                for folder in new:
                    folder.rmdir()
            if not isinstance(error, OSError | StorageError):
                raise
            reason = error.strerror if isinstance(error, OSError) else error.received
            raise self._useless(str(reason or error)) from error
        return names, why_no_figure

    def _useless(self, why: str) -> _FolderError:
        return _FolderError(f"--output {str(self.path)!r} cannot be written to: {why}")


NAMES = {
    "net.safetensors": "the network; read it with chainrule.load",
    "history.json": "cost and accuracy of every epoch",
    "results.png": "training curves, digits with predictions, the worst errors",
}


def _draw(path: Path, history: History, digits: Digits, probabilities: Any) -> None:
    from chainrule.display.plots import plot_results

    plot_results(history, digits.x_test, digits.t_test, probabilities).savefig(path, dpi=150)


# ------------------------------------------------------------------------------- the screen


class _Screen:
    """The printed output. In a file or a pipe it has no colours and no progress animation."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)

    def title(self) -> None:
        from rich.text import Text

        name = f"chainrule {chainrule.__version__}"
        self.console.print(Text.assemble((name, "bold"), "  a network of layers learns to read"))

    def data(self, digits: Digits, learned: int) -> None:
        total = len(digits.t_train) + len(digits.t_test)
        self.heading("Data", "UCI Optical Recognition of Handwritten Digits, CC BY 4.0")
        self._print(f"{total:,} digits written by 13 people, as images of 8 × 8 pixels")
        self._print(
            f"{learned:,} for training, {VALIDATION} for validation, "
            f"{len(digits.t_test)} for the test at the end"
        )
        if (self.console.encoding or "").lower().startswith("utf"):
            self._print("\n" + "\n".join(_pictures(digits)))

    def network(self, model: Sequential) -> None:
        self.heading("Network", "values flow down, deltas Δ = ∂C/∂(output) flow back up")
        self._indented(chainrule.summary(model))

    def check(self, model: Sequential, digits: Digits) -> None:
        from rich.table import Table

        self.heading("Check", "with the largest relative error for each law")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for style in ("green", "", "dim"):
            table.add_column(style=style, overflow="fold")
        widths = [layer.units for layer in model if isinstance(layer, Dense)]
        distance = difference_to_the_lecture(
            widths[:-1], digits.x_train[:BATCH_SIZE], digits.t_train[:BATCH_SIZE], rng=0
        )
        if not distance <= EXACT:
            raise ChainruleError(
                "the gradients of the layers differ from those of the lecture",
                expected=f"a relative difference of at most {EXACT:.0e}",
                received=f"{distance:.1e}",
            )
        said = "every ∂C/∂w and ∂C/∂b, compared with the lecture's code"
        table.add_row("✓ lecture", _figure([distance]), said)
        different = {(repr(part), part.input_shape): part for part in (model, *model)}
        reports = [chainrule.check_layer(part, part.input_shape) for part in different.values()]
        for results in zip(*reports, strict=True):
            figures = [r.figure for r in results if r.figure is not None]
            table.add_row(f"✓ {results[0].name}", _figure(figures), _short(results[0].statement))
        self._indented(table)
        self._print(("All ten laws hold for the whole network and for each of its layers.", "dim"))

    def training(self, history: History, seconds: float) -> None:
        epochs, first, last = len(history["loss"]), history["loss"][0], history["loss"][-1]
        count = f"{epochs:,} epoch{'s' if epochs > 1 else ''}"
        self._print(f"{count} in {seconds:.1f} s, cost {first:#.3g} → {last:#.3g}")
        self._print(
            f"correct: {_percent(history['accuracy'][-1])} of the training digits, "
            f"{_percent(history['validation_accuracy'][-1])} of the validation digits"
        )

    def test(self, labels: Any, probabilities: Any) -> None:
        from chainrule.display.plots import percentage, worst_confusions

        wrong = worst_confusions(labels, probabilities)
        right = len(labels) - len(wrong)
        self.heading("Test", f"on {len(labels)} digits that were not used for training")
        self._print(
            (_percent(right / len(labels)), "bold green"), f"  {right:,} of {len(labels):,} correct"
        )
        worst = [f"{c.label} read as {c.said} ({percentage(c.certainty)})" for c in wrong[:3]]
        if worst:
            self._print(f"worst: {'; '.join(worst)}")

    def files(self, folder: _Folder, names: list[str], why_no_figure: str | None) -> None:
        self.heading("Files", f"in {folder.path}{os.sep}")
        for name in names:
            self._print(f"{name:<{max(map(len, NAMES))}}  ", (NAMES[name], "dim"))
        if why_no_figure:
            self._print(f"no figure: {why_no_figure}")

    def heading(self, text: str, remark: str) -> None:
        from rich.text import Text

        # Do not wrap the line, so that a folder's name can be copied.
        self.console.print(
            Text.assemble("\n", (text, "bold"), "  ", (remark, "dim")), soft_wrap=True
        )

    def _print(self, *parts: str | tuple[str, str]) -> None:
        from rich.text import Text

        self._indented(Text.assemble(*parts))

    def _indented(self, what: Any) -> None:
        from rich.padding import Padding

        self.console.print(Padding.indent(what, 2))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figure(errors: Sequence[float]) -> str:
    return f"{max(errors):.0e}" if errors and max(errors) else "0" if errors else ""


def _short(statement: str) -> str:
    """A law's statement without its details."""
    return statement.split(";")[0].split(", and")[0].rstrip(".").replace("`", "")


def _pictures(digits: Digits) -> list[str]:
    """The most typical image of each digit, side by side; one character shows two pixels."""
    chosen = []
    for digit in range(10):
        images = digits.x_train[digits.t_train == digit]
        ordinary = np.square(images - images.mean(axis=0)).sum(axis=1).argmin()
        chosen.append(images[ordinary].reshape(8, 8)[:, 1:7] > 0.45)
    black = np.concatenate([np.pad(image, ((0, 0), (0, 2))) for image in chosen], axis=1)
    upper, lower = black[::2].astype(int), black[1::2].astype(int)
    return ["".join(" ▀▄█"[n] for n in row).rstrip() for row in upper + 2 * lower]


if __name__ == "__main__":
    sys.exit(main())
