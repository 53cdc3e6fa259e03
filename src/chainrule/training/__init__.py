"""Training: a model, a loss and an optimizer, brought together step by step.

Read in this order:

    trainer           `Trainer`: fit, step, evaluate
    run               one call of `fit`: epochs, steps, callbacks
    guard             one training step that refuses numbers that are not finite
    history           what `fit` returns; its figures are drawn in `curves`
    history_columns   which columns it has
    metrics           what is measured besides the loss

What a run needs along the way:

    arguments         what `Trainer` and `fit` accept, and the errors for everything else
    run_state         what a checkpoint holds of a run, and how the run resumes from it
    nonfinite_origin  the layer in which a NaN or an infinity began
    delta_watch       the warning for deltas that vanish or explode
    bad_batch         the file with the batch that spoiled a run
    progress          the line in the terminal
    interruption      Ctrl-C
    range_test        which learning rates a training can use

Losses, optimizers, data, checkpoints, callbacks and schedules are packages of their own above this
one, and know nothing of it but the type `Trainer`. A new metric is a function in `metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_MOVED = {
    name: f"chainrule.{name}"
    for name in ("callbacks", "checkpoints", "data", "losses", "optimizers", "schedules")
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        from chainrule.core.deprecation import moved

        return moved(__name__, name, _MOVED, removed_in="0.3")
