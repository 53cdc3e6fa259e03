"""Training: a model, a loss and an optimizer, combined in one training step.

Read in this order:

    trainer           `Trainer`: fit, step, evaluate
    run               one call of `fit`: epochs, steps, callbacks
    guard             one training step that refuses numbers that are not finite
    history           what `fit` returns; `curves` draws it
    history_columns   which columns the history has
    metrics           what is measured besides the loss, by name
    metric            the base class: sums over the samples, and the number that they give
    class_metrics     accuracy, precision, recall, F1, top-k, the confusion matrix
    number_metrics    R² and the root mean squared error

What a run needs along the way:

    arguments         what `Trainer` and `fit` accept, and the errors for everything else
    ranks             several processes that train one model
    batch_sums        what a step adds to the figures of an epoch, also on several ranks
    decisions         what the callbacks change, on all ranks
    exclusive         one run at a time for a model
    run_state         what a checkpoint stores of a run, and how the run resumes from it
    nonfinite_origin  the layer that produced the first NaN or infinity
    delta_watch       the warnings for vanishing and exploding deltas
    bad_batch         the file with the batch that made a run fail
    progress          the progress line: terminal_line, notebook_line
    interruption      Ctrl-C
    range_test        which learning rates are usable

Losses, optimizers, data, checkpoints, callbacks and schedules are separate packages above this
one; all they know of it is the type `Trainer`. A new metric is a subclass of `Metric` in
`class_metrics` or `number_metrics`, and a name in `metrics`.
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
