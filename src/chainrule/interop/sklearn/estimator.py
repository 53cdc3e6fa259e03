"""What both estimators share: their parameters, and the training.

    fit           a new network, its output layer, and `Trainer.fit` for all epochs
    partial_fit   one epoch more with the same network, optimizer and generator

So ``partial_fit`` n times is ``fit`` with ``epochs=n``, bit for bit, and so is ``fit`` with
``warm_start=True`` after another ``fit``.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from typing import Any, Self

import attrs
import numpy as np
from attrs import frozen
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from chainrule.callbacks import Callback, EarlyStopping
from chainrule.core.errors import ConfigurationError, DtypeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.types import Array
from chainrule.core.validators import is_number
from chainrule.data.samples import each_array
from chainrule.interop.sklearn.parameters import parameters_in, with_parameters
from chainrule.interop.sklearn.weights import normalised, sample_weights
from chainrule.losses import Loss
from chainrule.optimizers import Adam, Optimizer
from chainrule.training.arguments import as_callbacks
from chainrule.training.history import History
from chainrule.training.metrics import MetricLike
from chainrule.training.trainer import Trainer

NUMBERS = (np.float64, np.float32)
"""The types of inputs that stay as they are; all others become the first."""


@frozen
class Samples:
    """What a network is trained with.

    Attributes
    ----------
    x, t
        Inputs, and targets as the loss takes them.
    weights
        One weight for each sample, or None.
    strata
        The class of each sample, for the validation data to have the same shares; or None.
    """

    x: Array
    t: Any
    weights: Array | None
    strata: Array | None = None

    def rows(self, chosen: Array) -> Samples:
        """Some of the samples, by their numbers, or by a mask."""
        given = self.x, self.t, self.weights, self.strata
        return Samples(*[each_array(lambda array: array[chosen], each) for each in given])

    def counted(self) -> Samples:
        """Those that have a weight."""
        weights = self.weights
        return self if weights is None or weights.all() else self.rows(weights > 0)


class Estimator(BaseEstimator):  # type: ignore[misc]
    """The base class of `Classifier` and `Regressor`."""

    # What fit finds.
    model_: Layer
    optimizer_: Optimizer
    history_: History
    loss_curve_: list[float]
    n_iter_: int
    _generator: np.random.Generator
    _split_seed: int

    # ---------------------------------------------------------------- parameters

    def __init__(
        self,
        model: Layer | None = None,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        learning_rate: float | None = None,
        epochs: int = 200,
        batch_size: int | None = 200,
        metrics: Iterable[MetricLike] = (),
        callbacks: Iterable[Callback] = (),
        early_stopping: bool = False,
        patience: int = 10,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.metrics = metrics
        self.callbacks = callbacks
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name.

        Parameters
        ----------
        deep
            Whether to include those inside the model, the optimizer and the loss, such as
            ``model__dense_1__units``.
        """
        own: dict[str, Any] = super().get_params(deep=False)
        inside = {
            f"{name}__{inner}": value
            for name, owner in own.items()
            for inner, value in (parameters_in(owner) if deep else {}).items()
        }
        return {**own, **inside}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by the names that `get_params` has.

        The objects that were given do not change: a parameter inside the model is set in a copy.

        Raises
        ------
        ConfigurationError
            There is no such parameter, or its value is invalid.
        """
        known = super().get_params(deep=False)
        inside: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            head, _, tail = name.partition("__")
            if tail:
                inside.setdefault(head, {})[tail] = value
            elif head in known:
                known[head] = value
            else:
                raise self._unknown(name, known)
        for head, values in inside.items():
            found = parameters_in(known.get(head))
            for tail in values:
                if tail not in found:
                    raise self._unknown(f"{head}__{tail}", {f"{head}__{n}": 0 for n in found})
            known[head] = with_parameters(known[head], values)
        for name, value in known.items():
            setattr(self, name, value)
        return self

    def _unknown(self, name: str, known: dict[str, Any]) -> ConfigurationError:
        nearest = difflib.get_close_matches(name, known, n=1)
        return ConfigurationError(
            f"{type(self).__name__} has no parameter {name!r}",
            expected=", ".join(known) or f"{name.partition('__')[0]}=…, an object with parameters",
            received=name,
            hint=f"did you mean {nearest[0]!r}?" if nearest else None,
        )

    # ---------------------------------------------------------------- what scikit-learn asks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---------------------------------------------------------------- training

    def _checked(
        self, x: Any, y: Any, weights: Any, *, continues: bool, numeric: bool
    ) -> tuple[Array, Array, Array | None]:
        """The arrays of a fit as NumPy arrays."""
        self._refuse_sparse(X=x, y=y)
        x, y = validate_data(
            self,
            x,
            y,
            multi_output=True,
            y_numeric=numeric,
            dtype=NUMBERS,
            reset=not continues,
        )
        return x, y, sample_weights(weights, x)

    def _outputs(self, x: Any) -> Any:
        """The outputs of the network."""
        check_is_fitted(self, "model_")
        self._refuse_sparse(X=x)
        x = validate_data(self, x, dtype=NUMBERS, reset=False)
        return self.model_.predict(np.asarray(x, self.model_.dtype))

    def _refuse_sparse(self, **given: Any) -> None:
        for name, array in given.items():
            if issparse(array):
                raise DtypeError(
                    f"{type(self).__name__}: {name} is a sparse matrix",
                    expected="a dense array",
                    received=f"{type(array).__name__} of shape {array.shape}",
                    hint=f"{name}.toarray(); for many columns, first reduce them in a pipeline, "
                    "TruncatedSVD(100)",
                )

    def _train(
        self, samples: Samples, network: Layer | None, loss: Loss, epochs: Any, splits: bool
    ) -> None:
        """Train a new network, or for None the one of the last fit."""
        if network is None:
            model, optimizer, rng = self.model_, self.optimizer_, self._generator
            if self.learning_rate is not None:
                optimizer.learning_rate = self.learning_rate
            history = self.history_
        else:
            seed, self._split_seed = check_random_state(self.random_state).randint(2**31, size=2)
            model, optimizer, rng = network, self._new_optimizer(), np.random.default_rng(seed)
            history = History()
        samples = samples.counted()
        callbacks, validation = as_callbacks(self.callbacks), None
        if splits:
            samples, validation = self._split(samples)
            callbacks.append(EarlyStopping(patience=self.patience))
        trainer = Trainer(model, loss, optimizer, metrics=self.metrics, rng=rng)
        found = trainer.fit(
            samples.x,
            samples.t,
            epochs=epochs,
            batch_size=len(samples.x) if self.batch_size is None else self.batch_size,
            sample_weights=normalised(samples.weights),
            validation_data=validation,
            callbacks=callbacks,
            progress=bool(self.verbose),
        )
        for row in zip(*found.values(), strict=True):
            history.append(dict(zip(found, row, strict=True)))
        self.model_, self.optimizer_, self._generator = model, optimizer, rng
        self.history_, self.loss_curve_, self.n_iter_ = history, history["loss"], history.epochs

    def _new_optimizer(self) -> Any:
        given = Adam() if self.optimizer is None else self.optimizer
        if not isinstance(given, Optimizer):
            return given  # the trainer raises the error
        rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return attrs.evolve(given, **rate)

    def _split(self, samples: Samples) -> tuple[Samples, Any]:
        """The samples to train with, and the validation data: the same in calls that continue."""
        share, count = self.validation_fraction, len(samples.x)
        if not is_number(share) or not 0 < share < 1 or count < 2:
            raise ConfigurationError(
                f"{type(self).__name__}: the validation data for early stopping are empty, or all",
                expected="0 < validation_fraction < 1, and two samples or more",
                received=f"validation_fraction={shortened(share)}, {count} samples",
            )
        held = min(max(1, round(share * count)), count - 1)
        strata = samples.strata
        if strata is not None:
            counts = np.unique(strata, return_counts=True)[1]
            if counts.min() < 2 or len(counts) > min(held, count - held):
                strata = None  # a class is too rare to be in both parts
        kept, out = train_test_split(
            np.arange(count), test_size=held, random_state=self._split_seed, stratify=strata
        )

        held_back = samples.rows(out)
        weights = normalised(held_back.weights)
        validation = (held_back.x, held_back.t)
        return samples.rows(kept), validation if weights is None else (*validation, weights)

    def _refuse_stopping(self) -> None:
        if self.early_stopping:
            raise ConfigurationError(
                f"{type(self).__name__}: partial_fit cannot stop early: it takes one epoch",
                expected="early_stopping=False",
                received=f"early_stopping={shortened(self.early_stopping)}",
                hint="fit, with all samples",
            )

    def _loss(self, otherwise: Loss) -> Any:
        return otherwise if self.loss is None else copy.deepcopy(self.loss)
