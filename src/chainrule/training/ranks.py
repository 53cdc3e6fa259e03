"""Ranks: several processes, on one machine or on many, that train one model together.

Each rank, as MPI calls a process, has the whole model and computes part of the rows of every
batch B. The gradient of the whole batch is a sum over the ranks r,

    ∂C/∂θ = (1/|B|) Σ_r |B_r| ∂C_r/∂θ        one Allreduce of the flat vector

so all ranks take the same step, and their parameters stay equal to the last bit.

Ranks must never wait for each other forever. Every exchange therefore begins with the same short
message, a few numbers summed over all ranks:

    head    whether a rank has failed, whether one wants to stop, costs and other sums of the step

A rank that fails anywhere sends a head that says so. The others then raise an error, whichever
exchange they were about to make: see `SeveralRanks.together`.

A communicator is used only through its methods, so this module does not need mpi4py. A single
process has `Ranks`, in which all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np

from chainrule.core import errors, whole_batch
from chainrule.core.errors import ChainruleError, ConfigurationError, RankError, described
from chainrule.core.layer import Layer
from chainrule.core.layer_state import set_state, state_of
from chainrule.core.types import Array
from chainrule.data.part import WHOLE, Part

T = TypeVar("T")

HEAD = 64
"""How many numbers each exchange begins with: 512 bytes take no longer than one."""

NONE: Array = np.zeros(0)
"""No numbers."""

NEEDED = ("Get_rank", "Get_size", "Is_inter", "Allreduce", "Bcast", "allgather", "bcast", "gather")
"""The methods of a communicator that are used."""


class Ranks:
    """One process by itself."""

    part: Part = WHOLE
    leads = True
    """Whether it is rank 0, which calls the callbacks and writes all files."""
    is_divided = False
    """Whether there are several ranks."""

    def __repr__(self) -> str:
        return "one process"

    def together(self) -> AbstractContextManager[None]:
        """Within the context, an error on one rank becomes an error on all."""
        return nullcontext()

    def attended(
        self,
        wish: Callable[[], str | None],
        held: Callable[[], AbstractContextManager[None]],
        carry: Callable[[], Any],
    ) -> AbstractContextManager[None]:
        """During a run: why this rank wants to stop it; a context without Ctrl-C; `carried`."""
        return nullcontext()

    def carried(self, own: T) -> list[T]:
        """On rank 0, after a failure: what ``carry`` of each rank has returned."""
        return [own]

    def stop_reason(self, wish: str | None) -> str | None:
        """Why all ranks stop after the current step; None if they do not."""
        return wish

    def step(self, generators: Iterable[np.random.Generator]) -> AbstractContextManager[None]:
        """The context of a step of the optimizer, in which layers draw from these generators."""
        return nullcontext()

    def summed(self, numbers: Array, vector: Array | None = None) -> Array:
        """The sum over all ranks of some numbers; a vector is replaced by its sum."""
        return numbers

    def lead(self, function: Callable[[], T]) -> T:
        """What a function returns on rank 0, where alone it is called."""
        return function()

    def led(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a function on this rank alone, in which no rank can wait for another."""
        return function(*given)

    def gathered(self, thing: T) -> list[T] | None:
        """The things of all ranks on rank 0, and None on the others."""
        return [thing]

    def share(self, model: Layer) -> None:
        """Give all ranks the parameters, buffers and generators of rank 0."""

    def share_generator(self, generator: np.random.Generator) -> None:
        """Give all ranks the state of a generator on rank 0."""

    def require_same(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raise an error on all ranks unless they train the same model on the same data."""

    def require_equal(self, model: Layer) -> None:
        """Raise an error on all ranks unless their parameters and buffers are equal."""

    def require_divisible(self, model: Layer) -> None:
        """Raise an error for a layer that cannot be trained on parts of a batch."""


class SeveralRanks(Ranks):
    """One of several processes.

    Parameters
    ----------
    communicator
        The communicator of mpi4py, such as ``MPI.COMM_WORLD``.
    """

    is_divided = True

    def __init__(self, communicator: Any) -> None:
        self._all = communicator
        self.part = Part(communicator.Get_rank(), communicator.Get_size())
        self.leads = self.part.rank == 0
        self._carry: Callable[[], Any] = lambda: None
        self._carried: list[Any] = []
        self._head = np.zeros(HEAD)
        self._has_failed = False  # in an exchange, and `together` has not seen it yet
        self._is_led = False  # while a function runs on this rank alone
        self._reason: str | None = None
        self._wish: Callable[[], str | None] = lambda: None
        self._held: Callable[[], AbstractContextManager[None]] = nullcontext

    def __deepcopy__(self, memo: dict[int, Any]) -> SeveralRanks:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Ranks, ()  # the communicator belongs to this process

    def __repr__(self) -> str:
        return f"rank {self.part.rank} of {self.part.size}"

    # ---------------------------------------------------------------- exchanges

    def summed(self, numbers: Array, vector: Array | None = None) -> Array:
        """The sum over all ranks of some numbers, in float64; the beginning of every exchange.

        Parameters
        ----------
        numbers
            The numbers, of the same shape on all ranks.
        vector
            The gradient, which is replaced by its sum.

        Raises
        ------
        RankError, NonFiniteError, …
            Another rank has failed. An error of chainrule is raised again as it is.
        """
        self._require_not_led()
        flat = np.ravel(numbers)
        first, rest = flat[: HEAD - 2], np.array(flat[HEAD - 2 :], float)
        wish = self._wish() if self._reason is None else None
        with self._held():
            head = self._exchanged_head(0.0, float(wish is not None), first)
            if head[0]:
                self._has_failed = True
                raise self._failure(None) or RankError("another rank has failed")
            if head[1]:
                wishes = self._all.allgather(wish)
                self._reason = next(each for each in wishes if each is not None)
            if rest.size:
                self._all.Allreduce(None, rest)
            if vector is not None:
                self._all.Allreduce(None, vector)  # None: in place
        return np.reshape(np.concatenate([head[2 : 2 + first.size], rest]), np.shape(numbers))

    def lead(self, function: Callable[[], T]) -> T:
        """What a function returns on rank 0, where alone it is called."""
        found = self.led(function) if self.leads else None
        with self._held():
            self.summed(NONE)
            shared: T = self._all.bcast(found, root=0)
        return shared

    def led(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a function on this rank alone; an exchange in it is an error."""
        before, self._is_led = self._is_led, True
        try:
            return function(*given)
        finally:
            self._is_led = before

    def gathered(self, thing: T) -> list[T] | None:
        """The things of all ranks on rank 0, and None on the others."""
        with self._held():
            self.summed(NONE)
            found: list[T] | None = self._all.gather(thing, root=0)
        return found

    def _exchanged_head(self, failed: float, wants: float, numbers: Array) -> Array:
        head = self._head
        head[:] = 0
        head[:2] = failed, wants
        head[2 : 2 + len(numbers)] = numbers
        self._all.Allreduce(None, head)
        return head

    def _require_not_led(self) -> None:
        if self._is_led:
            raise ConfigurationError(
                "only rank 0 calls the callbacks, so no callback can train on all ranks",
                expected="a trainer without ranks, or a step outside of callbacks",
                received="a training on several ranks, in a callback",
                hint="Trainer(model, loss, optimizer) without ranks=",
            )

    # ---------------------------------------------------------------- errors

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the context, an error on one rank becomes an error on all.

        All ranks leave the context together. Contexts can be nested.
        """
        try:
            yield
            self.summed(NONE)
        except BaseException as error:
            if self._has_failed:
                self._has_failed = False  # all know
            elif not self._is_led:
                with self._held():
                    self._exchanged_head(1.0, 0.0, NONE)
                    self._failure(error)
            raise

    def _failure(self, own: BaseException | None) -> BaseException | None:
        """Exchange what has failed; returns the error for a rank that has not failed itself."""
        reports = self._all.allgather(None if own is None else _report(own))
        self._carried = self._all.gather(self._carry(), root=0) or []
        failed = [rank for rank, report in enumerate(reports) if report is not None]
        if own is None:
            return _error_of(reports[failed[0]], f"rank {failed[0]} of {self.part.size}")
        is_everywhere = len(failed) == self.part.size and len({*map(str, reports)}) == 1
        if not is_everywhere:
            _note_rank(own, repr(self))
        return None

    # ---------------------------------------------------------------- stopping

    @contextmanager
    def attended(
        self,
        wish: Callable[[], str | None],
        held: Callable[[], AbstractContextManager[None]],
        carry: Callable[[], Any],
    ) -> Iterator[None]:
        """During a run: why this rank wants to stop it; a context without Ctrl-C; `carried`."""
        before = self._wish, self._held, self._carry
        self._wish, self._held, self._carry, self._reason = wish, held, carry, None
        try:
            yield
        finally:
            self._wish, self._held, self._carry = before

    def carried(self, own: T) -> list[T]:
        """On rank 0, after a failure: what ``carry`` of each rank has returned; else nothing."""
        return self._carried

    def stop_reason(self, wish: str | None) -> str | None:
        """Why all ranks stop, as they have agreed in the last exchange, or will in the next one."""
        return wish if self._reason is None and self._is_led else self._reason

    # ---------------------------------------------------------------- what all have in common

    @contextmanager
    def step(self, generators: Iterable[np.random.Generator]) -> Iterator[None]:
        """The context of a step: sums over the whole batch, and random numbers of this rank.

        The generators are in the same state on all ranks, before and after. Each gives a seed, and
        the rank draws from the stream number ``rank`` of that seed, ``[seed, rank]``. So a
        checkpoint has nothing that belongs to one rank, and can be resumed on any number of them.
        """
        states = []
        try:
            for generator in {id(each): each for each in generators}.values():
                seed, bits = int(generator.integers(2**63)), generator.bit_generator
                states.append((bits, bits.state))
                bits.state = type(bits)([seed, self.part.rank]).state
            with whole_batch.divided(self.summed):
                yield
        finally:
            for bits, state in states:
                bits.state = state

    def share(self, model: Layer) -> None:
        """Give all ranks the parameters, buffers and generators of rank 0."""
        generators = list(model.generators.values())
        vectors = [model.parameters.value, model.buffers.fixed.value]
        with self._held():
            states = self.lead(lambda: list(map(state_of, generators)))
            for vector in vectors:
                if vector.size:
                    self._all.Bcast(vector, root=0)
        for generator, state in zip(generators, states, strict=True):
            set_state(generator, state)

    def share_generator(self, generator: np.random.Generator) -> None:
        """Give all ranks the state of a generator on rank 0."""
        state = self.lead(lambda: state_of(generator))
        kind = type(generator.bit_generator).__name__
        if state["bit_generator"] != kind:
            raise RankError(
                "the generators of the ranks are of different kinds",
                place="Trainer, rng",
                expected=f"{state['bit_generator']}, as on rank 0",
                received=kind,
                hint="rng=0, the same seed on all ranks",
            )
        set_state(generator, state)

    def require_same(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raise an error on all ranks unless what they describe is the same.

        Raises
        ------
        RankError
            It lists what differs from rank 0.
        """
        import hashlib
        import json

        own = dict(describe())
        text = json.dumps(own, sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        with self._held():
            self.summed(NONE)
            if len({*self._all.allgather(digest)}) == 1:
                return
            first = self._all.bcast(own, root=0)
            texts = [
                f"{name}: {_short(own.get(name))}, but {_short(first.get(name))} on rank 0"
                for name in {**first, **own}
                if own.get(name) != first.get(name)
            ]
            of_ranks = enumerate(self._all.allgather(texts))
        raise RankError(
            "the ranks do not train the same model on the same data",
            place="Trainer.fit",
            expected="the same model, loss, optimizer, data and arguments on all ranks; each takes "
            "its rows of every batch itself",
            received="; ".join(f"rank {rank}: {'; '.join(t)}" for rank, t in of_ranks if t)[:600],
            hint="build everything from the same numbers, and give every rank all the data",
        )

    def require_equal(self, model: Layer) -> None:
        """Raise an error on all ranks unless their parameters and buffers are equal."""
        import zlib

        vectors = {"the parameters": model.parameters.value}
        vectors |= {path: model.buffers[path].value for path in model.buffers.paths}
        digests = np.array([float(zlib.crc32(v.tobytes())) for v in vectors.values()])
        total = self.summed(digests)
        different = [
            name
            for name, own, every in zip(vectors, digests, total, strict=True)
            if every != self.part.size * own
        ]
        if different:
            raise RankError(
                f"{different[0]} of the ranks have become different",
                expected="the same numbers on all ranks, to the last bit",
                received=f"other numbers on {self!r} than on the average",
                hint="a layer whose forward changes a buffer sees only the rows of its rank: train "
                "it in one process"
                if different[0] in model.buffers.paths
                else "are the machines of the same kind, with the same NumPy?",
            )

    def require_divisible(self, model: Layer) -> None:
        """Raise an error for a layer that cannot be trained on parts of a batch."""
        from chainrule.layers.normalization import BatchNorm

        for path, layer in model.walk():
            place = path or type(layer).__name__
            if layer.couples_batch and not isinstance(layer, BatchNorm):
                raise ConfigurationError(
                    "a layer whose rows affect each other cannot be trained on several ranks",
                    place=place,
                    expected="layers whose rows do not affect each other, or BatchNorm, which"
                    " exchanges its statistics",
                    received=f"{type(layer).__name__}.couples_batch is True",
                    hint="leave out ranks, or normalize each row by itself: LayerNorm()",
                )
            if any(buffer.open_shape is not None for buffer in layer._buffers.values()):
                raise ConfigurationError(
                    "a layer that carries a state from batch to batch cannot be trained on several"
                    " ranks",
                    place=place,
                    expected="stateful=False",
                    received=f"{layer!r:.80}",
                    hint="leave out ranks, or give whole sequences",
                )


def as_ranks(given: Any) -> Ranks:
    """The ranks of a communicator; one process by itself for None or a communicator of one.

    Raises
    ------
    ConfigurationError
        It is not a communicator.
    """
    if given is None:
        return Ranks()
    if isinstance(given, Ranks):
        return given
    is_one = all(callable(getattr(given, name, None)) for name in NEEDED)
    # a communicator that is null, which MPI also gives for one that was freed, is false
    if not is_one or isinstance(given, type) or not given or given.Is_inter():
        raise ConfigurationError(
            "Trainer: ranks is not a communicator of mpi4py",
            expected="ranks=MPI.COMM_WORLD, or another intracommunicator",
            received=described(given),
            hint="from mpi4py import MPI, which the extra `mpi` installs: "
            "pip install 'chainrule[mpi]'; Trainer(…, ranks=MPI.COMM_WORLD)",
        )
    return SeveralRanks(given) if given.Get_size() > 1 else Ranks()


# ------------------------------------------------------------------------------- errors as text

_Report = dict[str, Any]


def _report(error: BaseException) -> _Report:
    """What the other ranks learn of an error: text alone."""
    names = ("problem", "place", "expected", "received", "hint")
    own = {n: getattr(error, n) for n in names} if isinstance(error, ChainruleError) else {}
    fields = {n: value if value is None else str(value) for n, value in own.items()}
    lines = [str(error), *getattr(error, "__notes__", ())]
    return {"kind": type(error).__name__, "fields": fields, "text": "; ".join(lines)[:600]}


def _error_of(report: _Report, rank: str) -> BaseException:
    """The error that a rank raises because another one has failed."""
    if report["kind"] == "KeyboardInterrupt":
        interrupt = KeyboardInterrupt(f"on {rank}")
        vars(interrupt)["_has_rank"] = True
        return interrupt
    kind, fields = getattr(errors, report["kind"], None), dict(report["fields"])
    if not fields or not (isinstance(kind, type) and issubclass(kind, ChainruleError)):
        kind = RankError
        fields = fields or {
            "problem": f"{rank} has failed: {report['kind']}",
            "expected": "no error on any rank",
            "received": f"{report['kind']}: {report['text']}",
            "hint": "that rank has the traceback",
        }
    error = kind(fields.pop("problem"), **fields)
    if report["fields"]:
        _note_rank(error, rank)
    error.is_located = True
    vars(error)["_has_rank"] = True
    return error


def _note_rank(error: BaseException, rank: str) -> None:
    """Add to an error where it occurred, once."""
    if getattr(error, "_has_rank", False):
        return
    if isinstance(error, ChainruleError):
        error.place = f"{rank}, {error.place}" if error.place else rank
    else:
        error.add_note(f"on {rank}")
    error._has_rank = True  # type: ignore[attr-defined]


def _short(value: Any) -> str:
    """A setting as an error shows it; of data, the number and the kind of their rows."""
    import hashlib

    match value:
        case {"rows": rows, "blocks": list(blocks)}:
            digest = hashlib.blake2b("".join(blocks).encode(), digest_size=4).hexdigest()
            return f"{rows}, digest {digest}"
    return f"{value!s:.90}"
