"""What a checkpoint holds of a run, and how a run resumes from it.

    snapshot   run → record, arrays      parameters, buffers, generators, optimizer, history, …
    compare    model, loss, optimizer, data and callbacks with those of the record
    apply      record, arrays → run      everything in the snapshot, restored

Everything is compared before anything is changed. Of the data, some rows are compared, and of the
callbacks their classes: a full comparison would cost more than it is worth.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields, frozen

from chainrule.checkpoints import Saved, decoded, encoded, invalid
from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError, shortened
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array
from chainrule.data.batches import ArrayBatches, Batches
from chainrule.data.samples import weights_by_name
from chainrule.data.stored_batches import StoredBatches
from chainrule.optimizers import Optimizer
from chainrule.storage.architecture import records_of
from chainrule.storage.arrays import arrays_of
from chainrule.storage.generators import bits_for, set_states, states_of
from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.training.run import Run

COMPARED_ROWS = 256
"""About how many rows of the data are compared."""


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
        record, arrays = saved.record, saved.arrays
        _require_the_same(saved, run, model)
        _require_arrays(saved, model)
        bits_for(record["model"]["generators"])  # raises if one is not the state of a generator
        position = record["position"]
        if len(position["sums"]) != len(run.sums) or position["steps_done"] > run.steps_per_epoch:
            raise invalid("a position that is impossible in this run", str(saved.path))
        try:
            sums = run.columns.restored(position["sums"], position["samples"])
            run.columns.averages(sums, max(position["samples"], 1))
            run.batches.go_to(position["batches"])
            copy.deepcopy(run.trainer.optimizer).restore(decoded(record["optimizer"], arrays))
        except ChainruleError as error:
            error.place = f"{saved.path}, {error.place}" if error.place else str(saved.path)
            raise
        except Exception as error:  # not a state of this kind of batches
            raise invalid(f"{type(error).__name__}: {error!s:.80}", str(saved.path)) from error
        return cls(saved)

    def restore_callbacks(self, run: Run) -> None:
        """Restore the state of each callback, which may raise an error."""
        for callback, state in _states_of_callbacks(self.saved, run):
            callback.restore(state)

    def apply(self, run: Run) -> None:
        """Restore the state of the run, whose model is built."""
        record, arrays, trainer = self.saved.record, self.saved.arrays, run.trainer
        model = trainer.model
        trainer.optimizer.restore(decoded(record["optimizer"], arrays))
        for name, array in arrays_of(model).items():
            array[...] = arrays[f"model/{name}"]
        set_states(model, record["model"]["generators"])
        for path, parameter in parameters_of(model):
            parameter.trainable = path not in record["model"]["frozen"]
        position = record["position"]
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
    arrays |= {f"model/{name}": array for name, array in arrays_of(model).items()}
    arrays |= {f"history/{name}": np.array(run.history[name]) for name in run.history}
    record = {
        "made of": run.made_of,
        "model": {
            "generators": states_of(model),
            "frozen": [path for path, p in parameters_of(model) if not p.trainable],
        },
        "position": {
            "epochs_done": run.epochs_done,
            "steps_done": run.steps_done,
            "steps": run.steps,
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
        "the loss": repr(trainer.loss),
        **_configured(trainer.optimizer),
        "columns": list(run.columns.names),
        "batches in an epoch": run.batches.steps,
        "batches in a step": run.accumulate,
        "validation data": run.validation is not None,
        "data, by some of its rows": _digest_of(run.batches),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def parameters_of(model: Layer) -> Iterator[tuple[str, Parameter]]:
    """The parameters of a model with their paths."""
    vector = model.parameters
    return zip(vector.paths, vector, strict=True)


def _configured(optimizer: Optimizer) -> dict[str, str]:
    """The configuration of an optimizer, without the learning rate, which is part of its state."""
    names = [each.name for each in fields(type(optimizer)) if each.init]
    values = {f"the optimizer's {n}": repr(getattr(optimizer, n)) for n in names}
    del values["the optimizer's learning_rate"]
    return {"the optimizer": type(optimizer).__name__, **values}


def _digest_of(batches: Batches) -> str | None:
    """A digest of some rows, for data that are the same in every run; otherwise None."""
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


def _require_the_same(saved: Saved, run: Run, model: Layer) -> None:
    before, now = saved.record["made of"], made_of(run, model)
    differences = [
        f"{name}: {_difference(before.get(name), now.get(name))}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
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
    """The first difference between two architectures, or the two values."""
    if not (isinstance(before, list) and isinstance(now, list)):
        return f"was {shortened(before)}, is now {shortened(now)}"
    for old, new in zip(before, now, strict=False):
        if old == new:
            continue
        if not isinstance(old, dict) or old["class"] != new["class"]:
            break
        fields = {**old["fields"], **new["fields"]}
        name = next(k for k in fields if old["fields"].get(k) != new["fields"].get(k))
        if '"layer"' in json.dumps(fields[name]):  # the list of layers below says more
            break
        pair = [_short(record["fields"].get(name)) for record in (old, new)]
        return f"{old['class']}.{name} was {pair[0]}, is now {pair[1]}"
    classes = [[r["class"] if isinstance(r, dict) else r for r in rs] for rs in (before, now)]
    return f"was {classes[0]!s:.90}, is now {classes[1]!s:.90}"


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
        if same:
            unmatched.remove(same[0])
            if state:
                found.append((same[0], state))
        elif state:
            raise ConfigurationError(
                f"the run that wrote the checkpoint had a callback {record['class']}",
                place=str(saved.path),
                expected=f"{record['class']}, which resumes from its stored state",
                received=f"callbacks={shortened(run.callbacks, 90)}",
                hint="call fit with the same callbacks; extra callbacks are allowed",
            )
    return found


def _require_arrays(saved: Saved, model: Layer) -> None:
    """Raise an error unless the model's arrays are there, with the right shapes and dtypes."""
    for name, array in arrays_of(model).items():
        held = saved.arrays.get(f"model/{name}")
        if held is None or held.shape != array.shape or held.dtype != array.dtype:
            raise StorageError(
                "an array in the checkpoint does not fit the model",
                place=f"{saved.path}, {name}",
                expected=f"{array.shape}, {array.dtype}",
                received="none" if held is None else f"{held.shape}, {held.dtype}",
            )
