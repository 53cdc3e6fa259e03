"""One file holds a model: its arrays as safetensors, its architecture as JSON inside, no code.

    model.save("model.safetensors")                  model = chainrule.load("model.safetensors")
    model.save_weights("weights.safetensors")        model.load_weights("weights.safetensors")

The first pair stores the whole model: its architecture, its numbers, and the state of its random
generators. The second stores only the numbers, for a model that the program creates itself.

A file may come from anywhere, and may be damaged or malicious. So nothing that it names is
imported or executed, memory is only allocated if the file is large enough to fill it, and a file
is loaded completely or not at all. The formats:

    chainrule-1            a model, without a digest; still read
    chainrule-2            a model, with a digest of every byte
    chainrule-weights-1    arrays by path, with a digest of every byte

Read in this order:

    model          save and load a whole model
    weights        the same for the numbers alone
    sealed_file    a safetensors file with a digest
    safetensors    the bytes
    architecture   layers as JSON records
    arrays         the arrays by name, restored all or not at all
    generators     the state of random generators
    classes        which classes a file may name
    budget         how much memory a file may ask for
    messages       how errors refer to a file

Error messages and limits can change safely. A change to what is written needs a new format number,
and files of the old formats must still load.
"""

from __future__ import annotations

from chainrule.storage.model import dumps, load, loads, save
from chainrule.storage.weights import load_weights, save_weights

__all__ = ["dumps", "load", "load_weights", "loads", "save", "save_weights"]
