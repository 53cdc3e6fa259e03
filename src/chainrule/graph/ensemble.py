"""An ensemble: the same network several times, each with its own initial values.

    y_m = f(x; θ_m)        mean ȳ = (1/M) Σ_m y_m        deviation² = (1/(M − 1)) Σ_m (y_m − ȳ)²

Where there are data, all members agree with them. Where there are none, each continues in its own
way, and the spread shows how little is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from attrs import field

from chainrule.core.arrays import as_array
from chainrule.core.errors import ConfigurationError, DefinitionError, ShapeError, described
from chainrule.core.hints import hint_for_layer
from chainrule.core.labels import keeps_labels
from chainrule.core.layer import Layer
from chainrule.core.validators import as_float, complain, is_integer, yes_or_no
from chainrule.graph.composite import ALL, Composite, Layers, NodeOutput, refuse_change


def _not_negative(owner: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 <= value < math.inf:
        hint = "1.0 for the scale, and 0.0 for the floor, change nothing"
        complain(owner, attribute.name, "a finite number, 0 or more", value, hint)


class Ensemble(Composite):
    """M copies of a network with their own initial values; their spread shows how sure it is.

    Forward  y_m = f(x; θ_m), a tuple of one output for each member
    Backward  ∂C/∂x = Σ_m J_mᵀ Δ_m,  with Δ_m = ∂C/∂y_m

    Each member is an output of the model, with its own loss. So any loss works, with labels too,
    and each member gets exactly the gradient that it would get alone:

        trainer = Trainer(ensemble, [loss] * members, optimizers.Adam())
        trainer.fit(x, (t,) * members, sample_weights=ensemble.bootstrap(len(x)))

    The bootstrap is optional. With it, each member sees its own sample of the rows, drawn with
    replacement; without it, only the initial values differ, which is often enough.

    Parameters
    ----------
    network
        The network f, not built yet, with one output.
    members
        M, at least 2; five to twenty are common.
    gaussian
        Whether the outputs are means and log variances, as
        `losses.GaussianNegativeLogLikelihood` takes them. The variance is then that of the mixture,
        ⟨σ²⟩ + Var μ: noise of the data, plus disagreement of the members.
    floor
        The floor of that loss.
    scale
        s, the factor of all deviations; `calibrate` sets it.

    Attributes
    ----------
    networks : tuple of Layer
        The members, each a model of its own.

    Raises
    ------
    DefinitionError
        If ``network`` is not a layer.
    ConfigurationError
        If it is built already, or another argument is invalid.

    Notes
    -----
    Source: B. Lakshminarayanan, A. Pritzel and C. Blundell, *Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles*, NeurIPS 2017; the bootstrap: B. Efron, *Bootstrap
    methods: another look at the jackknife*, Annals of Statistics 7 (1979) 1.

    Examples
    --------
    >>> network = Sequential([Dense(20), Activation("tanh"), Dense(1)])
    >>> ensemble = Ensemble(network, 5)
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> trainer = Trainer(ensemble, [losses.HalfSquaredError()] * 5, optimizers.Adam(0.01), rng=0)
    >>> history = trainer.fit(x, (x**2,) * 5, epochs=200, progress=False)
    >>> inside, outside = ensemble.deviation([[0.5], [3.0]])[:, 0]
    >>> bool(outside > 10 * inside)
    True
    """

    is_inlined: ClassVar[bool] = True

    networks: tuple[Layer, ...] = field(on_setattr=refuse_change)
    gaussian: bool = field(default=False, kw_only=True, validator=yes_or_no)
    floor: float = field(default=0.0, kw_only=True, converter=as_float, validator=_not_negative)
    scale: float = field(default=1.0, kw_only=True, converter=as_float, validator=_not_negative)

    def __init__(
        self,
        network: Layer,
        members: int,
        *,
        gaussian: bool = False,
        floor: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        if not isinstance(network, Layer):
            raise DefinitionError(
                "Ensemble is made of copies of a network",
                expected="Ensemble(Sequential([…]), members=10)",
                received=described(network),
                hint=hint_for_layer(network),
            )
        if network.is_built:
            raise ConfigurationError(
                "Ensemble: the network is already built, so its copies would all be equal",
                expected="a network that is not built",
                received=f"one with {network.parameters.size:,} parameters",
                hint="Ensemble(network.unbuilt(), members)",
            )
        if not is_integer(members) or members < 2:
            complain(self, "members", "an integer, 2 or more", members, "10 is a good start")
        networks = Layers([network.unbuilt() for _ in range(members)])
        self.__attrs_init__(networks, gaussian=gaussian, floor=floor, scale=scale)

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        return [((0, ALL),) for _ in range(size)]

    def ends(self, size: int) -> Sequence[NodeOutput]:
        return tuple((number, ALL) for number in range(1, size + 1))

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        options = f"members={len(self.networks)}, "
        for name, default in {"gaussian": False, "floor": 0.0, "scale": 1.0}.items():
            if getattr(self, name) != default:
                options += f"{name}={getattr(self, name)!r}, "
        return f"{type(self).__name__}(", [(f"{options}network=", self.networks[0])], ")"

    def bootstrap(self, rows: int, rng: Any = 0) -> tuple[npt.NDArray[Any], ...]:
        """For each member, how often it draws each row, if it draws as many as there are.

        Parameters
        ----------
        rows
            The number of rows of the training data.
        rng
            A seed or a Generator.

        Returns
        -------
        tuple of ndarray
            For ``sample_weights``: M arrays (rows,) of counts 0, 1, 2, …, whose sum is ``rows``.
        """
        generator = np.random.default_rng(rng)
        counts = generator.multinomial(rows, np.full(rows, 1 / rows), len(self.networks))
        return tuple(counts.astype(float))

    @keeps_labels
    def mean(self, x: Any) -> npt.NDArray[Any]:
        """The mean of the members, (batch, …), with the labels of x if it is a table."""
        return self._mean_and_deviation(x)[0]

    @keeps_labels
    def deviation(self, x: Any) -> npt.NDArray[Any]:
        """The standard deviation of the prediction, (batch, …): the spread of the members times s.

        With ``gaussian``, it contains the noise of the data: s² (⟨σ²⟩ + Var μ).
        """
        return self.scale * self._mean_and_deviation(x)[1]

    @keeps_labels
    def band(self, x: Any, probability: float = 0.95) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The limits mean ± z deviation of the interval that contains this probability.

        z is the quantile of the normal distribution, 1.96 for 95 %.

        Returns
        -------
        lower, upper : ndarray
            Each (batch, …).
        """
        mean, deviation = self._mean_and_deviation(x)
        half = quantile(probability) * self.scale * deviation
        return mean - half, mean + half

    def calibrate(self, x: Any, t: Any) -> float:
        """Set the scale s of all deviations from data that the training has not seen.

        s² = ⟨((t − ȳ)/deviation)²⟩, with the deviation without s. This s maximises the likelihood
        of the targets, if they are normal with this mean and deviation.

        Parameters
        ----------
        x, t
            Validation data: inputs, and targets with the shape of the mean.

        Returns
        -------
        float
            s, which is also the attribute ``scale`` and is saved with the model.

        Raises
        ------
        ShapeError
            If the targets do not have the shape of the mean.
        ConfigurationError
            If all members agree somewhere, so that no scale explains the error there.
        """
        mean, deviation = self._mean_and_deviation(x)
        target = as_array("Ensemble.calibrate: t", t)
        if target.shape != mean.shape or not target.size:
            raise ShapeError(
                "Ensemble.calibrate: there must be one target for each number that is predicted",
                expected=mean.shape,
                received=target.shape,
                hint="np.asarray(t)[:, np.newaxis] turns a row of numbers into a column"
                if (*target.shape, 1) == mean.shape
                else None,
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = float(np.sqrt(np.mean(np.square((target - mean) / deviation))))
        if not 0 < scale < math.inf:
            raise ConfigurationError(
                "Ensemble.calibrate: the spread of the members cannot be scaled to the errors",
                expected="members that differ, and finite targets",
                received=f"deviations from {deviation.min():.3g} to {deviation.max():.3g}, "
                f"errors up to {np.abs(target - mean).max():.3g}",
                hint="train the ensemble first, on other data",
            )
        self.scale = scale
        return scale

    def _mean_and_deviation(self, x: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The mean, and the deviation without the scale."""
        outputs = self.predict(x)
        if len(outputs) != len(self.networks):
            raise ShapeError(
                "Ensemble: the mean is for a network with one output",
                expected=f"{len(self.networks)} outputs, one for each member",
                received=f"{len(outputs)} outputs",
                hint="for several outputs, use the tuple that ensemble(x) returns",
            )
        each = np.stack(outputs)
        if not self.gaussian:
            return each.mean(axis=0), each.std(axis=0, ddof=1)
        if each.shape[-1] % 2:
            raise ShapeError(
                "Ensemble: with gaussian=True, the network returns means and log variances",
                expected="an even number of outputs",
                received=each.shape[1:],
                hint="Dense(2) as the last layer, for one number",
            )
        means, log_variances = np.split(each, 2, axis=-1)
        noise = np.mean(np.exp(log_variances), axis=0) + self.floor**2
        return means.mean(axis=0), np.sqrt(noise + means.var(axis=0, ddof=1))


def quantile(probability: float) -> float:
    """The z for which a normal variable lies within ±z of its mean with this probability."""
    share = as_float(probability)
    if not isinstance(share, float) or not 0 < share < 1:
        raise ConfigurationError(
            "band: the probability must be between 0 and 1",
            expected="0 < probability < 1",
            received=f"probability={probability!r:.60}",
            hint="probability=0.95",
        )
    return NormalDist().inv_cdf(0.5 + share / 2)
