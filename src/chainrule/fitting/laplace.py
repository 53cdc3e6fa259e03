"""Laplace's approximation: error bars for a network that is already trained.

Near the minimum, the posterior of the parameters is a Gaussian. With the noise σ of the data, a
prior of deviation τ, and the network replaced by its tangent plane,

    covariance of θ = (Σ_s J_sᵀ J_s/σ² + 1/τ²)⁻¹        variance of f(x) = J(x) covariance J(x)ᵀ

J = ∂f/∂θ. The sum is the Gauss–Newton matrix, the part of the Hessian that is never negative. For a
model that is linear in θ this is exact: Bayesian linear regression.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.calculus import derivatives
from chainrule.core import input_checks, messages
from chainrule.core.arrays import as_array
from chainrule.core.errors import BuildError, ConfigurationError, DataError, ShapeError
from chainrule.core.hints import hinted
from chainrule.core.input_checks import as_tuple
from chainrule.core.labels import keeps_labels
from chainrule.core.layer import Layer
from chainrule.core.validators import as_float
from chainrule.graph.ensemble import quantile

FloatArray = npt.NDArray[np.float64]

AT_ONCE = 2**22
"""How many entries of J are computed at a time."""
LARGEST = 5000
"""How many parameters a covariance matrix may have."""


class Laplace:
    """The posterior of a trained model's parameters, and the error bars of its output.

    Parameters
    ----------
    model
        A model with one output, trained with a squared error on these data. Its parameters are the
        mean of the posterior, and are not changed. A penalty on their squares in the training is
        the prior: C = ½ ⟨‖f − t‖²⟩ + ½ λ ‖θ‖² has λ = σ²/(N τ²).
    x, t
        The data: inputs (a tuple for several), and targets with the shape of the output.
    deviations
        σ, the standard deviation of the noise: a number, or an array that fits the targets, with
        one for each. By default it is a number that is estimated from the residuals.
    prior_deviation
        τ, the standard deviation of each parameter before the data, around 0. By default it is the
        one with the largest marginal likelihood.
    structure
        Which covariance is computed: ``"last layer"``, the matrix for the parameters of the last
        layer, with all others fixed; ``"full"``, the matrix for all parameters, for networks with
        at most 5,000; ``"diagonal"``, the variances alone, without correlations. Frozen parameters
        have no uncertainty.

    Attributes
    ----------
    noise_deviation, prior_deviation
        σ and τ, as given or as found. If several σ were given, the first is an array.
    effective_parameters : float
        γ = Σ_i λ_i/(λ_i + 1/τ²), with the eigenvalues λ_i of Σ J_sᵀ J_s/σ²: how many parameters
        the data determine, and not the prior.
    log_evidence : float
        The logarithm of the marginal likelihood of the data, for a comparison of models.
    paths : list of str
        The parameters that have an uncertainty.

    Raises
    ------
    DefinitionError, BuildError
        The model is not a layer, or not built.
    ConfigurationError
        An argument is invalid, the model draws random numbers or couples the rows of a batch, or it
        has too many parameters for a matrix.
    ShapeError
        The targets or the deviations do not fit the output.
    DataError
        The data, or the model's output for them, are not finite.

    Notes
    -----
    Both deviations are found by MacKay's iteration, 1/τ² = γ/‖θ‖² and σ² = Σ r²/(N − γ), with the
    residuals r; N counts the numbers in t. J is reduced to a triangular matrix R, batch by batch,
    with RᵀR = JᵀJ, whose singular values give all results: no matrix is inverted.

    The approximation knows one minimum. Between clusters of data it is often too sure; an
    `Ensemble` finds several minima.

    Source: D. J. C. MacKay, *A practical Bayesian framework for backpropagation networks*, Neural
    Computation 4 (1992) 448; Bishop, *Pattern Recognition and Machine Learning* (2006), sections
    3.5 and 5.7.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 20)[:, np.newaxis]
    >>> t = 2 * x + np.random.default_rng(0).normal(scale=0.1, size=x.shape)
    >>> line = Sequential([Dense(1)])
    >>> trainer = Trainer(line, losses.HalfSquaredError(), optimizers.SGD(1.0))
    >>> history = trainer.fit(x, t, epochs=300, batch_size=20, progress=False)
    >>> posterior = fitting.Laplace(line, x, t, deviations=0.1, prior_deviation=10.0)
    >>> posterior.deviation([[0.0], [3.0]]).round(3)  # σ/√20, and more outside the data
    array([[0.022],
           [0.113]])
    """

    @hinted
    def __init__(
        self,
        model: Layer,
        x: Any,
        t: Any,
        deviations: Any = None,
        *,
        prior_deviation: Any = None,
        structure: Literal["last layer", "full", "diagonal"] = "last layer",
    ) -> None:
        self.model = model
        _require_plain(model)
        self._chosen, self.paths = _chosen(model, structure)
        self._is_diagonal = structure == "diagonal"
        inputs = input_checks.as_inputs(model, as_tuple(x))
        y = np.asarray(model.predict(inputs if len(inputs) > 1 else inputs[0]), dtype=float)
        target = _as_target(t, y)
        sigma = _as_deviations(deviations, y.shape)
        residuals = (target - y) / (1.0 if sigma is None else sigma)
        self._squares, self._axes = self._spectrum(inputs, sigma)
        theta = model.parameters.value[self._chosen].astype(float)
        prior = None if prior_deviation is None else _positive("prior_deviation", prior_deviation)
        noise, prior = self._most_likely(residuals, theta, sigma is not None, prior)
        self.prior_deviation: float = prior
        self.noise_deviation: Any = noise if sigma is None else deviations
        self._noise = noise  # in the units of the residuals
        self._precisions = self._squares / noise**2 + prior**-2.0
        self.effective_parameters = float(np.sum(1 - prior**-2.0 / self._precisions))
        self.log_evidence = float(
            -0.5 * np.sum((residuals / noise) ** 2)
            - residuals.size * math.log(noise * math.sqrt(2 * math.pi))
            - (0.0 if sigma is None else np.sum(np.log(np.broadcast_to(sigma, y.shape))))
            - 0.5 * np.sum((theta / prior) ** 2)
            - theta.size * math.log(prior)
            - 0.5 * np.sum(np.log(self._precisions))
        )

    def __repr__(self) -> str:
        kind = "diagonal" if self._is_diagonal else "full"
        return (
            f"Laplace({kind} covariance of {len(self._chosen)} parameters, of which "
            f"{self.effective_parameters:.1f} effective; prior_deviation="
            f"{self.prior_deviation:.3g})"
        )

    @property
    def covariance(self) -> FloatArray:
        """The covariance matrix of the parameters in `paths`, as one flat vector in their order."""
        if self._axes is None:
            return np.diag(1 / self._precisions)
        covariance: FloatArray = (self._axes / self._precisions) @ self._axes.T
        return covariance

    @keeps_labels
    def deviation(self, x: Any) -> FloatArray:
        """The standard deviation of the output, (batch, …): that of the model, without noise."""
        return self._deviation(x)

    def _deviation(self, x: Any) -> FloatArray:
        inputs = input_checks.as_inputs(self.model, as_tuple(x))
        parts = [
            np.sqrt(np.sum(self._along_axes(jacobian) ** 2 / self._precisions, axis=-1))
            for _, jacobian in self._jacobians(inputs)
        ]
        return np.concatenate(parts)

    @keeps_labels
    def band(self, x: Any, probability: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """The limits f(x) ± z deviation(x) that contain the true curve with this probability.

        z is the quantile of the normal distribution, 1.96 for 95 %.

        Returns
        -------
        lower, upper : ndarray
            Each (batch, …).
        """
        return self._limits(x, quantile(probability) * self._deviation(x))

    @keeps_labels
    def prediction_band(
        self, x: Any, probability: float = 0.95, deviations: Any = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same for a new measurement, whose noise is added: variance J Σ Jᵀ + σ².

        Parameters
        ----------
        x, probability
            As in `band`.
        deviations
            σ of the new measurements, which broadcasts to the output; by default that of the data,
            if it is one number.
        """
        noise = self.noise_deviation if deviations is None else deviations
        if np.ndim(noise) and deviations is None:
            raise ConfigurationError(
                "Laplace.prediction_band: which noise do the new measurements have?",
                expected="deviations=…, a number or one for each",
                received="none; each measurement of the data has its own",
            )
        total = np.sqrt(self._deviation(x) ** 2 + np.square(noise, dtype=float))
        return self._limits(x, quantile(probability) * total)

    def _limits(self, x: Any, half: FloatArray) -> tuple[FloatArray, FloatArray]:
        y = np.asarray(self.model(*as_tuple(x)), dtype=float)
        return y - half, y + half

    # ---------------------------------------------------------------- the Gauss–Newton matrix

    def _jacobians(self, inputs: tuple[Any, ...]) -> Any:
        """For some rows at a time: which rows, and their (rows, …, chosen parameters)."""
        model = self.model
        entries = max(1, model.parameters.size * math.prod(model.output_shape))
        step = max(1, AT_ONCE // entries)
        for start in range(0, max(len(inputs[0]), 1), step):
            rows = slice(start, start + step)
            part = tuple(array[rows] for array in inputs)
            jacobian = derivatives.jacobian(model, part, "parameters")
            yield rows, np.asarray(jacobian[..., self._chosen], dtype=float)

    def _spectrum(self, inputs: tuple[Any, ...], sigma: Any) -> tuple[FloatArray, Any]:
        """The eigenvalues of Σ JᵀJ/σ² and its eigenvectors, or its diagonal and None."""
        count = len(self._chosen)
        diagonal, triangle = np.zeros(count), np.zeros((0, count))
        for rows, jacobian in self._jacobians(inputs):
            if sigma is not None:
                jacobian = jacobian / np.broadcast_to(sigma[rows], jacobian.shape[:-1])[..., None]
            flat = jacobian.reshape(-1, count)
            if self._is_diagonal:
                diagonal += np.sum(flat**2, axis=0)
            else:
                stacked = np.concatenate([triangle, flat])
                triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        if self._is_diagonal:
            return diagonal, None
        _, values, axes = np.linalg.svd(triangle, full_matrices=True)
        squares = np.zeros(count)
        squares[: len(values)] = values**2
        return squares, axes.T

    def _along_axes(self, jacobian: FloatArray) -> FloatArray:
        return jacobian if self._axes is None else jacobian @ self._axes

    def _most_likely(
        self, residuals: FloatArray, theta: FloatArray, noise_is_known: bool, prior: float | None
    ) -> tuple[float, float]:
        """σ in units of the residuals, and τ, by MacKay's iteration where they are not known."""
        total, size = float(np.sum(residuals**2)), residuals.size
        noise = 1.0 if noise_is_known else math.sqrt(total / size)
        if noise == 0:
            raise ConfigurationError(
                "Laplace: the model hits every target exactly, so the noise cannot be estimated",
                expected="deviations=…, the standard deviation of the data",
                received="residuals of zero",
            )
        tau = prior or math.sqrt(np.mean(theta**2)) or 1.0
        for _ in range(1000 if prior is None or not noise_is_known else 0):
            before = noise, tau
            ratio = self._squares * (tau / noise) ** 2
            effective = float(np.sum(ratio / (ratio + 1)))
            if prior is None and np.any(theta):
                tau = math.sqrt(np.sum(theta**2) / max(effective, 1e-12))
            if not noise_is_known and size > effective:
                noise = math.sqrt(total / (size - effective))
            if math.isclose(before[0], noise, rel_tol=1e-12) and math.isclose(
                before[1], tau, rel_tol=1e-12
            ):
                break
        return noise, tau


def _require_plain(model: Layer) -> None:
    if not isinstance(model, Layer):
        raise messages.not_a_layer("Laplace", model, "a trained model")
    if not model.is_built:
        raise BuildError(
            "Laplace: the model is not built yet, so it was not trained either",
            expected="a model at a minimum of the cost, around which the posterior is approximated",
            received=f"{model!r:.60}",
            hint="fitting.minimize(model, loss, x, t), or a Trainer, builds and trains it",
        )
    shapes = model.output_shapes
    if len(shapes) != 1:
        raise ShapeError(
            "Laplace is for a model with one output",
            expected="one output",
            received=f"{len(shapes)} outputs",
        )
    for path, layer in model.walk():
        if layer.couples_batch or layer._generators:
            raise ConfigurationError(
                f"Laplace: {layer!r} draws random numbers, or couples the rows of a batch",
                place=path or None,
                expected="layers that compute the same in training and in use",
                received=type(layer).__name__,
                hint="train a model without them, or use an Ensemble",
            )


def _chosen(model: Layer, structure: str) -> tuple[npt.NDArray[np.intp], list[str]]:
    """The positions in θ of the parameters that have an uncertainty, and their paths."""
    if structure not in ("last layer", "full", "diagonal"):
        raise ConfigurationError(
            "Laplace: unknown structure",
            expected="'last layer', 'full' or 'diagonal'",
            received=repr(structure),
        )
    named = list(zip(model.parameters.paths, model.parameters, strict=True))
    learned = [path for path, parameter in named if parameter.trainable]
    if not learned:
        raise ConfigurationError(
            "Laplace: the model has no parameters that are learned",
            received=f"{len(named)} parameters, all frozen" if named else "no parameters",
        )
    if structure == "last layer":
        last = learned[-1].rpartition(".")[0]
        learned = [path for path in learned if path.rpartition(".")[0] == last]
    positions, start = [], 0
    for path, parameter in named:
        if path in learned:
            positions.append(np.arange(start, start + parameter.size))
        start += parameter.size
    chosen = np.concatenate(positions)
    if len(chosen) > LARGEST and structure != "diagonal":
        raise ConfigurationError(
            "Laplace: too many parameters for a covariance matrix",
            expected=f"at most {LARGEST:,}",
            received=f"{len(chosen):,}",
            hint="structure='last layer' or 'diagonal'",
        )
    return chosen, learned


def _as_target(t: Any, y: FloatArray) -> FloatArray:
    target = np.asarray(as_array("Laplace: t", t), dtype=float)
    if target.shape != y.shape:
        raise ShapeError(
            "Laplace: the targets do not have the shape of the model's output",
            expected=y.shape,
            received=target.shape,
            hint="np.asarray(t)[:, np.newaxis] turns a row of numbers into a column"
            if (*target.shape, 1) == y.shape
            else None,
        )
    if not target.size:
        raise DataError("Laplace: there are no data", expected="rows of x and t", received="none")
    for name, array in (("t", target), ("the model's output", y)):
        if not np.all(np.isfinite(array)):
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise DataError(
                f"Laplace: {name} is not finite",
                place=f"row {row}",
                expected="finite numbers",
                received=repr(array[row].tolist()),
            )
    return target


def _as_deviations(given: Any, shape: tuple[int, ...]) -> Any:
    """σ as an array that can be divided by, with an axis of rows; None if it is to be found."""
    if given is None:
        return None
    if not np.ndim(given):
        return np.full((shape[0], *[1] * (len(shape) - 1)), _positive("deviations", given))
    array = np.asarray(as_array("Laplace: deviation", given), dtype=float)
    if array.shape == shape[:1]:
        array = array.reshape(-1, *[1] * (len(shape) - 1))
    elif array.shape != shape:
        raise ShapeError(
            "Laplace: the deviations do not fit the targets",
            expected=f"a number, {shape[:1]} or {shape}",
            received=array.shape,
        )
    if not np.all((array > 0) & (array < math.inf)):
        row = int(np.argwhere(~((array > 0) & (array < math.inf)))[0, 0])
        raise ConfigurationError(
            "Laplace: a standard deviation must be finite and above 0",
            place=f"row {row}",
            expected="0 < deviation < ∞",
            received=repr(array[row].tolist()),
        )
    return array


def _positive(name: str, given: Any) -> float:
    number = as_float(given)
    if not isinstance(number, float) or not 0 < number < math.inf:
        raise ConfigurationError(
            f"Laplace: {name} must be a finite number above 0",
            expected=f"0 < {name} < ∞",
            received=f"{given!r:.60}",
        )
    return number
