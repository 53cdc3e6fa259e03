"""What a checkpoint holds of a run, and how a run resumes from it.

    snapshot   run → record, arrays      parameters, buffers, generators, optimizer, history, …
    compare    model, loss, optimizer, data and callbacks with those of the record
    apply      record, arrays → run      everything in the snapshot, restored

Everything is compared before anything is changed: with what the run was *started* with, in
``"made of"``. What has changed since then, such as the momentum or a field of a layer, is in
``"changed"`` and restored. Arrays in memory are compared completely, stored ones of more than 64 MB
by some of their rows, datasets of pairs by the first samples and the last one, loaders by their
first batch, both unless they are random, and callbacks by their classes and what they compare
themselves. Of iterators and of `make_batch`, only the number of batches is compared.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields, frozen, has

from chainrule.callbacks import Callback
from chainrule.checkpoints import Saved, decoded, encoded, invalid, warn_of_another_blas
from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError, shortened
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import set_state
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array
from chainrule.data.augmented_batches import AugmentedBatches
from chainrule.data.batches import ArrayBatches, Batches
from chainrule.data.class_weights import ClassWeights
from chainrule.data.iterated_batches import IteratedBatches
from chainrule.data.pair_batches import PairBatches
from chainrule.data.samples import Data, arrays_by_name, weights_by_name
from chainrule.data.stored_batches import StoredBatches
from chainrule.losses import PerOutput
from chainrule.optimizers import Optimizer
from chainrule.optimizers.chunked import ChunkedOptimizer
from chainrule.schedules import ReduceOnPlateau
from chainrule.storage.architecture import model_of, records_of
from chainrule.storage.arrays import arrays_for, arrays_of, resized
from chainrule.storage.classes import known_classes
from chainrule.storage.generators import (
    BIT_GENERATORS,
    bits_for,
    is_state,
    set_states,
    states_of,
)
from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.training.run import Run

COMPARED_ROWS = 256
"""About how many rows of large stored data are compared."""

COMPARED_BYTES = 2**26
"""Stored arrays up to this size are compared completely."""

BLOCKS = 16
"""In how many blocks of rows an array is compared, so that an error can say which rows differ."""

FIRST_SAMPLES = "the first samples and the last one of the dataset"
FIRST_BATCH = "the first batch of the loader"
"""What is compared of data that are read while the run goes on."""

PLAIN = (bool, int, float, str, type(None))
"""The types of plain attributes that a checkpoint holds."""


@frozen(eq=False)
class Resumption:
    """A checkpoint from which a run can resume: it has been compared, and nothing has changed yet.

    Attributes
    ----------
    saved
        The contents of the file.
    """

    saved: Saved

    @classmethod
    def of(cls, saved: Saved, run: Run, model: Layer) -> Resumption:
        """Compare a checkpoint with a run.

        Parameters
        ----------
        saved
            The contents of the file.
        run
            The run. Its batches move to the stored position; nothing else changes.
        model
            The model of the run, or a built copy if it is not built yet.

        Raises
        ------
        StorageError, ConfigurationError
            The checkpoint belongs to another model, other data or another kind of run; the error
            lists the differences.
        """
        place = str(saved.path)
        _require_the_same(saved, run)
        _require_arrays(saved, model)
        try:
            _require_generators(saved, run, model)
            _require_position(saved, run)
            _require_history(saved, run)
            _require_settings(saved, run, model)
            _states_of_callbacks(saved, run)
            run.batches.go_to(saved.record["position"]["batches"])
        except ChainruleError as error:
            error.place = f"{place}, {error.place}" if error.place else place
            raise
        except Exception as error:
            raise invalid(f"{type(error).__name__}: {error!s:.80}", place) from error
        warn_of_another_blas(saved)
        return cls(saved)

    @property
    def own_steps(self) -> int:
        """The number of steps by `Trainer.step` during the run."""
        return int(self.saved.record["position"].get("own_steps", 0))

    def restore_callbacks(self, run: Run) -> None:
        """Restore the state of each callback, which may raise an error."""
        for callback, state in _states_of_callbacks(self.saved, run):
            try:
                callback.restore(state)
            except ChainruleError:
                raise
            except Exception as error:
                raise invalid(
                    f"the state of a callback; {type(error).__name__}: {error!s:.80}",
                    f"{self.saved.path}, {type(callback).__name__}",
                ) from error

    def apply(self, run: Run) -> None:
        """Restore the state of the run, whose model is built."""
        record, arrays, trainer = self.saved.record, self.saved.arrays, run.trainer
        model = trainer.model
        _change(settings_of(run), self.saved)
        trainer.optimizer.restore(decoded(record["optimizer"], arrays))
        for layer, name, value in _changed_fields(self.saved, model):
            setattr(layer, name, value)
        for layer, name, value in _attributes_to_set(self.saved, model):
            layer.__dict__[name] = value
        for name, array in resized(model, _stored_in(arrays)).items():
            array[...] = arrays[f"model/{name}"]
        set_states(model, record["model"]["generators"])
        for path, parameter in parameters_of(model):
            parameter.trainable = path not in record["model"]["frozen"]
        position = record["position"]
        if position["batches"].get("rng") is not None:  # from which building has just spawned
            set_state(trainer.rng, position["batches"]["rng"])
        run.epochs_done, run.steps_done = position["epochs_done"], position["steps_done"]
        run.steps, run.samples = position["steps"], position["samples"]
        run.sums = run.columns.restored(position["sums"], position["samples"])
        run.history = History({n: arrays[f"history/{n}"].tolist() for n in record["history"]})


def snapshot(run: Run) -> tuple[dict[str, Any], dict[str, Array]]:
    """The state of a run: a record that can be written as JSON, and the arrays by name.

    Raises
    ------
    StorageError
        The state of a callback cannot be written into a file.
    """
    arrays: dict[str, Array] = {}
    trainer = run.trainer
    model = trainer.model
    _require_own_history(run)
    arrays |= {f"model/{name}": array for name, array in arrays_of(model).items()}
    arrays |= {f"history/{name}": np.array(run.history[name]) for name in run.history}
    record = {
        "made of": run.made_of,
        "model": {
            "generators": states_of(model),
            "frozen": _frozen(model),
            "attributes": encoded(_attributes_of(model), "attributes", arrays),
        },
        "changed": _changed(run, arrays),
        "position": {
            "epochs_done": run.epochs_done,
            "steps_done": run.steps_done,
            "steps": run.steps,
            "own_steps": trainer.steps - run.steps,
            "sums": [np.asarray(total).tolist() for total in run.sums],
            "samples": run.samples,
            "batches": run.batches.position(),
        },
        "history": list(run.history),
        "optimizer": encoded(trainer.optimizer.state(), "optimizer", arrays),
        "callbacks": [
            {
                "class": type(callback).__name__,
                "state": encoded(dict(callback.state()), f"callbacks/{number}", arrays),
            }
            for number, callback in enumerate(run.callbacks)
        ],
    }
    return record, arrays


def made_of(run: Run, model: Layer) -> dict[str, Any]:
    """What must be equal in the run that resumes, in the form that JSON gives it.

    The names are part of the file format: checkpoints with other names would not resume.
    """
    trainer = run.trainer
    described = {
        "the model's layers": records_of(model),
        "the model's type": str(model.dtype),
        "its rows": model.input_shapes,
        "frozen parameters": _frozen(model),
        "the loss": _text(trainer.loss),
        **_configured(trainer.optimizer),
        "columns": list(run.columns.names),
        "batches in an epoch": run.batches.steps,
        "batches in a step": run.accumulate,
        "class weights": _by_label(run.batches.class_weights),
        **_digests_of_data(run.batches),
        "validation data": bool(run.validation),
        **_digests_of_validation(run.validation),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def comparable(run: Run, model: Layer) -> dict[str, Any]:
    """What must be the same on all ranks that train a model together."""
    optimizer, arrays = run.trainer.optimizer, dict[str, Array]()
    try:
        described = run.made_of or made_of(run, model)
    except StorageError:  # a field of a layer that no file can hold
        described = {"the model": _text(model), **_digests_of_data(run.batches)}
    memory = encoded(optimizer.state(), "optimizer", arrays)
    return {
        **described,
        "the order of the data": run.batches.position(),
        "the optimizer's memory": _text(memory) + "".join(map(_text, arrays.values())),
    }


def parameters_of(model: Layer) -> Iterator[tuple[str, Parameter]]:
    """The parameters of a model with their paths."""
    vector = model.parameters
    return zip(vector.paths, vector, strict=True)


def settings_of(run: Run) -> dict[str, Any]:
    """The objects whose fields can be changed during a run, by name.

    Callbacks are numbered within their class, as `_states_of_callbacks` matches them.
    """
    loss = run.trainer.loss
    parts: dict[str, Any] = {"optimizer": run.trainer.optimizer, "loss": loss}
    if isinstance(loss, PerOutput):
        parts |= {f"loss {n}": one for n, one in enumerate(loss.for_each_output)}
    numbers: Counter[str] = Counter()
    for callback in run.callbacks:
        if not has(type(callback)):
            continue
        kind = type(callback).__name__
        numbers[kind] += 1
        part = f"{kind} {numbers[kind]}"
        parts[part] = callback
        own = {name: getattr(callback, name) for name in _fields(callback)}
        parts |= {f"{part}'s {n}": o for n, o in own.items() if isinstance(o, ReduceOnPlateau)}
    return parts


def texts_of(settings: Mapping[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """These objects, with their fields in a form that shows which of them change."""
    return {
        part: (thing, {name: _form(thing, getattr(thing, name)) for name in _fields(thing)})
        for part, thing in settings.items()
    }


def _fields(thing: Any) -> list[str]:
    """The configuration; without the learning rate, which is part of an optimizer's state."""
    names = [each.name for each in fields(type(thing)) if each.init]
    separate = {Optimizer: "learning_rate", PerOutput: "losses"}
    return [
        n for n in names if not any(isinstance(thing, k) and n == separate[k] for k in separate)
    ]


def _form(thing: Any, value: Any) -> Any:
    """A field as text; in a callback, an object that may collect something stands for itself."""
    is_plain = isinstance(value, (*PLAIN, tuple, np.generic))
    return _text(value) if is_plain or not isinstance(thing, Callback) else _Identity(value)


class _Identity:
    """Equal only to the same object, which it keeps alive."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._thing is self._thing

    __hash__ = None  # type: ignore[assignment]


def _text(value: Any) -> str:
    """The repr of a value, complete for an array, and without addresses in memory."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype} {_digest(value)}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _configured(optimizer: Optimizer) -> dict[str, str]:
    values = {f"the optimizer's {n}": _text(getattr(optimizer, n)) for n in _fields(optimizer)}
    return {"the optimizer": type(optimizer).__name__, **values}


def _frozen(model: Layer) -> list[str]:
    return [path for path, p in parameters_of(model) if not p.trainable]


# ------------------------------------------------------------------------------- what has changed


def _changed(run: Run, arrays: dict[str, Array]) -> dict[str, Any]:
    """The settings and the fields of layers that are not those with which the run was started."""
    trainer, before = run.trainer, run.settings
    found: dict[str, Any] = {}
    for part, (thing, texts) in texts_of(settings_of(run)).items():
        if thing is not before[part][0]:
            raise StorageError(
                f"the {part} was replaced during the run",
                expected=_text(before[part][0]),
                received=_text(thing),
                hint="change its fields instead, or replace it before fit is called",
            )
        different = [name for name, text in texts.items() if text != before[part][1][name]]
        for name in different:
            value = encoded(getattr(thing, name), f"{part}'s {name}", arrays)
            found.setdefault(part, {})[name] = value
    layers = json.loads(json.dumps(records_of(trainer.model)))
    if layers != run.made_of["the model's layers"]:
        found["layers"] = layers
    return found


def _change(settings: Mapping[str, Any], saved: Saved) -> None:
    """Give the fields of these objects the values that they had when the checkpoint was written."""
    for part, values in saved.record.get("changed", {}).items():
        is_of_callback = not part.startswith(("optimizer", "loss"))  # they may be fewer now
        if part == "layers" or (is_of_callback and part not in settings):
            continue
        for name, value in values.items():
            if name not in _fields(settings[part]):
                raise invalid(f"a field {name!r:.60} of the {part}")
            before = getattr(settings[part], name)
            new = decoded(value, saved.arrays)
            setattr(settings[part], name, tuple(new) if isinstance(before, tuple) else new)


def _changed_fields(saved: Saved, model: Layer) -> list[tuple[Layer, str, Any]]:
    """The fields of layers that were changed during the run: the layer, the name and the value."""
    records = saved.record.get("changed", {}).get("layers")
    if records is None:
        return []
    layers = _unique_layers(model)
    now = json.loads(json.dumps(records_of(model)))
    kinds = {type(layer) for layer in layers.values()}
    made = _unique_layers(model_of(records, known_classes(kinds)))
    if [type(layer) for layer in made.values()] != [type(layer) for layer in layers.values()]:
        raise invalid("layers that are not those of the model")
    trio = zip(layers.values(), made.values(), now, records, strict=True)
    return [
        (layer, name, getattr(changed, name))
        for layer, changed, old, new in trio
        for name in old["fields"]
        if old["fields"][name] != new["fields"].get(name, old["fields"][name])
    ]


def _attributes_of(model: Layer) -> dict[str, Any]:
    """The plain numbers and strings, by path, that layers keep besides their fields and arrays."""
    return {
        f"{path}.{name}": value
        for path, layer in _unique_layers(model).items()
        for name in sorted(layer._lasting)
        for value in [layer.__dict__.get(name)]
        if isinstance(value, np.generic) or type(value) in PLAIN
    }


def _attributes_to_set(saved: Saved, model: Layer) -> list[tuple[Layer, str, Any]]:
    """The attributes of layers that differ from those in the checkpoint, and their values there."""
    now, layers = _attributes_of(model), _unique_layers(model)
    found = []
    stored = saved.record["model"].get("attributes", {"dict": {}})
    for key, value in decoded(stored, saved.arrays).items():
        fits = key in now and type(value) in PLAIN
        before = now.get(key)
        if fits and before is not None and value is not None:
            plain = before.item() if isinstance(before, np.generic) else before
            fits = type(plain) is type(value)
            value = type(before)(value) if fits else value
        if not fits:
            raise invalid(f"the attribute {key!r:.60}, which the model lacks or has otherwise")
        if value != before or type(value) is not type(before):
            path, _, name = key.rpartition(".")
            found.append((layers[path], name, value))
    return found


def _unique_layers(model: Layer) -> dict[str, Layer]:
    """Each layer of a model once, by its first path."""
    found: dict[int, tuple[str, Layer]] = {}
    for path, layer in model.walk():
        found.setdefault(id(layer), (path, layer))
    return dict(found.values())


# ------------------------------------------------------------------------------- the data


def _digests_of_data(batches: Batches) -> dict[str, Any]:
    """Digests of data that are the same in every run, by the name of the array."""
    match batches:
        case ArrayBatches(data=data):
            return _digests(data.inputs, data.targets, data.sample_weights)
        case StoredBatches(inputs=inputs, targets=targets, sample_weights=weights):
            return _digests(inputs, targets, weights)
        case AugmentedBatches(given=given):
            return _digests_of_data(given)
        case IteratedBatches(iterable=list() | tuple() as given):
            return {"the list of batches": _digest_of_list(given)}
        case PairBatches():
            return {FIRST_SAMPLES: _digest_of(batches.data)}
        case IteratedBatches(iterable=given) if not isinstance(given, Iterator):
            return {FIRST_BATCH: _digest_of(batches.data)}
    return {}


def _digest_of(data: Data) -> str:
    """What some samples hold, as text."""
    named = arrays_by_name(data.inputs, data.targets, data.sample_weights)
    return _digest_of_list([tuple(named.values())])


def _differ_each_time(batches: Batches) -> bool:
    """Whether the samples that are compared would be others if they were read once more."""
    again = batches.read_again()
    return again is None or _digest_of(again) != _digest_of(batches.data)


def _by_label(weights: ClassWeights | None) -> str | None:
    """The weight of each class, for each output."""
    if weights is None:
        return None
    each = [
        None
        if own is None or own.labels is None
        else dict(zip(own.labels.tolist(), own.weights.tolist(), strict=True))
        for own in weights.each
    ]
    return str(each[0] if len(each) == 1 else each)


def _digest_of_list(batches: Sequence[Any]) -> str:
    """What a list of batches holds, as text."""
    digest = hashlib.blake2b(digest_size=4)
    for batch in batches:
        for part in (part for given in batch for part in as_tuple(given) if part is not None):
            array = np.ascontiguousarray(part)
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(array.tobytes())
    return f"{len(batches)}, digest {digest.hexdigest()}"


def _digests_of_validation(parts: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for number, data in enumerate(parts, start=1):
        prefix = "validation" if len(parts) == 1 else f"validation batch {number}:"
        found = _digests(data.inputs, data.targets, data.sample_weights)
        named |= {f"{prefix} {name}": digest for name, digest in found.items()}
    return named


def _digests(inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
    named = arrays_by_name(inputs, targets, weights)
    return {name: _digest_by_block(array) for name, array in named.items()}


def _digest_by_block(array: Any) -> dict[str, Any]:
    count, row = len(array), tuple(array.shape[1:])
    is_stored = not isinstance(array, np.ndarray)
    size = count * int(np.prod(row)) * array.dtype.itemsize
    limit = COMPARED_ROWS // BLOCKS if is_stored and size > COMPARED_BYTES else count
    edges = sorted({count * n // BLOCKS for n in range(BLOCKS + 1)})
    blocks = [_digest(_rows(array, a, min(b, a + limit))) for a, b in pairwise(edges)]
    return {"rows": f"{count} of {row}, {array.dtype}", "blocks": blocks}


def _rows(array: Any, start: int, stop: int) -> Array:
    rows = array.read([(start, stop)]) if hasattr(array, "read") else array[start:stop]
    return np.asarray(rows)


def _digest(array: Array) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=4).hexdigest()


def _digest_of_version_0_1(batches: Batches) -> str | None:
    """The digest of some rows in a checkpoint of chainrule 0.1."""
    if not isinstance(batches, ArrayBatches | StoredBatches):
        return None
    data = batches.data
    weights = weights_by_name("{}", data.sample_weights).values()
    digest = hashlib.sha256()
    for array in (*data.inputs, *data.targets, *weights):
        rows = np.ascontiguousarray(array[:: max(1, len(array) // COMPARED_ROWS)])
        digest.update(f"{len(array)} {array.shape} {array.dtype}".encode())
        digest.update(rows.tobytes())
    return digest.hexdigest()[:12]


# ------------------------------------------------------------------------------- comparison


def _require_the_same(saved: Saved, run: Run) -> None:
    before, now = saved.record["made of"], dict(run.made_of)
    if saved.run is None:  # chainrule 0.1 wrote less
        now = {name: value for name, value in now.items() if name in before}
        now["data, by some of its rows"] = _digest_of_version_0_1(run.batches)
    differences = [
        f"{name}: {_difference(before.get(name), now.get(name))}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
        and not (name in (FIRST_SAMPLES, FIRST_BATCH) and _differ_each_time(run.batches))
    ]
    if differences:
        raise StorageError(
            "the checkpoint belongs to a different run",
            place=str(saved.path),
            expected="the same model, loss, optimizer and data as when it was written",
            received="; ".join(differences),
            hint="call fit with the arguments of the run that wrote it, or use another folder",
        )


def _difference(before: Any, now: Any) -> str:
    """The first difference between two architectures or arrays, or the two values."""
    match before, now:
        case {"rows": rows, "blocks": list(old)}, {"rows": same, "blocks": list(new)}:
            if rows != same or len(old) != len(new):
                return f"was {rows!s:.60}, is now {same!s:.60}"
            return _changed_rows(old, new, int(str(same).partition(" ")[0]))
        case {"rows": rows}, None:
            return f"was {rows!s:.60}, is now not given"
        case None, {"rows": rows}:
            return f"was not given, is now {rows!s:.60}"
    if not (isinstance(before, list) and isinstance(now, list)):
        return f"was {shortened(before)}, is now {shortened(now)}"
    for old, new in zip(before, now, strict=False):
        if old == new:
            continue
        if not _are_records(old, new) or old["class"] != new["class"]:
            break
        fields = {**old["fields"], **new["fields"]}
        changed = [k for k in fields if old["fields"].get(k) != new["fields"].get(k)]
        if not changed:
            break
        name = changed[0]
        if '"layer"' in json.dumps(fields[name]):  # the list of layers below says more
            break
        pair = [_short(record["fields"].get(name)) for record in (old, new)]
        return f"{old['class']}.{name} was {pair[0]}, is now {pair[1]}"
    classes = [[r.get("class") if isinstance(r, dict) else r for r in rs] for rs in (before, now)]
    return f"was {classes[0]!s:.90}, is now {classes[1]!s:.90}"


def _are_records(*given: Any) -> bool:
    return all(
        isinstance(r, dict) and "class" in r and isinstance(r.get("fields"), dict) for r in given
    )


def _changed_rows(old: list[Any], new: list[Any], count: int) -> str:
    """In which rows an array differs."""
    edges = sorted({count * n // BLOCKS for n in range(BLOCKS + 1)})
    changed = [span for span, a, b in zip(pairwise(edges), old, new, strict=True) if a != b]
    where = ", ".join(f"{a} to {b - 1}" if b - a > 1 else f"{a}" for a, b in changed[:3])
    more = f" and {len(changed) - 3} more blocks" if len(changed) > 3 else ""
    return f"changed in rows {where}{more}, of {count}"


def _short(value: Any) -> str:
    """A field in readable form: an object by its class."""
    match value:
        case {"function": name} | {"initializer": name}:
            return str(name)
        case {"tuple": items}:
            return f"{tuple(items)}"
    return f"{shortened(value)}"


def _states_of_callbacks(saved: Saved, run: Run) -> list[tuple[Any, dict[str, Any]]]:
    """The callbacks of the run that have a stored state, each with that state.

    Callbacks are matched by class, and within a class by their order.
    """
    unmatched = list(run.callbacks)
    found = []
    for record in saved.record["callbacks"]:
        same = [callback for callback in unmatched if type(callback).__name__ == record["class"]]
        state = decoded(record["state"], saved.arrays)
        if not isinstance(state, dict):
            raise invalid(f"the state {state!r:.60} of {record['class']}")
        if same:
            unmatched = [callback for callback in unmatched if callback is not same[0]]
            if state:
                found.append((same[0], state))
        elif state:
            raise ConfigurationError(
                f"the run that wrote the checkpoint had a callback {record['class']}",
                expected=f"{record['class']}, which resumes from its stored state",
                received=f"callbacks={shortened(run.callbacks, 90)}",
                hint="call fit with the same callbacks; extra callbacks are allowed",
            )
    return found


def _require_arrays(saved: Saved, model: Layer) -> None:
    """Raise an error unless the model's arrays are there, with the right shapes and dtypes."""
    stored = _stored_in(saved.arrays)
    for name, array in arrays_for(model, stored).items():
        held = stored.get(name)
        if held is None or held.shape != array.shape or held.dtype != array.dtype:
            raise StorageError(
                "an array in the checkpoint does not fit the model",
                place=f"{saved.path}, {name}",
                expected=f"{array.shape}, {array.dtype}",
                received="none" if held is None else f"{held.shape}, {held.dtype}",
            )


def _stored_in(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of the model in a checkpoint, by the names that they have in its own file."""
    own = "model/"
    return {n.removeprefix(own): array for n, array in arrays.items() if n.startswith(own)}


def _require_generators(saved: Saved, run: Run, model: Layer) -> None:
    """Raise an error unless there is a state of the right kind for each generator."""
    states = saved.record["model"]["generators"]
    bits_for(states)
    if set(states) != set(model.generators):
        raise invalid(f"generators of {sorted(states)!s:.60}")
    own = run.trainer.model if run.trainer.model.is_built else None
    for path, state in states.items():
        generator = run.trainer.rng if own is None else own.generators[path]
        _require_kind(generator, state, path)
    position = saved.record["position"]["batches"]
    for name in ("rng", "order", "first"):
        if position.get(name) is not None:
            _require_kind(run.trainer.rng, position[name], name)


def _require_kind(generator: np.random.Generator, state: Any, place: str) -> None:
    kind = type(generator.bit_generator)
    if kind in BIT_GENERATORS and not is_state(kind, state):
        raise invalid(f"a state of another kind than {kind.__name__}", place)


def _require_position(saved: Saved, run: Run) -> None:
    """Raise an error unless the run can be at the stored position."""
    position = saved.record["position"]
    used = position["batches"].get("used", 0)
    if (
        len(position["sums"]) != len(run.sums)
        or position["steps_done"] > run.steps_per_epoch
        or position["steps"] < position["steps_done"]
        or (position["steps_done"] > 0) is not (position["samples"] > 0)
        or not _is_count(position.get("own_steps", 0))
        or not _is_count(position["batches"].get("seed") or 0)
        or type(used) is not int
        or not 0 <= used <= (position["epochs_done"] + 1) * run.batches.steps
    ):
        raise invalid("a position that is impossible in this run")
    sums = run.columns.restored(position["sums"], position["samples"])
    run.columns.averages(sums, max(position["samples"], 1))


def _require_own_history(run: Run) -> None:
    """Raise an error if something else than the run has added numbers to its history."""
    lengths = {name: len(column) for name, column in run.history.items()}
    wrong = {name: n for name, n in lengths.items() if n != run.epochs_done}
    if wrong:
        raise StorageError(
            "the history was changed during the run",
            place="trainer.history",
            expected=f"one number for each of {run.epochs_done} epochs in every column",
            received=", ".join(f"{name}: {n}" for name, n in wrong.items()),
            hint="figures of a callback adds columns: see callbacks.Callback",
        )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _require_history(saved: Saved, run: Run) -> None:
    """Raise an error unless the history has the columns of the run."""
    names = saved.record["history"]
    missing = [name for name in run.measured if name not in names]
    if (names or saved.record["position"]["epochs_done"]) and missing:
        raise invalid(f"a history without {missing[0]!r:.60}")


def _require_settings(saved: Saved, run: Run, model: Layer) -> None:
    """Raise an error unless optimizer, loss and layers can be what they were; try it on copies."""
    changed_parts = {"optimizer", *saved.record.get("changed", {})}
    now = settings_of(run).items()
    trial = {
        part: copy.deepcopy(thing) if part == "optimizer" else copy.copy(thing)
        for part, thing in now
        if part in changed_parts
    }
    _change(trial, saved)
    optimizer, vector = trial["optimizer"], model.parameters
    optimizer.restore(decoded(saved.record["optimizer"], saved.arrays))
    if isinstance(optimizer, ChunkedOptimizer):
        memory = [getattr(optimizer, name) for name in optimizer._remembered()]
        optimizer.check(vector.value, vector.grad, *memory)
    unknown = [path for path in saved.record["model"]["frozen"] if path not in vector.paths]
    if unknown:
        raise invalid(f"a frozen parameter {unknown[0]!r:.60}, which the model lacks")
    changed = _changed_fields(saved, model)
    attributes = _attributes_to_set(saved, model)
    if changed or attributes:
        _try_changes(model, changed, attributes)


def _try_changes(
    model: Layer, changed: list[tuple[Layer, str, Any]], attributes: list[tuple[Layer, str, Any]]
) -> None:
    """Raise an error if a copy of the model fails with these fields and attributes."""
    number = {id(layer): n for n, layer in enumerate(_unique_layers(model).values())}
    copied = copy.deepcopy(model)
    layers = list(_unique_layers(copied).values())
    for layer, name, value in changed:
        setattr(layers[number[id(layer)]], name, value)
    for layer, name, value in attributes:
        layers[number[id(layer)]].__dict__[name] = value
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            copied.forward(*[np.zeros((2, *row), model.dtype) for row in model.input_shapes])
    except Exception as error:
        names = ", ".join(
            f"{type(layer).__name__}.{name}" for layer, name, _ in [*changed, *attributes]
        )
        raise invalid(f"values with which the model fails, {names:.80}: {error!s:.80}") from error
