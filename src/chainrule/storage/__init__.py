"""One file holds a model: its arrays as safetensors, its architecture as JSON inside, no code.

    model.save("model.safetensors")                  model = chainrule.load("model.safetensors")
    model.save_weights("weights.safetensors")        model.load_weights("weights.safetensors")

The first pair keeps the whole model: how it is made, its numbers, and where its random generators
stand. The second keeps the numbers alone, for a model that the program makes itself.

A file may come from anywhere, and may be damaged or made to do harm. So nothing that it names is
imported or run; nothing that it asks for is done before it is seen that the file is large enough
for it; and what is loaded is the whole or nothing. What a file may look like:

    chainrule-1            a model, without a digest; still read
    chainrule-2            a model, with a digest of every byte
    chainrule-weights-1    arrays by path, with a digest of every byte

How the bytes are laid out stands in `chainrule.storage.sealed_file`, how layers become JSON in
`chainrule.storage.architecture`.
"""

from __future__ import annotations

from chainrule.storage.model import dumps, load, loads, save
from chainrule.storage.weights import load_weights, save_weights

__all__ = ["dumps", "load", "load_weights", "loads", "save", "save_weights"]
