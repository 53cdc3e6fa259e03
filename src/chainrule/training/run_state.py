"""What a checkpoint holds of a run, and how a run resumes from it.

    snapshot   run → record, arrays      parameters, buffers, generators, optimizer, history, …
    compare    model, loss, optimizer, data and callbacks with those of the record
    apply      record, arrays → run      everything of the snapshot, back in its place

Everything is compared before anything is changed. Data are compared by some of their rows,
callbacks by their classes: comparing more would cost more than it tells.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields, frozen

from chainrule.checkpoints import Saved, decoded, encoded, unsound
from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array
from chainrule.data.batches import ArrayBatches, Batches
from chainrule.data.stored_batches import StoredBatches
from chainrule.optimizers import Optimizer
from chainrule.storage.architecture import records_of
from chainrule.storage.arrays import arrays_of
from chainrule.storage.generators import bits_for, set_states, states_of
from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.training.run import Run

LOOKED_AT = 256
"""Of how many rows the data are known again."""


@frozen(eq=False)
class Resumption:
    """A checkpoint that a run can go on from: all of it was compared, and nothing has changed yet.

    Attributes
    ----------
    saved
        What stands in the file.
    """

    saved: Saved

    @classmethod
    def of(cls, saved: Saved, run: Run, model: Layer) -> Resumption:
        """Compare a checkpoint with a run.

        Parameters
        ----------
        saved
            What stands in the file.
        run
            Its batches are brought to where they were; nothing else is changed.
        model
            That of the run, or a trial of it where it is not built yet.

        Raises
        ------
        StorageError, ConfigurationError
            It is one of another model, of other data, or of another kind of run; what differs is
            listed.
        """
        record, arrays = saved.record, saved.arrays
        _require_the_same(saved, run, model)
        _require_arrays(saved, model)
        bits_for(record["model"]["generators"])  # which refuses what is no state of a generator
        position = record["position"]
        if len(position["sums"]) != len(run.sums) or position["steps_done"] > run.steps_per_epoch:
            raise unsound("a position that the run cannot have", str(saved.path))
        try:
            run.batches.go_to(position["batches"])
            copy.deepcopy(run.trainer.optimizer).restore(decoded(record["optimizer"], arrays))
        except ChainruleError as error:
            error.place = f"{saved.path}, {error.place}" if error.place else str(saved.path)
            raise
        except Exception as error:  # a state that is none of this kind of batches
            raise unsound(f"{type(error).__name__}: {error!s:.80}", str(saved.path)) from error
        return cls(saved)

    def restore_callbacks(self, run: Run) -> None:
        """Give each callback what it remembered; one that refuses it says so."""
        for callback, state in _states_of_callbacks(self.saved, run):
            callback.restore(state)

    def apply(self, run: Run) -> None:
        """Put the run, whose model is built, where it was."""
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
        run.sums = position["sums"]
        run.history = History({n: arrays[f"history/{n}"].tolist() for n in record["history"]})


def snapshot(run: Run) -> tuple[dict[str, Any], dict[str, Array]]:
    """All of a run's state: a record that JSON can write, and the arrays by name.

    Raises
    ------
    StorageError
        A callback remembers what cannot be written into a file.
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
            "sums": run.sums,
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
    """What has to be the same in the run that goes on, by what it is called; as JSON has it."""
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
    """An optimizer as it was made, without the learning rate: that is part of its state."""
    given = [each.name for each in fields(type(optimizer)) if each.init]
    named = {f"the optimizer's {n}": repr(getattr(optimizer, n)) for n in given}
    del named["the optimizer's learning_rate"]
    return {"the optimizer": type(optimizer).__name__, **named}


def _digest_of(batches: Batches) -> str | None:
    """Some rows of the data in a few letters, where the same rows are there in every run."""
    if not isinstance(batches, ArrayBatches | StoredBatches):
        return None
    data = batches.data
    weights = () if data.sample_weights is None else (data.sample_weights,)
    digest = hashlib.sha256()
    for array in (*data.inputs, *data.targets, *weights):
        rows = np.ascontiguousarray(array[:: max(1, len(array) // LOOKED_AT)])
        digest.update(f"{len(array)} {array.shape} {array.dtype}".encode())
        digest.update(rows.tobytes())
    return digest.hexdigest()[:12]


def _require_the_same(saved: Saved, run: Run, model: Layer) -> None:
    before, now = saved.record["made of"], made_of(run, model)
    differences = [
        f"{name}: {_differing(before.get(name), now.get(name))}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise StorageError(
            "the checkpoint is one of another run",
            place=str(saved.path),
            expected="the same model, loss, optimizer and data as when it was written",
            received="; ".join(differences),
            hint="call fit as the run was called that wrote it, or give another folder",
        )


def _differing(before: Any, now: Any) -> str:
    """What two architectures differ in first, or the two values."""
    if not (isinstance(before, list) and isinstance(now, list)):
        return f"{before!r:.60} then, {now!r:.60} now"
    for then, is_now in zip(before, now, strict=False):
        if then == is_now:
            continue
        if not isinstance(then, dict) or then["class"] != is_now["class"]:
            break
        fields = {**then["fields"], **is_now["fields"]}
        name = next(k for k in fields if then["fields"].get(k) != is_now["fields"].get(k))
        if '"layer"' in json.dumps(fields[name]):  # which layers it holds: their list says more
            break
        pair = [_shortly(record["fields"].get(name)) for record in (then, is_now)]
        return f"{then['class']}.{name} was {pair[0]}, and is {pair[1]}"
    classes = [[r["class"] if isinstance(r, dict) else r for r in rs] for rs in (before, now)]
    return f"{classes[0]!s:.90} then, {classes[1]!s:.90} now"


def _shortly(value: Any) -> str:
    """A field as one would say it: of an object, its class."""
    match value:
        case {"function": name} | {"initializer": name}:
            return str(name)
        case {"tuple": items}:
            return f"{tuple(items)}"
    return f"{value!r:.60}"


def _states_of_callbacks(saved: Saved, run: Run) -> list[tuple[Any, dict[str, Any]]]:
    """The callbacks that were there before, each with its state.

    Those are the same that have the same class, and stand in the same order among the callbacks of
    that class.
    """
    left = list(run.callbacks)
    found = []
    for record in saved.record["callbacks"]:
        same = [callback for callback in left if type(callback).__name__ == record["class"]]
        state = decoded(record["state"], saved.arrays)
        if same:
            left.remove(same[0])
            if state:
                found.append((same[0], state))
        elif state:
            raise ConfigurationError(
                f"among the callbacks of the run that wrote the checkpoint was {record['class']}",
                place=str(saved.path),
                expected=f"{record['class']}, which goes on from what it remembered",
                received=f"callbacks={run.callbacks!r:.90}",
                hint="call fit with the same callbacks; more of them may be there",
            )
    return found


def _require_arrays(saved: Saved, model: Layer) -> None:
    """See that the arrays of a model are there, as large as they have to be."""
    for name, array in arrays_of(model).items():
        held = saved.arrays.get(f"model/{name}")
        if held is None or held.shape != array.shape or held.dtype != array.dtype:
            raise StorageError(
                "an array in the checkpoint does not fit its place",
                place=f"{saved.path}, {name}",
                expected=f"{array.shape}, {array.dtype}",
                received="none" if held is None else f"{held.shape}, {held.dtype}",
            )
