"""`derive`: the source of a layer for a formula.

    y = a exp(−b x),    ∂y/∂x = −a b exp(−b x),    ∂y/∂a = exp(−b x),    ∂y/∂b = −a x exp(−b x)

The formula is read by sending symbols through the function, and differentiated by SymPy. What y and
its derivatives have in common is computed once, in `forward`, and remembered for `backward`.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from chainrule.core.errors import ArgumentError, DefinitionError, described
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.display.numpy_source import Source
from chainrule.symbolic import forms
from chainrule.symbolic.array import Symbolic, symbols
from chainrule.symbolic.entries import Entry, Point, undecided
from chainrule.symbolic.forms import Form
from chainrule.symbolic.formulas import expression, length, rebuilt, require_sympy, text
from chainrule.symbolic.readings import Readings

WIDTH = 88
"""The longest line, which is ruff's default."""
ROOM = WIDTH - len("        return ")
"""The longest expression of a line."""
LONGEST_DOCSTRING = 150
"""The number of symbols and operations of the longest formula in a docstring."""
START = 1.0
"""Where a parameter without a default starts."""
TRIES = 10


@hinted
def derive(function: Callable[..., Any], name: str | None = None) -> str:
    """Write a layer for a formula: the source of a class with `forward` and `backward`.

    The layer computes y = f(x; a, b, …) for every number x of its rows, of any shape, and learns
    a, b, … .

    Parameters
    ----------
    function
        A formula of numbers, ``lambda x, a, b: a * np.exp(-b * x)``, or a ``def``. The first
        argument is the input; the others become parameters, which are single numbers. A parameter
        starts at its default value, ``a=2.0``, or else at 1.
    name
        The name of the class; by default that of the function, or ``Derived``.

    Returns
    -------
    str
        The source, ready to be pasted into a file.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    UndecidedError
        If the function does what symbols cannot follow, such as ``math.exp(x)`` or ``if x > 0``.
    DefinitionError
        If it is not a function of numbers, or does not depend on one of its arguments.
    ArgumentError
        If an argument has a name that a layer uses for something else, or an unusable default.

    Examples
    --------
    >>> print(derive(lambda x, a, b=0.5: a * np.exp(-b * x), name="Decay"))
    import numpy as np
    <BLANKLINE>
    from chainrule import Layer
    <BLANKLINE>
    <BLANKLINE>
    class Decay(Layer):
        \"\"\"y = a * exp(-b * x), for every number x.\"\"\"
    <BLANKLINE>
        accepts_any_shape = True
    <BLANKLINE>
        def build(self, input_shape):
            self.a = self.parameter("a", (), 1.0)
            self.b = self.parameter("b", (), 0.5)
    <BLANKLINE>
        def forward(self, x):
            a, b = self.a.value, self.b.value
            t1 = np.exp(-b * x)
            self.remembered = x, t1
            return a * t1
    <BLANKLINE>
        def backward(self, delta):
            a, b = self.a.value, self.b.value
            x, t1 = self.remembered
            t2 = delta * a * t1
            self.a.accumulate(np.sum(delta * t1))
            self.b.accumulate(np.sum(-x * t2))
            return -b * t2
    <BLANKLINE>
    """
    require_sympy()
    arguments = _arguments(function)
    if name is None:
        own = getattr(function, "__name__", "")
        name = "".join(word.capitalize() for word in own.split("_")) if own.isidentifier() else ""
    if not name.isidentifier() or keyword.iskeyword(name):
        name = "Derived"
    form, domain = _form(function, list(arguments))
    used = forms.symbols_in(form)
    for argument in arguments:
        if argument not in used:
            raise DefinitionError(
                f"derive: y does not depend on {argument}",
                expected=f"a formula with {', '.join(arguments)}",
                received=text(form) or "another formula",
                hint="remove the argument" if used else "return a formula of the arguments",
            )
    program = _Program(form, list(arguments))
    return "\n".join(_source(name, arguments, program, _docstring(form, domain, program)))


def _arguments(function: Any) -> dict[str, float]:
    """The arguments of a function, each with the value at which it starts."""
    try:
        given = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        given = []
    if isinstance(function, np.ufunc):
        given = []
    if not given or any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given):
        raise DefinitionError(
            "derive needs a function whose arguments have names",
            expected="lambda x, a, b: a * np.exp(-b * x)",
            received=described(function),
        )
    arguments: dict[str, float] = {}
    for n, parameter in enumerate(given):
        name, start = parameter.name, parameter.default
        if n and (hasattr(Layer, name) or name in ("np", "self", "remembered")):
            raise ArgumentError(
                f"derive: a layer uses the name {name!r} for something else",
                expected="another name for this argument",
                received=name,
                hint=f"{name}_0",
            )
        start = START if start is inspect.Parameter.empty else start
        try:
            arguments[name] = float(start)
        except (TypeError, ValueError):
            raise ArgumentError(
                f"derive: the default of {name} is no number",
                expected=f"{name}=1.0",
                received=f"{name}={start!r}",
            ) from None
    return arguments


def _form(function: Callable[..., Any], names: list[str]) -> tuple[Form, list[Form]]:
    """The formula of a function, and what must be above 0 for it to be defined."""
    rng = np.random.default_rng(0)
    problem = undecided(
        "what the function is: it is not defined at the points that were tried",
        "a formula that is defined for some numbers between -2 and 2",
    )
    for n in range(TRIES):
        point = Point()
        values = (rng.integers(1, 2**11, size=len(names)) * 2 + 1) / 2**11
        if n % 2:
            values *= rng.choice([-1, 1], size=len(names))
        given = {
            name: symbols(point, name, np.array(value))
            for name, value in zip(names, values, strict=True)
        }
        with np.errstate(all="ignore"):
            y = function(*given.values())
        entry = y.entries[()] if isinstance(y, Symbolic) and not y.shape else y
        if not isinstance(entry, Entry | float | int):
            raise DefinitionError(
                "derive: the function does not return one number",
                expected="a formula such as a * np.exp(-b * x)",
                received=f"an array of shape {y.shape}"
                if isinstance(y, Symbolic)
                else described(y),
            )
        decided = [condition for condition in point.conditions if not condition.is_domain]
        if decided:
            problem = undecided(
                f"whether {text(decided[0].form) or 'it'} > 0, on which the function decides",
                "derive each side alone, and join the two with np.where in a layer of your own",
            )
        elif isinstance(entry, Entry):
            assert entry.form is not None
            return entry.form, [condition.form for condition in point.conditions]
        elif np.isfinite(entry):
            return forms.number(entry), []
    raise problem


# ------------------------------------------------------------------------------- the program


class _Program:
    """A formula and its derivatives as two lists of assignments, and their results.

    The derivatives are found as in backpropagation, from y back to x, so that what they have in
    common is computed once. All expressions are SymPy's.

    Attributes
    ----------
    forward, backward
        The temporary values of both passes: pairs of a symbol and an expression.
    y, slopes
        The results: y, and for every argument Δ ∂y/∂argument.
    """

    def __init__(self, form: Form, arguments: list[str]) -> None:
        self.sympy = require_sympy()
        self.arguments = arguments
        self.delta = next(n for n in ("delta", "upstream", "delta_y") if n not in arguments)
        self.smooth: dict[Form, tuple[Form, Form, Form]] = {}
        y = rebuilt(form, self._smooth)
        slopes = self._slopes(y)
        self.names: dict[Form, Any] = {
            forms.symbol(name): self.sympy.Symbol(name, real=True)
            for name in (*arguments, self.delta)
        }
        self._written = Source({symbol: symbol.name for symbol in self.names.values()})
        self.forward: list[tuple[Any, Any]] = []
        self.backward: list[tuple[Any, Any]] = []
        roots = [y, *(slopes[name] for name in arguments)]
        needed, shared = set(self._in_order([y])), self._shared(roots)
        for part in self._in_order(roots):
            if part in shared:
                lines = self.forward if part in needed else self.backward
                lines.append((self.sympy.Dummy("t99", real=True), self._expression(part, lines)))
                self.names[part] = lines[-1][0]
        self.y = self._expression(y, self.forward)
        room = WIDTH - len("        self..accumulate(np.sum())") - max(map(len, arguments))
        self.slopes = {
            name: self._expression(slopes[name], self.backward, room) for name in arguments
        }
        later = [*self.slopes.values(), *(value for _, value in self.backward)]
        if self.forward and self.y == self.forward[-1][0] and not any(e.has(self.y) for e in later):
            _, self.y = self.forward.pop()

    def _slopes(self, y: Form) -> dict[str, Form]:
        pairs = [(y, forms.symbol(self.delta))]
        for name, (_, argument, slope) in reversed(self.smooth.items()):
            sent = forms.gradient(pairs).get(name.detail, forms.ZERO)
            pairs.append((argument, forms.multiply(sent, slope)))
        return forms.gradient(pairs)

    def _smooth(self, form: Form) -> Form:
        """Give names to 1 / (c + eᵘ) and log(1 + eᵘ), whose derivatives then do not overflow.

        The first, q, has the derivative −q (1 − c q), the second 1 / (1 + e⁻ᵘ).
        """
        is_power = form.kind == "power" and form.detail < 0 and form.detail.denominator == 1
        inside = form.parts[0] if is_power or form.kind == "log" else None
        if (
            inside is None
            or inside.kind != "sum"
            or {part.kind for part in inside.parts} != {"exp", "number"}
        ):
            return form
        exponential, number = sorted(inside.parts, key=lambda part: part.kind)
        (argument,) = exponential.parts
        if form.kind == "log" and number is not forms.ONE:
            return form
        definition = forms.power(inside, -1) if is_power else form
        name = forms.symbol(f"smooth {definition.serial}")
        if is_power:
            rest = forms.subtract(forms.ONE, forms.multiply(number, name))
            slope = forms.negative(forms.multiply(name, rest))
        else:
            opposite = forms.apply("exp", forms.negative(argument))
            slope = forms.power(forms.add(forms.ONE, opposite), -1)
        self.smooth[name] = definition, argument, slope
        return forms.power(name, -form.detail) if is_power else name

    def _in_order(self, roots: list[Form]) -> list[Form]:
        """All forms, each after its parts, and those with a name after their definition."""
        found: dict[Form, None] = {}
        for root in roots:
            for part in forms.in_order([root]):
                if part in self.smooth and part not in found:
                    found |= dict.fromkeys(self._in_order([self.smooth[part][0]]))
                found[part] = None
        return list(found)

    def _shared(self, roots: list[Form]) -> set[Form]:
        """The forms that several others use, unless they are quickly computed again."""
        parts = self._in_order(roots)
        uses = Counter(part for form in parts for part in set(form.parts))
        uses.update(roots)
        shared = set(self.smooth)
        for form in reversed(parts):
            if uses[form] < 2 or not form.parts:
                continue
            if form.kind == "power" or any(part.kind == "number" for part in form.parts[1:]):
                uses[form.parts[0]] += uses[form] - 1  # what it is computed from is shared
            elif len(forms.in_order([form])) > 3:
                shared.add(form)
        return shared

    def _expression(self, form: Form, lines: list[tuple[Any, Any]], room: int = ROOM) -> Any:
        """A form in SymPy; what would make its line too long gets a name."""
        if form in self.smooth and form not in self.names:
            definition, argument, _ = self.smooth[form]
            if definition.kind == "log":
                return self.sympy.Function("logaddexp")(0, self._in_sympy(argument))
            form = definition
        return self._fitted(self._in_sympy(form), lines, room)

    def _fitted(self, found: Any, lines: list[tuple[Any, Any]], room: int) -> Any:
        """An expression that fits into a line, after lines with names for parts of it."""
        while self._length(found) > room:
            symbol = self.sympy.Dummy("t99", real=True)
            part, shorter = self._divided(found, symbol, room)
            if shorter == found:  # it consists of long names
                break
            lines.append((symbol, self._fitted(part, lines, ROOM)))
            found = shorter
        return found

    def _in_sympy(self, form: Form) -> Any:
        return expression(form, reads=_as_written, known=dict(self.names))

    def _length(self, expression: Any) -> int:
        """The number of characters in a program."""
        return len(self._written(expression))

    def _divided(self, whole: Any, symbol: Any, room: int) -> tuple[Any, Any]:
        """A part of an expression that is too long, and the expression with a symbol for it."""
        parts = [p for p in self.sympy.preorder_traversal(whole) if self._length(p) > room]
        long = min(parts, key=self._length)  # its own parts are not too long
        largest = max(long.args, key=lambda p: self._length(p) if p.args else 0)
        if len(long.args) > 2 and self._length(largest) < room // 2:
            half = len(long.args) // 2
            largest = long.func(*long.args[:half])
            return largest, whole.xreplace({long: long.func(symbol, *long.args[half:])})
        if not largest.args:
            return largest, whole
        return largest, whole.xreplace({long: long.xreplace({largest: symbol})})


def _as_written(value: Fraction) -> Form | None:
    """The form of a number that a program computes, such as 2 π, if it gives the same double."""
    read = Readings()(value)
    if read is None or float(expression(read).evalf(20)) != float(value):
        return None
    return read


# ------------------------------------------------------------------------------- its source


def _docstring(form: Form, domain: list[Form], program: _Program) -> list[str]:
    arguments = program.arguments
    symbols = [program.names[forms.symbol(name)] for name in arguments]
    source = Source(dict(zip(symbols, arguments, strict=True)), [*symbols[1:], symbols[0]])
    names = dict(zip(map(forms.symbol, arguments), symbols, strict=True))

    def written(form: Form) -> str:
        return source(expression(form, reads=_as_written, known=dict(names))).replace("np.", "")

    if length([form]) > LONGEST_DOCSTRING:
        return [f'    """A formula of every number {arguments[0]}."""']
    where = " and ".join(f"{written(form)} > 0" for form in domain)
    text = f"y = {written(form)}, for every number {arguments[0]}{where and f' with {where}'}."
    if len(text) <= WIDTH - 10:
        return [f'    """{text}"""']
    wrapped = textwrap.wrap(
        text, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_long_words=False
    )
    return ['    """The formula', "", *wrapped, '    """']


def _source(
    name: str, arguments: dict[str, float], program: _Program, docstring: list[str]
) -> Iterator[str]:
    x, *parameters = arguments
    lines = [*program.forward, *program.backward]
    free = (f"t{n}" for n in itertools.count(1))
    names = {symbol: next(t for t in free if t not in arguments) for symbol, _ in lines}
    given = {program.names[forms.symbol(n)]: n for n in (x, *parameters, program.delta)}
    first, *own, delta = given
    source = Source(
        {**{s: given[s] for s in (first, *own)}, **names, delta: program.delta},
        [delta, *own, first, *names],
    )
    names |= given

    def written(symbol: Any, value: Any) -> str:
        return f"        {names[symbol]} = {source(value)}"

    def used(values: Iterable[Any]) -> set[str]:
        return {names[symbol] for value in values for symbol in value.free_symbols}

    def own_values(names: set[str]) -> Iterator[str]:
        taken = [name for name in parameters if name in names]
        line = f"        {', '.join(taken)} = {', '.join(f'self.{n}.value' for n in taken)}"
        if len(line) <= WIDTH:
            yield from [line] if taken else []
        else:
            yield from (f"        {name} = self.{name}.value" for name in taken)

    before = used([program.y, *(value for _, value in program.forward)])
    after = used([*program.slopes.values(), *(value for _, value in program.backward)])
    remembered = [n for n in (x, *(names[s] for s, _ in program.forward)) if n in after]
    yield from ["import numpy as np", "", "from chainrule import Layer", "", ""]
    yield from [f"class {name}(Layer):", *docstring, "", "    accepts_any_shape = True", ""]
    if parameters:
        yield "    def build(self, input_shape):"
        for n in parameters:
            yield f'        self.{n} = self.parameter("{n}", (), {arguments[n]!r})'
        yield ""
    yield f"    def forward(self, {x}):"
    yield from own_values(before)
    yield from (written(symbol, value) for symbol, value in program.forward)
    if remembered:
        yield f"        self.remembered = {', '.join(remembered)}"
    yield from [f"        return {source(program.y)}", ""]
    yield f"    def backward(self, {program.delta}):"
    yield from own_values(after)
    if remembered:
        yield f"        {', '.join(remembered)} = self.remembered"
    yield from (written(symbol, value) for symbol, value in program.backward)
    for n in parameters:
        yield f"        self.{n}.accumulate(np.sum({source(program.slopes[n])}))"
    yield from [f"        return {source(program.slopes[x])}", ""]
