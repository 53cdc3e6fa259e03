"""The regressor: one or several numbers for each row.

C = ½ ⟨‖F_w(x) − y‖²⟩
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from chainrule.core.errors import ShapeError
from chainrule.core.types import Array
from chainrule.interop.sklearn.estimator import Estimator, Samples
from chainrule.interop.sklearn.output_layer import network_for
from chainrule.losses import HalfSquaredError


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A network as a regressor of scikit-learn.

    Parameters
    ----------
    model, optimizer, learning_rate, epochs, batch_size
        As for `Classifier`; the output layer has one number for each target.
    loss
        One of `chainrule.losses`; None for `HalfSquaredError`.
    metrics, callbacks, early_stopping, patience, validation_fraction
        As for `Classifier`.
    warm_start, random_state, verbose
        As for `Classifier`.

    Attributes
    ----------
    model_ : Layer
        The trained network, with its output layer.
    history_ : History
        The loss and the metrics of each epoch, of all calls that continued each other.
    loss_curve_ : list of float
        Its column ``"loss"``.
    n_iter_ : int
        The number of epochs.
    optimizer_ : Optimizer
        The optimizer with its memory.
    n_outputs_ : int
        The number of targets.
    n_features_in_, feature_names_in_
        As in all estimators of scikit-learn.

    Notes
    -----
    scikit-learn's MLPRegressor has the same loss, optimizer and hidden layer. Targets are not
    scaled; ``TransformedTargetRegressor(Regressor(), transformer=StandardScaler())`` does that.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> regressor = Regressor(learning_rate=0.01, random_state=0).fit(x, x[:, 0] ** 2)
    >>> bool(regressor.score(x, x[:, 0] ** 2) > 0.99)
    True
    """

    n_outputs_: int
    _is_single: bool  # whether y is a vector

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network; with ``warm_start``, continue with that of the last call.

        Parameters
        ----------
        X
            The inputs, (samples, features): an array, or a table of pandas or polars. float32 stays
            float32, everything else becomes float64.
        y
            The targets, (samples,) or (samples, targets).
        sample_weight
            The weight of each sample, 0 or more; they are divided by their mean. If all samples
            are in one batch, a weight of 2 equals the sample twice.

        Raises
        ------
        ConfigurationError, DefinitionError, ShapeError
            A parameter is invalid, or the model does not fit the data.
        DtypeError
            X or y is sparse.
        ValueError, TypeError
            Those of scikit-learn, for data that cannot be used.
        """
        continues = bool(self.warm_start) and hasattr(self, "model_")
        return self._fit(X, y, sample_weight, continues, self.epochs, bool(self.early_stopping))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch: a new network in the first call, later the same. As `fit`."""
        self._refuse_stopping()
        return self._fit(X, y, sample_weight, hasattr(self, "model_"), 1, False)

    def predict(self, X: Any) -> Array:
        """The outputs of the network, in the shape of y.

        Parameters
        ----------
        X
            The inputs, as in `fit`.
        """
        y = self._outputs(X)
        return np.asarray(y[:, 0] if self._is_single else y)

    def _fit(
        self, x: Any, y: Any, weights: Any, continues: bool, epochs: Any, splits: bool
    ) -> Self:
        x, y, weights = self._checked(x, y, weights, continues=continues, numeric=True)
        t = y.reshape(len(y), -1).astype(x.dtype)
        name, count = type(self).__name__, t.shape[1]
        if continues and count != self.n_outputs_:
            raise ShapeError(
                f"{name}: the number of targets has changed",
                expected=f"{self.n_outputs_} for each sample, as in the calls before",
                received=f"{count}",
                hint="fit, with warm_start=False, begins anew",
            )
        network = None
        if not continues:
            meaning = "one target" if count == 1 else f"{count} targets"
            network = network_for(self.model, x.shape[1], (count,), meaning, name).layers
        self._train(Samples(x, t, weights), network, self._loss(HalfSquaredError()), epochs, splits)
        self.n_outputs_, self._is_single = count, y.ndim == 1
        return self
