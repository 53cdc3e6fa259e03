"""Data: from your arrays, files and loaders to the batches that a network learns from.

    samples           one set of samples: inputs, targets and weights
    validation        which arrays are accepted, and the errors for all others
    batches_of        which kind of batches `fit` makes from its arguments; start here
    batches           what all kinds of batches share; batches from arrays and from a function
    stored_batches    batches of rows that are read from a file
    pair_batches      batches from a dataset of pairs
    iterated_batches  batches from an iterable
    augmentation      images that are changed at random whenever they are used
    augmented_batches batches of them, from any kind of data
    in_memory         all samples of a dataset or a loader, read once or part by part
    kinds             what an object gives: samples, single samples, or batches
    prediction        `model.predict`: outputs in batches, with bounded memory
    sources           how rows are read from a memory map, h5py, zarr or any indexable object
    orders            the order in which rows are read: shuffled by rows, or by blocks
    part              the rows of a batch that one of several processes computes
    prefetch          preparing the next batch while the network learns from the current one
    class_weights     how much each class counts

A new kind of data is a subclass of `Batches` and a case in `batches_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import loaded, missing_name

if TYPE_CHECKING:
    from chainrule.data.augmentation import augmented

_MODULES = {"augmented": "chainrule.data.augmentation"}

__all__ = ["augmented"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise missing_name(__name__, name)
        return loaded(__name__, name, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
