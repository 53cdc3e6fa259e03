"""The trainer: brings a model, a loss and an optimizer together, and repeats one step.

What the lecture does in its loop, for each epoch and each batch (x, t) in it:

    y = F_θ(x),    C = loss(y, t),    θ ← θ − η ∂C/∂θ

    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(1e-3), rng=0)
    history = trainer.fit(x, t, epochs=20, batch_size=32, validation_data=(x_val, t_val))

Everything random comes from one generator, made from ``rng``, in this order: where the model is
not built yet, a generator is spawned from it to build it; then, epoch by epoch, one permutation
shuffles the samples, or ``make_batch`` is given the generator for each of its batches. So the same
``rng`` and the same calls give the same numbers, bit for bit.

A model with several outputs has a loss for each, and what is made small is Σ_i λ_i C_i:

    trainer = Trainer(model, [loss_1, loss_2], optimizer, loss_weights=[1.0, 0.5])
    history = trainer.fit(x, (t_1, t_2), validation_data=(x_val, (t_1_val, t_2_val)))
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import define, field, setters

from chainrule import files
from chainrule.callbacks import Callback
from chainrule.core.deprecation import renamed_keywords
from chainrule.core.errors import NonFiniteError, ShapeError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import copied_generator
from chainrule.core.messages import require_built
from chainrule.core.types import Array, Shape
from chainrule.data.batches import Batches
from chainrule.data.batches_of import batches_of
from chainrule.data.samples import Data, one_or_all
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from chainrule.training import arguments
from chainrule.training.bad_batch import WHAT as BAD_BATCH
from chainrule.training.guard import GuardedStep, quiet
from chainrule.training.history import History
from chainrule.training.history_columns import Columns
from chainrule.training.metrics import by_output, named, names_in
from chainrule.training.run import Run

if TYPE_CHECKING:
    from chainrule.training.run_state import Resumption

APPLIED_AT_ONCE = 1000
"""How many samples are sent through together to measure."""


def _by_name(trainer: Trainer, attribute: Any, given: Any) -> Mapping[Any, Any]:
    """The metrics by the names of their columns, for the losses that the trainer has."""
    outputs = len(trainer.loss.for_each_output)
    return named(given, trainer.loss) if outputs == 1 else by_output(given, outputs)


@define(eq=False)
class Trainer:
    """Trains a model: lets an optimizer move its parameters to where a loss is small.

    Parameters
    ----------
    model
        Any layer. If it is not built yet, `fit` builds it for the data.
    loss
        One of `chainrule.losses`; for a model with several outputs a list of them, one for each,
        of which `losses.PerOutput` makes one.
    optimizer
        One of `chainrule.optimizers`. What it remembers stays from one `fit` to the next.
    metrics
        What else is measured: a list of names (``"accuracy"``, ``"binary_accuracy"``,
        ``"mean_absolute_error"``, ``"mean_squared_error"``), losses, or functions
        ``(y, t) -> number``. For several outputs a dictionary of such lists, each for the name of
        an output or its number from 0; or a list with one such list for each.
    loss_weights
        λ_i of C = Σ_i λ_i C_i, for a list of losses; one for each if not given.
    rng
        A seed, or the generator from which everything random comes; fresh randomness if not given.

    Attributes
    ----------
    run : Run or None
        The last `fit`, or the one that is going on: where it is, and why it ended.

    Raises
    ------
    DefinitionError
        The model is no layer.
    ConfigurationError
        One of the others is not what it has to be.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = Sequential([Dense(1)])
    >>> trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.3), rng=0)
    >>> history = trainer.fit(x, 2 * x + 1, epochs=200, batch_size=4)
    >>> model(np.array([[10.0]])).round(3)
    array([[21.]])
    """

    model: Layer = field(validator=arguments.require_model)
    loss: Loss = field(converter=arguments.as_loss)
    optimizer: Optimizer = field(validator=arguments.require_optimizer)
    metrics: Any = field(default=(), kw_only=True, repr=names_in, on_setattr=_by_name)
    loss_weights: Any = field(default=None, kw_only=True, repr=False, on_setattr=setters.frozen)
    rng: Any = field(default=None, kw_only=True, converter=arguments.as_generator, repr=False)
    run: Run | None = field(default=None, init=False, repr=False)
    _guarded: GuardedStep | None = field(default=None, init=False, repr=False)
    _no_history: History = field(factory=History, init=False, repr=False)
    _for_building: np.random.Generator | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.loss = arguments.weighted(self.loss, self.loss_weights)
        self.metrics = self.metrics  # by name: see _by_name

    @property
    def history(self) -> History:
        """Of the last `fit`, or of the one that is going on, up to its last whole epoch."""
        return self.run.history if self.run is not None else self._no_history

    @property
    def steps(self) -> int:
        """How many steps of the optimizer that run has taken, also before it was resumed."""
        return self.run.steps if self.run is not None else 0

    @property
    def is_resumed(self) -> bool:
        """Whether that run goes on from a checkpoint."""
        return self.run is not None and self.run.is_resumed

    @property
    def callbacks(self) -> list[Callback]:
        """Those of that run, in the order in which they are called."""
        return self.run.callbacks if self.run is not None else []

    @property
    def columns(self) -> tuple[str, ...]:
        """What that run measures in each epoch; what callbacks add to it is not among them."""
        return self.run.measured if self.run is not None else ()

    # ---------------------------------------------------------------- what a caller does

    @renamed_keywords(removed_in="0.3", ahead="prefetch")
    def fit(
        self,
        x: Any,
        t: Any = None,
        *,
        epochs: int = 20,
        batch_size: int | None = None,
        steps_per_epoch: int | None = None,
        validation_data: tuple[Any, Any] | None = None,
        sample_weights: npt.ArrayLike | None = None,
        class_weights: Mapping[int, float] | Sequence[float] | str | None = None,
        shuffle: bool | str = True,
        accumulate: int = 1,
        prefetch: bool | None = None,
        callbacks: Iterable[Callback] = (),
        progress: Any = True,
        resume_from: str | os.PathLike[str] | None = None,
        bad_batch: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train on all samples ``epochs`` times, or on fresh batches, and return the history.

        Everything is looked at before anything is changed: where an array, a number or a callback
        is refused, the model, the optimizer and the generator are as they were.

        Ctrl-C ends the training after the step that is going on, and the history of the epochs so
        far is returned; ``trainer.run.reason`` says so. A second Ctrl-C does not wait.

        Parameters
        ----------
        x
            The inputs, (samples, …), which are converted to the model's type once; for a model
            with several inputs a tuple of such. What lies in a file and is larger than the memory
            (`numpy.memmap`, h5py, zarr, anything with a length and indices) is read piece by piece.
            Or a function ``make_batch(rng) -> (x, t)``, which is called for every batch; or, with
            no t, an iterable or a list of batches (x, t), or a dataset of pairs, ``dataset[i]``.
            See `chainrule.data.batches_of`.
        t
            The targets, (samples, …), as the loss takes them; for a model with several outputs a
            tuple with one such for each.
        epochs
            How often to go through all samples.
        batch_size
            How many samples make one batch; 32 if not given. The last batch of an epoch has those
            that are left over.
        steps_per_epoch
            With ``make_batch`` or an iterator, how many batches an epoch has.
        validation_data
            A pair (x, t) to measure the loss and the metrics on after each epoch, without learning
            from it; or a dataset of pairs, or an iterable of batches with a length.
        sample_weights
            (samples,): how much each sample counts, 0 or more, in all outputs.
        class_weights
            How much each class counts: a dictionary by label, a sequence, or ``"balanced"``, by
            which all classes together count the same.
        shuffle
            Whether the order of the samples is drawn anew for each epoch. What is read from a file
            is shuffled by blocks; ``"rows"`` mixes all rows.
        accumulate
            How many batches make one step of the optimizer: their gradients are added up to that
            of all their rows together. So a batch may be as small as the memory asks for.
        prefetch
            Whether the next batch is prepared in a second thread while the present one is learned
            from. None decides: where reading it takes time. The numbers do not depend on it.
        callbacks
            What else shall happen: see `chainrule.callbacks`.
        progress
            Whether to show a line with the loss and the time that is left; only ever where there
            is a terminal. Or a rich Console to show it on.
        resume_from
            A folder of checkpoints, which `chainrule.callbacks.Checkpoint` has written: goes on
            from the newest whole one, to the same numbers as if the run had never ended; or
            starts, where there is none. Model, loss, optimizer, data and callbacks have to be
            those of before, and are compared as far as that is cheap (of the data, some rows; of
            the callbacks, their classes); the generator and the learning rate are taken from the
            checkpoint. With more epochs than before, a run goes on after its end.
        bad_batch
            A file into which the batch is written that made a number infinite or NaN, if one does:
            with the arrays x, t and sample_weights, for ``safetensors.numpy.load_file``.

        Returns
        -------
        History
            A mapping of lists, one number for each epoch: ``history["loss"]``, the average cost of
            the epoch's samples at the time when they were learned from (see
            `chainrule.training.history`); each metric likewise; and with validation data
            ``history["validation_loss"]`` and so on, taken at the end of the epoch. With several
            outputs, the loss of each as well, without its weight, under the name of the layer that
            the output comes from, such as ``history["dense_3_loss"]`` (``output_1_loss`` where
            outputs come from one layer), and its metrics, such as
            ``history["dense_3_accuracy"]``. Callbacks may add columns of their own.

        Raises
        ------
        ConfigurationError
            A count is no whole number of at least 1, or the arguments do not go together.
        DtypeError, ShapeError, DataError
            Data that cannot be learned from: which array, and where in it.
        StorageError
            The checkpoint to go on from is one of another run, or cannot be read.
        NonFiniteError
            The cost, a gradient or the parameters became infinite or NaN. It names the layer where
            that began, the epoch and the step; the model has the last finite parameters, and
            ``trainer.history`` the epochs before.
        """
        epochs, accumulate = arguments.counts(epochs=epochs, accumulate=accumulate)
        batch_size, steps_per_epoch = arguments.optional_counts(
            batch_size=batch_size, steps_per_epoch=steps_per_epoch
        )
        callbacks = arguments.as_callbacks(callbacks)
        arguments.require_progress(progress)
        folder = arguments.as_path("resume_from", resume_from)
        file = arguments.as_path("bad_batch", bad_batch)
        if self.model.is_built:
            arguments.require_a_loss_for_each(self.model.output_shapes, self.loss)
        if file is not None:
            files.require_place_for_file(file, BAD_BATCH)
        state, before = self.rng.bit_generator.state, self.run
        batches: Batches | None = None
        try:
            batches = batches_of(
                x,
                t,
                batch_size=batch_size,
                steps_per_epoch=steps_per_epoch,
                sample_weights=sample_weights,
                class_weights=class_weights,
                shuffle=shuffle,
                prefetch=prefetch,
                rng=self.rng,
                outputs=len(self.loss.for_each_output),
            )
            model, validation, columns = self._fitted_to_each_other(batches, validation_data)
            run = Run(self, batches, validation, columns, callbacks, epochs, accumulate, file)
            resumption = None if folder is None else self._resumption(folder, run, model)
            self.run = run
            for callback in run.callbacks:
                callback.check(self)
            if not self.model.is_built:
                self._build(batches.data)
            if resumption is not None:
                resumption.apply(run)
        except BaseException:
            self.rng.bit_generator.state, self.run = state, before
            if batches is not None:
                batches.close()
            raise
        self._guarded = None
        run.go(progress)
        return run.history

    def stop(self, reason: str) -> None:
        """End the run that is going on after its step; a callback may call it.

        Where it is called at the end of an epoch, that epoch is the last one.

        Parameters
        ----------
        reason
            Why, for ``trainer.run.reason``.
        """
        if self.run is not None and self.run.is_going:
            self.run.reason = reason

    def step(
        self,
        x: Array | tuple[Array, ...],
        t: Array | tuple[Array, ...],
        sample_weights: Any = None,
    ) -> float:
        """Take one training step, for a loop of one's own, and return the cost before it.

        Parameters
        ----------
        x, t, sample_weights
            One batch, in arrays of the model's type. If the model is not built yet, it is built
            for them.

        Raises
        ------
        NonFiniteError
            As in `fit`. Data are not looked at, beyond what the model and the loss do themselves.
        """
        inputs = x if isinstance(x, tuple) else (x,)
        if not self.model.is_built:
            outputs = len(self.loss.for_each_output)
            self._build(Data.of(x, t, sample_weights, outputs=outputs))
        guarded = self.guarded_step()
        cost, _, _ = guarded.take(inputs, t, sample_weights)
        guarded.require_finite()
        return cost

    def evaluate(
        self,
        x: npt.ArrayLike | tuple[npt.ArrayLike, ...],
        t: npt.ArrayLike | tuple[npt.ArrayLike, ...],
        *,
        sample_weights: npt.ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics of the model as it is, on all of these samples together.

        Nothing is learned and nothing is remembered: the model is only applied, to
        ``batch_size`` samples at a time (1,000 if not given).

        Returns
        -------
        dict
            ``{"loss": 0.1, "accuracy": 0.97}``, say: the columns that `fit` gives a history.

        Raises
        ------
        BuildError
            The model is not built.
        ConfigurationError, DtypeError, ShapeError, DataError
            As in `fit`.
        """
        (size,) = arguments.optional_counts(batch_size=batch_size)
        arguments.require_a_loss_for_each(require_built(self.model).output_shapes, self.loss)
        data = Data.of(x, t, sample_weights, outputs=len(self.loss.for_each_output))
        data = self._fitted(data, self.model)
        columns = Columns.of(self.model, self.loss, self.metrics)
        y = self._applied(data, size or APPLIED_AT_ONCE)
        return self._figures(y, data, columns, _cost)

    # ---------------------------------------------------------------- one thing after another

    def _fitted_to_each_other(
        self, batches: Batches, validation_data: Any
    ) -> tuple[Layer, Data | None, Columns]:
        """Make the data what model and loss take, or find out that they are not for each other.

        Returns the model, or a trial of it where it is not built yet; the validation data,
        likewise; and the columns of the history.
        """
        validation = arguments.as_validation(validation_data, len(self.loss.for_each_output))
        data = batches.data
        model = self.model if self.model.is_built else _trial(self.model, data)
        batches.fit_to(self.loss, self._rows_of_outputs(data, model), model.dtype)
        if validation is not None:
            validation = self._fitted(validation, model)
        columns = Columns.of(model, self.loss, self.metrics)
        _try_metrics(columns, model, batches.data)
        return model, validation, columns

    def _resumption(self, folder: Path, run: Run, model: Layer) -> Resumption | None:
        """What there is in a folder to go on from; the callbacks have it already."""
        from chainrule import checkpoints
        from chainrule.training.run_state import Resumption

        saved = checkpoints.newest_in(folder)
        if saved is None:
            return None
        resumption = Resumption.of(saved, run, model)
        resumption.restore_callbacks(run)
        run.resumed_from, run.resumes_at = saved.path, saved.record["position"]["steps"]
        return resumption

    def _fitted(self, data: Data, model: Layer) -> Data:
        return data.fitted(self.loss, self._rows_of_outputs(data, model), model.dtype)

    def _rows_of_outputs(self, data: Data, model: Layer) -> tuple[Shape, ...]:
        shapes = data.rows_of_outputs(model)
        arguments.require_a_loss_for_each(shapes, self.loss)
        return shapes

    def _build(self, data: Data) -> None:
        if self._for_building is None:
            self._for_building = self.rng.spawn(1)[0]
        rng = copied_generator(self._for_building)  # so that a build that fails takes nothing
        self.model.build(*data.row_shapes, rng=rng, dtype=data.dtype)

    def guarded_step(self) -> GuardedStep:
        """The step with its guard, made anew where model, loss or optimizer are others."""
        held = self._guarded
        is_current = (
            held is not None
            and held.model is self.model
            and held.loss is self.loss
            and held.optimizer is self.optimizer
        )
        if held is None or not is_current:
            held = self._guarded = GuardedStep(self.model, self.loss, self.optimizer)
        return held

    def validated(self, data: Data, columns: Columns) -> dict[str, float]:
        """The columns of validation data, of the model as it is."""
        with np.errstate(**quiet()):
            y = self._applied(data, APPLIED_AT_ONCE)
            figures = self._figures(y, data, columns, _cost_or_infinity)
        return {f"validation_{name}": figure for name, figure in figures.items()}

    def _figures(
        self, y: Any, data: Data, columns: Columns, cost_of: Callable[..., float]
    ) -> dict[str, float]:
        """What stands in the columns for these outputs and targets."""
        of_each = zip(self.loss.for_each_output, as_tuple(y), data.targets, strict=True)
        costs = [cost_of(*of_one, data.sample_weights) for of_one in of_each]
        of_losses = dict(zip(columns.losses, costs, strict=False))  # no column of its own for one
        measured = dict(columns.measured(y, data.target))
        return {"loss": float(self.loss.total(costs)), **of_losses, **measured}

    def _applied(self, data: Data, size: int) -> Any:
        parts = [as_tuple(self.model.apply(*inputs)) for inputs in data.parts(size)]
        return one_or_all(tuple(map(np.concatenate, zip(*parts, strict=True))))


def _cost(loss: Loss, y: Array, target: Array, sample_weights: Array | None) -> float:
    return float(loss(y, target, sample_weights))


def _cost_or_infinity(*given: Any) -> float:
    try:
        return _cost(*given)
    except NonFiniteError:  # what is only measured stops nothing
        return math.inf


def _try_metrics(columns: Columns, model: Layer, data: Data) -> None:
    """See on two samples that the metrics take what the model returns.

    Functions of the user's own are left for when they are due.
    """
    known = columns.known()
    if known.metrics:
        with np.errstate(all="ignore"):
            y = model.apply(*[x[:2] for x in data.inputs])
            list(known.measured(y, one_or_all(tuple([t[:2] for t in data.targets]))))


def _trial(model: Layer, data: Data) -> Layer:
    """A copy of a model that is built for the data, to see that it can be."""
    model = copy.deepcopy(model)
    try:
        model.build(*data.row_shapes, rng=0, dtype=data.dtype)
    except ShapeError as error:
        error.received = f"{error.received}, from {data.described}"
        raise
    return model
