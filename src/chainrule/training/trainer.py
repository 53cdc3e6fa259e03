"""The trainer: combines a model, a loss and an optimizer, and repeats one step.

The loop of the lecture, for each epoch and each batch (x, t) in it:

    y = F_θ(x),    C = loss(y, t),    θ ← θ − η ∂C/∂θ

    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(1e-3), rng=0)
    history = trainer.fit(x, t, epochs=20, batch_size=32, validation_data=(x_val, t_val))

All randomness comes from one generator, created from ``rng``, in this order: if the model is not
built yet, a generator is spawned to build it; then each epoch draws one permutation to shuffle the
samples, or ``make_batch`` receives the generator for each batch. So the same ``rng`` and the same
calls give the same numbers, bit for bit.

A model with several outputs has a loss for each, and training minimises Σ_i λ_i C_i:

    trainer = Trainer(model, [loss_1, loss_2], optimizer, loss_weights=[1.0, 0.5])
    history = trainer.fit(x, (t_1, t_2), validation_data=(x_val, (t_1_val, t_2_val)))
"""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
from attrs import define, evolve, field, fields, setters

from chainrule import files
from chainrule.callbacks import Callback
from chainrule.core.arrays import read_only, refuse_write
from chainrule.core.building import build_for_stored_values
from chainrule.core.deprecation import renamed_keywords
from chainrule.core.errors import ConfigurationError, NonFiniteError, ShapeError, shortened
from chainrule.core.hints import Hinted, hinted
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import bookmark, copied_generator
from chainrule.core.messages import label, require_built
from chainrule.core.ownership import Builder
from chainrule.core.types import Array, Shape
from chainrule.data.samples import Data, each_array, of_output, one_or_all
from chainrule.data.sources import has_shape
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from chainrule.training import arguments
from chainrule.training.bad_batch import WHAT as BAD_BATCH
from chainrule.training.batch_sums import BatchSums, shares_of_labels
from chainrule.training.exclusive import Reservation, already_training
from chainrule.training.guard import GuardedStep, quiet
from chainrule.training.history import History
from chainrule.training.history_columns import Columns
from chainrule.training.metric import require_no_negative
from chainrule.training.metrics import MetricLike, MetricsByName, by_output, named, names_in
from chainrule.training.ranks import Ranks, as_ranks

if TYPE_CHECKING:
    from pathlib import Path

    from chainrule.data.batches import Batch, Batches
    from chainrule.training.run import Run
    from chainrule.training.run_state import Resumption

APPLIED_AT_ONCE = 1000
"""How many samples are evaluated together."""


def _not_in_a_run(trainer: Trainer, attribute: Any, given: Any) -> Any:
    """Raise an error for an assignment during a run, which would only half take effect."""
    if trainer.run is not None and trainer.run.is_going:
        raise ConfigurationError(
            f"{attribute.name} of a trainer cannot be replaced during a run",
            place="Trainer",
            expected=f"the {attribute.name} with which fit was called",
            received=f"{given!r:.80}",
            hint=f"end the run with trainer.stop(…), set trainer.{attribute.name}, and call fit"
            " again" + _CHANGED_INSTEAD.get(attribute.name, ""),
        )
    return given


_CHANGED_INSTEAD = {
    "optimizer": "; or change its fields: trainer.optimizer.learning_rate = …",
    "loss": "; or change its fields",
    "model": "; or change its parameters: trainer.model.parameters[path].value = …",
}

_FIXED: list[Callable[[Any, Any, Any], Any]] = [_not_in_a_run, setters.convert, setters.validate]


def _not_alone(trainer: Trainer, attribute: Any, given: Any) -> Any:
    raise ConfigurationError(
        "loss_weights of a trainer cannot be replaced: they are part of its loss",
        place="Trainer",
        expected="a new loss, before fit",
        received=f"loss_weights={given!r:.80}",
        hint="trainer.loss = losses.PerOutput([…], weights=[…])",
    )


def _by_name(trainer: Trainer, attribute: Any, given: Any) -> Mapping[Any, Any]:
    """The metrics by the names of their columns, for the losses of the trainer."""
    outputs = len(trainer.loss.for_each_output)
    if outputs == 1:
        return MetricsByName(named(given, trainer.loss))
    each = by_output(given, outputs)
    return MetricsByName({output: MetricsByName(own) for output, own in each.items()})


@define(eq=False)
class Trainer(Hinted):
    """Trains a model: an optimizer moves its parameters to make a loss small.

    Parameters
    ----------
    model
        Any layer. If it is not built yet, `fit` builds it for the data.
    loss
        One of `chainrule.losses`; for a model with several outputs a list with one loss per output,
        which becomes a `losses.PerOutput`.
    optimizer
        One of `chainrule.optimizers`. Its state persists from one `fit` to the next.
    metrics
        What else to measure: a list of names (``"accuracy"``, ``"f1"``, ``"r2"``, …), of metrics
        with options, of losses, or of functions ``(y, t) -> number``: see
        `chainrule.training.metrics`. For several outputs a dictionary from an output's name, or its
        number from 0, to such a list; or a list with one such list per output.
    loss_weights
        λ_i of C = Σ_i λ_i C_i, for a list of losses; all 1 if not given.
    rng
        A seed, or the generator for all randomness; unpredictable if not given.
    ranks
        A communicator of mpi4py, such as ``MPI.COMM_WORLD``, if several processes train the model
        together. All of them call the same methods with the same arguments; `fit` and `step` divide
        each batch among them, by rows. See *Several machines* in the documentation.

    Attributes
    ----------
    run : Run or None
        The current or last call of `fit`: its position, and why it ended.

    Raises
    ------
    DefinitionError
        The model is not a layer.
    ConfigurationError
        Another argument is invalid.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = Sequential([Dense(1)])
    >>> trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.3), rng=0)
    >>> history = trainer.fit(x, 2 * x + 1, epochs=200, batch_size=4)
    >>> model(np.array([[10.0]])).round(3)
    array([[21.]])
    """

    model: Layer = field(validator=arguments.require_model, on_setattr=_FIXED)
    loss: Loss = field(converter=arguments.as_loss, on_setattr=_FIXED)
    optimizer: Optimizer = field(validator=arguments.require_optimizer, on_setattr=_FIXED)
    metrics: (
        Iterable[MetricLike | Iterable[MetricLike]] | Mapping[int | str, Iterable[MetricLike]]
    ) = field(default=(), kw_only=True, repr=names_in, on_setattr=[_not_in_a_run, _by_name])
    loss_weights: Any = field(default=None, kw_only=True, repr=False, on_setattr=_not_alone)
    rng: Any = field(
        default=None,
        kw_only=True,
        converter=arguments.as_generator,
        repr=False,
        on_setattr=_FIXED,
    )
    ranks: Ranks = field(
        default=None, kw_only=True, converter=as_ranks, repr=False, on_setattr=_FIXED
    )
    run: Run | None = field(default=None, init=False, repr=False)
    _guarded: GuardedStep | None = field(default=None, init=False, repr=False)
    _no_history: History = field(factory=History, init=False, repr=False)
    _for_building: np.random.Generator | None = field(default=None, init=False, repr=False)
    _own_steps: int = field(default=0, init=False, repr=False, on_setattr=setters.NO_OP)
    _has_compared: bool = field(default=False, init=False, repr=False)
    _busy: Any = field(factory=threading.RLock, init=False, repr=False)  # held by fit and step

    def __attrs_post_init__(self) -> None:
        self.loss = arguments.weighted(self.loss, self.loss_weights)
        self.metrics = self.metrics  # by name: see _by_name

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: everything except what belongs to this process."""
        names = [each.name for each in fields(Trainer) if each.name not in ("_guarded", "_busy")]
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_guarded": None, "_busy": threading.RLock()}.items():
            object.__setattr__(self, name, value)

    @property
    def _named_metrics(self) -> Mapping[Any, Any]:
        return cast("Mapping[Any, Any]", self.metrics)  # which it has become: see _by_name

    @property
    def history(self) -> History:
        """The history of the current or last `fit`, up to its last complete epoch."""
        return self.run.history if self.run is not None else self._no_history

    @property
    def steps(self) -> int:
        """The number of optimizer steps of that run, and of those by `step` since it began.

        Those before it was resumed count, too.
        """
        return self._own_steps + (self.run.steps if self.run is not None else 0)

    @property
    def is_resumed(self) -> bool:
        """Whether that run was resumed from a checkpoint."""
        return self.run is not None and self.run.is_resumed

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks of that run, in the order in which they are called."""
        return self.run.callbacks if self.run is not None else []

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that run measures in each epoch, except those that callbacks add."""
        return self.run.measured if self.run is not None else ()

    # ---------------------------------------------------------------- training and evaluation

    @renamed_keywords(removed_in="0.3", ahead="prefetch")
    @hinted
    def fit(
        self,
        x: Any,
        t: Any = None,
        *,
        epochs: int = 20,
        batch_size: int | None = None,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        sample_weights: Any = None,
        class_weights: Any = None,
        shuffle: bool | str = True,
        accumulate: int = 1,
        prefetch: bool | None = None,
        callbacks: Iterable[Callback] = (),
        then: str | Mapping[str, Any] | None = None,
        progress: Any = True,
        resume_from: str | os.PathLike[str] | None = None,
        bad_batch: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train on all samples ``epochs`` times, or on fresh batches, and return the history.

        All arguments are checked before anything changes: if a start is refused, the model, the
        optimizer, the generator, and all files and logs are as before. While a run is going on,
        nothing else can train its model, and what it was started with cannot be replaced; fields
        of the optimizer, the loss and the layers can be changed. Your arrays never change: layers,
        losses and metrics see the data as read-only.

        Ctrl-C ends the training after the current step and returns the history so far;
        ``trainer.run.reason`` says so. A second Ctrl-C stops immediately.

        With several ``ranks``, each batch and the validation data are divided among them by rows,
        and the numbers are those of one process up to the order of summation. All ranks return the
        same history. Rank 0 calls the callbacks, shows the progress and writes the files; what a
        callback changes holds on all ranks.

        Parameters
        ----------
        x
            The inputs, (samples, …), converted to the model's type once; for a model with several
            inputs a tuple of arrays. Data in a file that is larger than memory (`numpy.memmap`,
            h5py, zarr, anything with a length and indices) are read in pieces. Or a function
            ``make_batch(rng) -> (x, t)``, called for every batch; or, without t, an iterable or a
            list of batches (x, t), or a dataset of pairs, ``dataset[i]``. Any of these can be in
            `chainrule.data.augmented`. See `chainrule.data.batches_of`.
        t
            The targets, (samples, …), as the loss takes them; for a model with several outputs a
            tuple with one array per output. None for a loss without targets, such as
            `losses.MeanSquare`: ``fit(x)``, or None in its place in the tuple.
        epochs
            The number of passes through all samples.
        batch_size
            The number of samples per batch; 32 if not given. The last batch of an epoch has the
            remaining ones.
        steps_per_epoch
            With ``make_batch`` or an iterator, the number of batches per epoch.
        validation_data
            (x, t), or (x, t, sample_weights), or x for a loss without targets, on which the loss
            and the metrics are measured after each epoch, without training on it; or a dataset of
            pairs, or a list or another iterable of batches with a length, also of different row
            shapes. The class weights apply to it, too.
        sample_weights
            (samples,): the weight of each sample. If a sample has several positions or outputs,
            also one weight for each: (samples, positions), for example. A tuple has the weights of
            each output of the model, None for an output without. The cost is linear in the weights,
            so they may be negative, as in a policy gradient.
        class_weights
            The weight of each class: a dictionary by label, a sequence, or ``"balanced"``, which
            gives every class the same total weight. For several outputs a dictionary of these by
            the name or the number of the output, or a list with one of these, or None, for each.
        shuffle
            Whether to shuffle the samples in each epoch. Data in a file are shuffled in blocks;
            ``"rows"`` mixes all rows.
        accumulate
            The number of batches per step of the optimizer: the step uses the gradient of all their
            rows together. So batches can be as small as the memory requires.
        prefetch
            Whether a second thread prepares the next batch during the current step. None means:
            only for memory maps, h5py and zarr. Code of yours, such as a dataset or a loader, then
            runs in order and in your thread; with True it must not depend on the training.
        callbacks
            A list of callbacks, see `chainrule.callbacks`.
        then
            A method of `chainrule.fitting.minimize`, such as ``"L-BFGS-B"``, that continues from
            the last epoch, on all samples together; or a dictionary with ``method``, ``iterations``
            and ``tolerance``. Each iteration is one more row of the history, as an epoch is, for
            callbacks, too. It needs all samples in memory. A run that was stopped early does not
            enter this phase. No checkpoint is written in it: a run that is resumed begins it again.
        progress
            Whether to show a line with the loss and the remaining time; it appears only in a
            terminal and in a notebook. Or a rich Console to show it on.
        resume_from
            A folder of checkpoints written by `chainrule.callbacks.Checkpoint`: the run resumes
            from the newest intact one, with the same numbers as if it had never stopped; without
            one, it starts from the beginning. Model, loss, optimizer, data and callbacks must be
            those with which the run was started, and are compared (data in memory completely,
            large stored data by some of their rows); what was changed during the run, the
            generator and the learning rate come from the checkpoint.
            With more epochs than before, a finished run continues.
        bad_batch
            A file for the batch that produces a NaN or an infinity, if one does: it holds the
            arrays x, t and sample_weights, for ``safetensors.numpy.load_file``.

        Returns
        -------
        History
            A mapping from names to lists with one number per epoch: ``history["loss"]``, the
            average cost of the epoch's samples, each measured just before the step on its batch
            (see `chainrule.training.history`); each metric likewise; with validation data also
            ``history["validation_loss"]`` and so on, measured at the end of the epoch. With several
            outputs there is also the loss of each, without its weight, named after the layer that
            the output comes from, such as ``history["dense_3_loss"]`` (``output_1_loss`` if outputs
            come from the same layer), and its metrics, such as ``history["dense_3_accuracy"]``.
            Callbacks can add columns.

        Raises
        ------
        ConfigurationError
            A count is not an integer of at least 1, arguments contradict each other, or another
            run trains the model, or a part of it.
        DtypeError, ShapeError, DataError
            The data cannot be used; the error names the array and the position in it.
        DefinitionError
            A layer, a loss or a metric writes into an array that it is given.
        StorageError
            The checkpoint to resume from belongs to a different run, or cannot be read.
        NonFiniteError
            The cost, a gradient or a parameter became infinite or NaN. The error names the layer
            where that began, the epoch and the step; the model keeps the last finite parameters,
            and ``trainer.history`` the epochs before.
        RankError
            Another rank has failed, or the ranks do not train the same model on the same data. An
            error of chainrule on one rank is raised as it is on all.
        """
        from chainrule.data.batches_of import batches_of
        from chainrule.training.run import Run

        with self.ranks.together():
            epochs, accumulate = arguments.counts(epochs=epochs, accumulate=accumulate)
            batch_size, steps_per_epoch = arguments.optional_counts(
                batch_size=batch_size, steps_per_epoch=steps_per_epoch
            )
            callbacks = arguments.as_callbacks(callbacks)
            if not self.ranks.leads:
                callbacks, progress = [], False
            arguments.require_progress(progress)
            folder = arguments.as_path("resume_from", resume_from)
            file = arguments.as_path("bad_batch", bad_batch)
            solver = None if then is None else _second_phase(then)
            arguments.require_one_rank(self.ranks, then)
            if file is not None and self.ranks.leads:
                files.require_place_for_file(file, BAD_BATCH)
            given = {
                "epochs": epochs,
                "batch_size": batch_size,
                "steps_per_epoch": steps_per_epoch,
                "shuffle": shuffle,
                "accumulate": accumulate,
                "resume_from": folder is not None,
            }
            self.ranks.require_same(lambda: given)
            checkpoints = [each for each in callbacks if each.writes_checkpoints]
            with self._exclusively() as reservation:
                Builder.wait()  # another thread may be building the model
                if self.model.is_built:
                    arguments.require_a_loss_for_each(self.model.output_shapes, self.loss)
                before = self.run
                with ExitStack() as refused:  # undone, in reverse order, unless the run can begin
                    refused.callback(setattr, self, "run", before)
                    refused.callback(bookmark(self.rng))
                    self.ranks.share_generator(self.rng)
                    for checkpoint in checkpoints:
                        checkpoint.lock()
                        refused.callback(checkpoint.unlock, undo=True)
                    batches = batches_of(
                        x,
                        t,
                        batch_size=batch_size,
                        steps_per_epoch=steps_per_epoch,
                        sample_weights=sample_weights,
                        class_weights=arguments.class_weights_by_number(
                            class_weights, self.model, len(self.loss.for_each_output)
                        ),
                        shuffle=shuffle,
                        prefetch=prefetch,
                        rng=self.rng,
                        outputs=len(self.loss.for_each_output),
                    )
                    refused.callback(batches.close)
                    batches.divide(self.ranks.part)
                    if solver is not None:
                        arguments.require_in_memory(batches, then)
                    is_stored = folder is not None and self.ranks.lead(
                        partial(_holds_checkpoints, folder)
                    )
                    model, validation, columns = self._prepared(batches, validation_data, is_stored)
                    run = Run(
                        self, batches, validation, columns, callbacks, epochs, accumulate, file
                    )
                    run.model, run.then = model, solver
                    self.ranks.require_divisible(model)
                    if checkpoints or folder is not None:
                        run.describe(model)
                    self.ranks.require_same(partial(_comparable, run, model))
                    resumption = None if folder is None else self._resumption(folder, run, model)
                    self.run = run
                    for callback in run.callbacks:
                        callback.check(self)
                    if not self.model.is_built:
                        self._build(batches.data, is_stored=resumption is not None)
                        reservation.note_built()
                    run.model, self._own_steps = self.model, 0
                    if resumption is not None:
                        resumption.apply(run)
                        self._own_steps = resumption.own_steps
                    self.ranks.share(self.model)
                    refused.pop_all()
                self._guarded = None
                if self.ranks.leads:
                    self._warn_of_softmax()
                run.go(progress)
        return run.history

    @contextmanager
    def _exclusively(self) -> Iterator[Reservation]:
        """Keep everything else from training the model during a run."""
        if not self._busy.acquire(blocking=False):
            raise already_training(True, False)
        try:
            reservation = Reservation(self)
            try:
                yield reservation
            finally:
                reservation.release()
        finally:
            self._busy.release()

    def stop(self, reason: str) -> None:
        """Stop the run after the current step; callbacks can call this.

        If called at the end of an epoch, that epoch is the last one.

        Parameters
        ----------
        reason
            The value for ``trainer.run.reason``.
        """
        if self.run is not None and self.run.is_going:
            self.run.reason = reason

    @overload
    def step(self, x: Any, t: Any = None, sample_weights: Any = None) -> float: ...
    @overload
    def step(
        self, x: Any, t: Any = None, sample_weights: Any = None, *, metrics: Literal[False]
    ) -> float: ...
    @overload
    def step(
        self, x: Any, t: Any = None, sample_weights: Any = None, *, metrics: Literal[True]
    ) -> dict[str, float]: ...
    @overload
    def step(
        self, x: Any, t: Any = None, sample_weights: Any = None, *, metrics: bool
    ) -> float | dict[str, float]: ...

    @hinted
    def step(
        self, x: Any, t: Any = None, sample_weights: Any = None, *, metrics: bool = False
    ) -> float | dict[str, float]:
        """Take one training step, for a custom loop, and return the cost before it.

        `steps` counts it.

        Parameters
        ----------
        x, t, sample_weights
            One batch, as in `fit`; what is not an array of the model's type is checked and
            converted. If the model is not built yet, it is built for them.
        metrics
            Whether to return the loss and all metrics, as `evaluate` does, instead of the cost.

        Raises
        ------
        DtypeError, ShapeError, DataError
            The data cannot be used, as in `fit`.
        NonFiniteError
            As in `fit`. Arrays of the model's type are checked only by the model and the loss.
        """
        if not isinstance(metrics, bool):
            raise ConfigurationError(
                "Trainer.step: metrics must be True or False",
                expected="metrics=True for the loss and all metrics of the trainer",
                received=f"metrics={shortened(metrics)}",
                hint=f"Trainer(model, loss, optimizer, metrics={shortened(metrics)})",
            )
        if self.ranks.is_divided:
            return self._step_together(x, t, sample_weights, metrics)
        if not self._busy.acquire(blocking=False):
            raise already_training(True, False)
        try:
            batch = self._built_for_batch(x, t, sample_weights)
            guarded = self.guarded_step()
            cost, y, costs = guarded.take(*batch)
            guarded.require_finite()
            self._own_steps += 1
        finally:
            self._busy.release()
        if not self._has_compared:
            self._warn_of_softmax()
        if not metrics:
            return cost
        columns = Columns.of(self.model, self.loss, self._named_metrics)
        of_losses = dict(zip(columns.losses, costs, strict=True))
        return {"loss": cost, **of_losses, **dict(columns.measured(y, *batch[1:]))}

    def _built_for_batch(self, x: Any, t: Any, sample_weights: Any) -> Batch:
        """One batch, for which the model is built if it is not yet."""
        if not self.model.is_built:
            outputs = len(self.loss.for_each_output)
            data = Data.of(x, t, sample_weights, outputs=outputs)
            data.require_targets(self.loss)
            self._build(data)
        return self._as_batch(x, t, sample_weights)

    def _step_together(
        self, x: Any, t: Any, sample_weights: Any, metrics: bool
    ) -> float | dict[str, float]:
        """The same as `step`, each rank with its rows of the batch."""
        with self.ranks.together(), self._exclusively():
            if not self.model.is_built:
                self.ranks.share_generator(self.rng)
            batch, before = self._built_for_batch(x, t, sample_weights), self._guarded
            guarded = self.guarded_step()
            if guarded is not before:
                self.ranks.require_divisible(self.model)
                self.ranks.require_same(partial(_parameters_of, self.model))
                self.ranks.share(self.model)
            columns = Columns.of(self.model, self.loss, self._named_metrics if metrics else {})
            sums = BatchSums(columns, self.ranks)
            from chainrule.data.batches import rows_of

            own = rows_of(Data(batch[0], as_tuple(batch[1]), batch[2]), self._own_rows(batch))
            try:
                with self.ranks.step(self.model.generators.values()):
                    share: Any = len(own[0][0])
                    if self.loss.ignores:
                        (share,) = shares_of_labels([own], self.loss, self.model, self.ranks)
                    guarded.begin()
                    cost, y, costs = guarded.add(*own, share)
                    sums.add(own, (cost, *costs), y)
                sums.join(guarded.gradient)
                guarded.end(1 if self.loss.ignores else sums.rows)
                sums.join_whole_batches()
            except BaseException:
                guarded.put_back_buffers()
                raise
            guarded.require_finite()
            self._own_steps += 1
            if metrics:
                return self.ranks.lead(lambda: columns.averages(sums.totals, sums.rows))
            return columns.cost(sums.totals, sums.rows)

    def _own_rows(self, batch: Batch) -> slice:
        return self.ranks.part.of(len(batch[0][0]))

    @hinted
    def evaluate(
        self,
        x: Any,
        t: Any = None,
        *,
        sample_weights: Any = None,
        class_weights: Any = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics of the model on these samples.

        Nothing is trained or remembered: the model is only applied, to ``batch_size`` samples at a
        time (1,000 if not given).

        Parameters
        ----------
        x, t
            Inputs and targets as in `fit`. Or, without t, a dataset of pairs, or an iterable of
            batches that ends; these are read part by part, and only the outputs are kept.
        sample_weights, class_weights
            As in `fit`.
        batch_size
            How many samples are applied together.

        Returns
        -------
        dict
            The columns that `fit` records: ``{"loss": 0.1, "accuracy": 0.97}``, for example.

        Raises
        ------
        BuildError
            The model is not built.
        ConfigurationError, DtypeError, ShapeError, DataError
            As in `fit`.
        """
        from chainrule.data.class_weights import ClassWeights
        from chainrule.data.in_memory import joined

        (size,) = arguments.optional_counts(batch_size=batch_size)
        size = size or APPLIED_AT_ONCE
        each_loss = self.loss.for_each_output
        arguments.require_a_loss_for_each(require_built(self.model).output_shapes, self.loss)
        of_classes = ClassWeights.of(
            arguments.class_weights_by_number(class_weights, self.model, len(each_loss)),
            len(each_loss),
        )
        given = arguments.as_parts(x, t, sample_weights, len(each_loss), size)
        parts = joined(self._with_outputs(part, size) for part in given)
        if of_classes is not None:
            first, is_whole = parts[0], len(parts) == 1
            rows = tuple([y.shape[1:] for y in first.inputs])
            targets = first.targets if is_whole else (None,) * len(rows)
            weights = of_classes.fitted(self.loss, rows, targets, first.names_of_targets)
            parts = [weights.times(part) for part in parts]
        columns = Columns.of(self.model, self.loss, self._named_metrics)
        return self._figures_of([(one_or_all(d.inputs), d) for d in parts], columns, _cost)

    def _with_outputs(self, data: Data, size: int) -> Data:
        """Samples with the outputs of the model in place of its inputs."""
        data = self._fitted(data, self.model)
        return evolve(data, inputs=as_tuple(self._applied(data, size)))

    def _as_batch(self, x: Any, t: Any, sample_weights: Any) -> Batch:
        """One batch as the model and the loss take it."""
        dtype, numbers = self.model.dtype, as_tuple(x)
        if sample_weights is not None:
            numbers = (*numbers, *as_tuple(sample_weights))
        if _are_plain(numbers, dtype) and _are_plain(as_tuple(t), dtype, labels=True):
            inputs = (read_only(x),) if len(numbers) == 1 else tuple(map(read_only, as_tuple(x)))
            return inputs, each_array(read_only, t), each_array(read_only, sample_weights)
        outputs = len(self.loss.for_each_output)
        data = self._fitted(Data.of(x, t, sample_weights, outputs=outputs), self.model)
        return next(data.parts(len(data))), data.target, data.sample_weights

    def _warn_of_softmax(self) -> None:
        """Warn once, if the loss applies a softmax or a sigmoid and the model ends with it."""
        if not self._has_compared:
            self._has_compared = True
            arguments.warn_of_softmax(self.model, self.loss)

    # ---------------------------------------------------------------- the steps of fit

    def _prepared(
        self, batches: Batches, validation_data: Any, is_stored: bool
    ) -> tuple[Layer, list[Data], Columns]:
        """Convert the data to what model and loss take, or raise an error if they do not fit.

        Returns the model, or a built copy if it is not built yet; the converted validation data;
        and the columns of the history.
        """
        data = batches.data
        if not self.loss.takes_targets and has_shape(validation_data):
            validation_data = (validation_data, None)
        validation = arguments.as_validation(
            validation_data, len(self.loss.for_each_output), len(data.inputs)
        )
        model = self.model if self.model.is_built else _built_copy(self.model, data, is_stored)
        known = {data.row_shapes: self._rows_of_outputs(data, model)}

        def rows_of_outputs(batch: Data) -> tuple[Shape, ...]:
            if batch.row_shapes not in known:
                present = (
                    self.model if self.model.is_built else _built_copy(self.model, data, is_stored)
                )
                known[batch.row_shapes] = self._rows_of_outputs(batch, present)
            return known[batch.row_shapes]

        batches.fit_to(self.loss, rows_of_outputs, model.dtype)
        validation = [self._fitted(part, model) for part in validation]
        if batches.class_weights is not None:
            validation = [batches.class_weights.times(part) for part in validation]
        columns = Columns.of(model, self.loss, self._named_metrics)
        if self.model.is_built or not is_stored:  # otherwise the copy has no numbers
            _try_metrics(columns, model, batches.data)
        return model, validation, columns

    def _resumption(self, folder: Path, run: Run, model: Layer) -> Resumption | None:
        """The checkpoint in a folder to resume from, if any; restores the callbacks."""
        from chainrule import checkpoints
        from chainrule.training.run_state import Resumption

        saved = self.ranks.lead(partial(checkpoints.newest_in, folder))
        if saved is not None and not self.ranks.leads:
            saved = evolve(saved, record={**saved.record, "callbacks": []})
        if saved is None:
            return None
        resumption = Resumption.of(saved, run, model)
        resumption.restore_callbacks(run)
        run.resumed_from, run.resumes_at = saved.path, saved.record["position"]["steps"]
        run.identity = saved.run or run.identity
        return resumption

    def _fitted(self, data: Data, model: Layer) -> Data:
        return data.fitted(self.loss, self._rows_of_outputs(data, model), model.dtype)

    def _rows_of_outputs(self, data: Data, model: Layer) -> tuple[Shape, ...]:
        shapes = data.rows_of_outputs(model)
        arguments.require_a_loss_for_each(shapes, self.loss)
        return shapes

    def _build(self, data: Data, *, is_stored: bool = False) -> None:
        """Build the model; without initial values if a checkpoint is about to replace them."""
        if self._for_building is None:
            self._for_building = self.rng.spawn(1)[0]
        rng = copied_generator(self._for_building)  # so a failed build does not advance it
        build = partial(build_for_stored_values, self.model) if is_stored else self.model.build
        build(*data.row_shapes, rng=rng, dtype=data.dtype)

    def guarded_step(self) -> GuardedStep:
        """The guarded step, created again if the model, loss or optimizer was replaced."""
        guarded = self._guarded
        is_current = (
            guarded is not None
            and guarded.model is self.model
            and guarded.loss is self.loss
            and guarded.optimizer is self.optimizer
            and guarded.ranks is self.ranks
        )
        if guarded is None or not is_current:
            Reservation.require_none_elsewhere(self)
            guarded = GuardedStep(self.model, self.loss, self.optimizer, self.ranks)
            self._guarded = guarded
        return guarded

    def validated(self, parts: list[Data], columns: Columns) -> dict[str, float]:
        """The columns of the current model on validation data."""
        measure = self._measured_together if self.ranks.is_divided else self.measured
        figures = measure(parts, columns)
        return {f"validation_{name}": figure for name, figure in figures.items()}

    def _measured_together(self, parts: list[Data], columns: Columns) -> dict[str, float]:
        """The same as `measured`, each rank with its rows."""
        sums = BatchSums(columns, self.ranks)
        only_losses = evolve(columns, metrics=({},) * len(self.loss.for_each_output))
        with np.errstate(**quiet()):
            for data in parts:
                rows = self.ranks.part.of(len(data))
                y = self._applied(data, APPLIED_AT_ONCE, rows)
                targets = tuple([t[rows] for t in data.targets])
                weights = each_array(itemgetter(rows), data.sample_weights)
                own = Data(as_tuple(y), targets, weights)
                costs = self._figures(y, own, only_losses, _cost_or_infinity)
                sums.add((own.inputs, own.target, weights), tuple(costs.values()), y)
            sums.join()
            sums.join_whole_batches()
            return self.ranks.lead(lambda: columns.averages(sums.totals, sums.rows))

    def measured(self, parts: list[Data], columns: Columns) -> dict[str, float]:
        """The columns of the current model on some data."""
        with np.errstate(**quiet()):
            applied = ((self._applied(data, APPLIED_AT_ONCE), data) for data in parts)
            return self._figures_of(applied, columns, _cost_or_infinity)

    def _figures_of(
        self, parts: Iterable[tuple[Any, Data]], columns: Columns, cost_of: Callable[..., float]
    ) -> dict[str, float]:
        """The columns for the outputs and the data of one part, or of several together."""
        pairs = list(parts)
        if len(pairs) == 1:
            return self._figures(*pairs[0], columns, cost_of)
        sums: list[Any] = [0.0] * len(columns.names)
        only_losses = evolve(columns, metrics=({},) * len(self.loss.for_each_output))
        for y, data in pairs:
            costs = tuple(self._figures(y, data, only_losses, cost_of).values())
            columns.add(sums, len(data), costs, y, data.target, data.sample_weights)
        return columns.averages(sums, sum(len(data) for _, data in pairs))

    def _figures(
        self, y: Any, data: Data, columns: Columns, cost_of: Callable[..., float]
    ) -> dict[str, float]:
        """The values of the columns for these outputs and targets."""
        weights = data.sample_weights
        outputs = zip(self.loss.for_each_output, as_tuple(y), data.targets, strict=True)
        costs = [cost_of(*each, of_output(weights, n)) for n, each in enumerate(outputs)]
        of_losses = dict(zip(columns.losses, costs, strict=False))  # a single loss has no column
        measured = dict(columns.measured(y, data.target, weights))
        return {"loss": float(self.loss.total(costs)), **of_losses, **measured}

    def _applied(self, data: Data, size: int, rows: slice | None = None) -> Any:
        try:
            chunks = [as_tuple(self.model.apply(*inputs)) for inputs in data.parts(size, rows)]
        except ValueError as error:
            refuse_write(error, f"{label(self.model)}.apply")
            raise
        return one_or_all(tuple(map(np.concatenate, zip(*chunks, strict=True))))


def _comparable(run: Run, model: Layer) -> dict[str, Any]:
    """What must be the same on all ranks."""
    from chainrule.training.run_state import comparable

    return comparable(run, model)


def _parameters_of(model: Layer) -> dict[str, str]:
    """The paths, shapes and type of the parameters."""
    shapes = {path: model.parameters[path].shape for path in model.parameters.paths}
    return {"the parameters": f"{shapes}, {model.dtype}"}


def _second_phase(then: Any) -> Any:
    """The settings of the solver that continues a training."""
    from chainrule.fitting.minimize import as_settings

    return as_settings(then)


def _are_plain(arrays: tuple[Any, ...], dtype: np.dtype[Any], labels: bool = False) -> bool:
    """Whether all are arrays of this dtype, or with ``labels`` of integers, and not look-alikes."""
    for array in arrays:
        if type(array) is not np.ndarray:
            return False
        if array.dtype is not dtype and not (labels and array.dtype.kind == "i"):
            return False
    return True


def _cost(loss: Loss, y: Array, target: Array, sample_weights: Array | None) -> float:
    try:
        return float(loss(y, target, sample_weights))
    except ValueError as error:
        refuse_write(error, type(loss).__name__)
        raise


def _cost_or_infinity(*given: Any) -> float:
    try:
        return _cost(*given)
    except NonFiniteError:  # a measurement does not stop the training
        return math.inf


def _try_metrics(columns: Columns, model: Layer, data: Data) -> None:
    """Try the built-in metrics on two samples; custom functions are not called yet."""
    known = columns.known()
    for number, own in enumerate(known.metrics):
        for name in own:
            require_no_negative(name, of_output(data.sample_weights, number))
    if known.metrics:
        with np.errstate(all="ignore"):
            y = model.apply(*[x[:2] for x in data.inputs])
            weights = each_array(lambda array: array[:2], data.sample_weights)
            list(known.measured(y, one_or_all(tuple([t[:2] for t in data.targets])), weights))


def _holds_checkpoints(folder: Path) -> bool:
    from chainrule import checkpoints

    return bool(checkpoints.found_in(folder))


def _built_copy(model: Layer, data: Data, is_stored: bool) -> Layer:
    """A copy of a model, built for the data to check that this is possible.

    If its numbers are stored in a checkpoint, no initial values are drawn.
    """
    model = copy.deepcopy(model)
    build = partial(build_for_stored_values, model) if is_stored else model.build
    try:
        build(*data.row_shapes, rng=0, dtype=data.dtype)
    except ShapeError as error:
        error.received = f"{error.received}, from {data.described}"
        raise
    return model
