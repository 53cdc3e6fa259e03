r"""Backpropagation on paper, for a given model.

The lecture summarises it in three steps, for layers z = y w + b and y = f(z) in sequence:

    1.  Δ = ∂C/∂y at the output, from the cost
    2.  Δ_k = Σ_j Δ_j M_jk    with M_jk = w_jk f′(z_k), back through all layers
    3.  ∂C/∂w_jk = Δ_j y_k and ∂C/∂b_j = Δ_j, summed over the samples of the batch

Here w_jk leads from neuron k to neuron j and is stored as weights[k, j], so M = wᵀ diag(f′(z)).

Any other architecture has the same three steps with other Jacobians in step 2, and with a sum
wherever several layers use a value. `explain` follows the plan of a model and writes these steps
down. Every layer provides its own equations (`Layer.equations`); this module replaces their
symbols with those of the model. The printed formulas come from the same expressions that
`Explanation.evaluate` computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from chainrule.core.equations import numbered, total
from chainrule.core.errors import DefinitionError
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import not_a_layer, require_built
from chainrule.display.explanation import Explanation, Record
from chainrule.display.notation import Sign, lowered, names_in, renamed, to_latex, to_text
from chainrule.display.symbols import NamedStep, Symbols, derivative
from chainrule.graph.plan import Plan
from chainrule.layers.dense import Dense


@hinted
def explain(model: Layer) -> Explanation:
    """Write down the backpropagation of a model: its symbols, its formulas, its three steps.

    Parameters
    ----------
    model
        Any built layer or container.

    Returns
    -------
    Explanation
        It prints as text in a terminal and as formulas in a notebook.

    Raises
    ------
    BuildError
        If the model is not built.
    DefinitionError
        If it is not a layer, or the equations of a layer are invalid.

    Examples
    --------
    >>> model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    >>> model.build((64,), rng=0)
    >>> for record in explain(model).records:
    ...     if record.kind in ("forward", "delta"):
    ...         print(record.text)
    z₁ = y₀ w₁ + b₁
    y₁ = f(z₁)
    z₂ = y₁ w₂ + b₂
    Δ₂ = ∂C/∂z₂
    ∂C/∂y₁ = Δ₂ w₂ᵀ
    Δ₁ = ∂C/∂y₁ ⊙ f′(z₁) = (Δ₂ w₂ᵀ) ⊙ f′(z₁)
    Δ₀ = Δ₁ w₁ᵀ
    """
    if not isinstance(model, Layer):
        raise not_a_layer("explain", model)
    require_built(model)
    return Writing(model).explanation()


class Writing(Symbols):
    """Follows the plan and writes the lines of the three steps."""

    def __init__(self, model: Layer) -> None:
        super().__init__(model)
        self.takers = _takers(self.plan)
        self.sums: dict[int, list[str]] = {}  # for each value the terms of its delta so far

    def explanation(self) -> Explanation:
        """The lines of all steps."""
        for place in self.steps:
            self._forward(place)
        self._at_the_output()
        self._down()
        self._gradients()
        return Explanation(self.model, tuple(self.records), self.functions)

    def _line(
        self,
        kind: str,
        step: int,
        place: str,
        left: str,
        expression: str,
        and_so: str = "",
        **more: Any,
    ) -> None:
        """A line: ``left = expression``, or ``left = expression = and_so``."""
        sign = self.signs[left]
        sides = [expression, and_so] if and_so else [expression]
        of_numbers = more.pop("of_numbers", False)
        try:
            latex, text = (
                " = ".join([left, *(to(side, self.signs, of_numbers=of_numbers) for side in sides)])
                for left, to in ((sign.latex, to_latex), (sign.text, to_text))
            )
        except DefinitionError as error:
            raise error.within(self.plan.name if place == self.plan.name else
                               f"{self.plan.name}/{place}") from None  # fmt: skip
        self.records.append(
            Record(
                kind=kind,
                step=step,
                place=place,
                left=left,
                expression=expression,
                latex=latex,
                text=text,
                **{"is_evaluable": True, **more},
            )
        )

    def _define(self, place: NamedStep, definitions: Mapping[str, str], step: int) -> None:
        """The lines of the parts of which the equations of a layer consist."""
        for name, expression in definitions.items():
            left = self.in_symbols(name, place)
            text = self.in_symbols(expression, place)
            path = place.path(self.plan)
            can_evaluate = place.said.is_evaluable and not place.step.layer._generators
            of_numbers = "s" in place.said.signs  # a line for each entry of a sample s
            self._line("definition", step, path, left, text,
                       of_numbers=of_numbers, is_evaluable=can_evaluate)  # fmt: skip

    def _forward(self, place: NamedStep) -> None:
        self._define(place, place.said.definitions, 0)
        for slot, expression in zip(place.step.makes, place.said.forward, strict=True):
            self._line(
                "forward",
                0,
                place.path(self.plan),
                self.values[slot].name,
                self.in_symbols(expression, place),
                is_evaluable=place.said.is_evaluable,
                remark=place.remark,
            )

    # ---------------------------------------------------------------- the backward pass

    def _at_the_output(self) -> None:
        """Step 1: the deltas from the cost."""
        uses = Counter(self.plan.outputs)
        for slot in dict.fromkeys(self.plan.outputs):
            for n in range(uses[slot]):
                name = self.values[slot].delta
                is_alone = len(self.takers[slot]) == 1
                if not is_alone:
                    name = self._arrow(slot, "C", "C" if uses[slot] == 1 else f"C_{n + 1}")
                    self._terms(slot).insert(0, name)
                sign, value = self.signs[name], derivative(self.values[slot].sign)
                is_bare = sign == value or not is_alone
                self.records.append(
                    Record(
                        kind="delta",
                        step=1,
                        place=self.plan.names[slot],
                        left=name,
                        expression="",
                        latex=sign.latex if is_bare else f"{sign.latex} = {value.latex}",
                        text=sign.text if is_bare else f"{sign.text} = {value.text}",
                        remark=FROM_THE_COST if is_alone else FROM_THE_COST_ALONE,
                    )
                )

    def _down(self) -> None:
        """Step 2: from the deltas of the outputs of a layer to those of its inputs."""
        pending = {slot: len(takers) for slot, takers in self.takers.items()}
        for slot in self.plan.outputs:
            pending[slot] -= 1
        for slot, left in pending.items():
            if not left and len(self._terms(slot)) > 1:  # listed twice as output, otherwise unused
                self._fan_out(slot)
        for place in reversed(self.steps):
            self._nobody_takes(place)
            self._define(place, place.said.backward_definitions, 2)
            for n, expression in enumerate(place.said.backward):
                slot = place.step.takes[n]
                self._send(place, n, slot, self.in_symbols(expression, place))
                pending[slot] -= 1
                if not pending[slot] and len(self.takers[slot]) > 1:
                    self._fan_out(slot)
        for slot in self.plan.inputs:
            if not self.takers[slot]:
                self._zero(slot)

    def _nobody_takes(self, place: NamedStep) -> None:
        for slot in place.step.makes:
            if not self.takers[slot]:
                self._zero(slot)

    def _zero(self, slot: int) -> None:
        symbol = self.values[slot]
        self._line(
            "delta",
            2,
            self.plan.names[slot],
            symbol.delta,
            f"np.zeros_like({symbol.name})",
            remark="unused, so the cost does not depend on it",
        )

    def _send(self, place: NamedStep, n: int, slot: int, expression: str) -> None:
        """The delta that a step sends to one of its inputs."""
        is_evaluable = place.said.is_evaluable
        is_term = len(self.takers[slot]) > 1 and is_evaluable
        if is_term and len(to_text(expression, self.signs)) <= SHORT:
            self._terms(slot).append(expression)
            return
        self._line(
            "delta",
            1 if self._is_last_activation(place) else 2,
            place.path(self.plan),
            self._sent_name(place, n, slot),
            expression,
            is_evaluable=is_evaluable,
            **self._remarks(place, slot, expression),
        )

    def _sent_name(self, place: NamedStep, n: int, slot: int) -> str:
        """The name of the delta that a step sends to its input n; a term, if others send one."""
        if len(self.takers[slot]) == 1:
            return self.values[slot].delta
        twice = place.step.takes.count(slot) > 1
        name = self._arrow(slot, place.number, f"{place.number}_{n + 1}" if twice else "")
        self._terms(slot).append(name)
        return name

    def _arrow(self, slot: int, source: str, unique: str) -> str:
        """A part of a delta: the contribution of one of the steps that use the value."""
        symbol, unique = self.values[slot], unique or source
        name = f"{symbol.delta}_from_{unique}"
        shown = unique.replace("_", ",") if unique != source else source
        sign = self.signs[symbol.delta]
        latex = rf"{{{sign.latex}}}_{{\leftarrow {shown}}}"
        if symbol.delta.startswith("dC"):
            latex = rf"\left.{sign.latex}\right|_{{\leftarrow {shown}}}"
        self.signs[name] = Sign(latex, f"{sign.text}←{lowered(shown)}", sign.is_quotient)
        return name

    def _terms(self, slot: int) -> list[str]:
        return self.sums.setdefault(slot, [])

    def _fan_out(self, slot: int) -> None:
        """The sum over all steps that use a value."""
        terms, symbol = self._terms(slot), self.values[slot]
        named = [_taker(self.plan, taker) for taker in self.takers[slot]]
        self._line(
            "fan-out",
            2,
            self.plan.names[slot],
            symbol.delta,
            total(terms[::-1]),
            remark=f"used by {_listed(named)}: their deltas add up",
        )

    def _is_last_activation(self, place: NamedStep) -> bool:
        """Whether a step turns ∂C/∂y, which comes from the cost, into the lecture's first Δ."""
        (made, *others), taken = place.step.makes, place.step.takes[0]
        return (
            place.said.function is not None
            and not others
            and self.takers[made] == [COST]
            and len(self.takers[taken]) == 1
        )

    def _remarks(self, place: NamedStep, slot: int, expression: str) -> dict[str, Any]:
        """Remarks on a delta, above all where the lecture's M is."""
        if self.is_input(slot):
            return {"remark": THE_DATA} if len(self.takers[slot]) == 1 else {}
        if _uses("J", place.said.backward, place):
            return {"remark": f"J is the Jacobian that {place.kind}.backward applies"}
        made = place.step.makes[0]
        if place.said.function is None or len(self.takers[made]) > 1:
            return {}
        (taker,) = self.takers[made] or [COST]
        above = self.steps[taker]
        if taker == COST or type(above.step.layer) is not Dense:
            return {}
        sent = self.in_symbols(above.said.backward[0], above)
        weights, slope = self.parts[id(above.step.layer.weights)], self.in_symbols("df(x)", place)
        # For one sample: M_jk = weights[k, j] f′(z_k), a matrix of shape (n_out, n_in).
        factors = f"{weights}.T @ np.diag({slope})"
        return {
            "and_so": renamed(expression, {self.values[made].delta: f"({sent})"}),
            "remark": f"M = {to_text(factors, self.signs)}",
            "remark_latex": f"M = {to_latex(factors, self.signs)}",
        }

    def _gradients(self) -> None:
        """Step 3: the gradient of each parameter, summed over all layers that share it."""
        for key, terms in self._gradient_terms().items():
            name = self.parts[key]
            left = f"dC_d{name}"
            self.signs[left] = derivative(self.signs[name])
            count = len(terms)
            self._line(
                "gradient",
                3,
                self.paths.get(key, ""),
                left,
                total(text for text, _ in terms),
                is_evaluable=all(is_evaluable for _, is_evaluable in terms),
                remark=f"shared: the sum over its {count} uses" if count > 1 else "",
            )

    def _gradient_terms(self) -> dict[int, list[tuple[str, bool]]]:
        """For each parameter what each layer adds to its gradient, and whether that has a value."""
        found: dict[int, list[tuple[str, bool]]] = {}
        for place in self.steps:
            for path, part in place.parameters.items():
                name = self.parts[id(part)]
                own = place.said.gradients.get(path, "")
                delta = "delta" if len(place.step.makes) == 1 else "({})".format(
                    ", ".join(numbered("delta", len(place.step.makes))))  # fmt: skip
                given = own or f"J_theta.T @ {delta}"
                expression = self.in_symbols(given, place, "" if own else name)
                is_evaluable = bool(own) and place.said.is_evaluable
                found.setdefault(id(part), []).append((expression, is_evaluable))
        return found


def _uses(generic: str, expressions: Iterable[str], place: NamedStep) -> bool:
    """Whether the equations of a step contain the generic f or J of an unknown function."""
    if place.said.is_evaluable:
        return False
    names = {name for expression in expressions for name in names_in(expression)}
    return any(name.partition("_")[0] == generic for name in names)


COST = -1
"""The pseudo step number of the cost, which uses the outputs."""

SHORT = 20
"""A term with at most this many characters is written directly into the sum over a fan-out."""

FROM_THE_COST = "from the cost"
FROM_THE_COST_ALONE = "from the cost, only its direct dependence on this output"
THE_DATA = "the delta of the data, which training does not need"


def _takers(plan: Plan) -> dict[int, list[int]]:
    """For each value the steps that use it, listed as often as they do, and the cost."""
    takers: dict[int, list[int]] = {slot: [] for slot in range(len(plan.names))}
    for number, step in enumerate(plan.steps):
        for slot in step.takes:
            takers[slot].append(number)
    for slot in plan.outputs:
        takers[slot].append(COST)
    return takers


def _taker(plan: Plan, taker: int) -> str:
    return "the cost" if taker == COST else plan.steps[taker].path or plan.name


def _listed(names: list[str]) -> str:
    counted = [f"{name} ({n} times)" if n > 1 else name for name, n in Counter(names).items()]
    if len(counted) > 4:
        counted = [*counted[:2], f"{len(counted) - 2} others"]
    return " and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted)
