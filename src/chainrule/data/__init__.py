"""Data: from what a program has to the batches that a network learns from.

    samples           rows: inputs, targets and weights
    validation        which arrays are accepted, with the errors for the others
    batches_of        which kind of batches is made of what `fit` is given; start here
    batches           what all kinds of batches share; batches of arrays and of a function
    stored_batches    batches of what is read from a file
    pair_batches      batches of a dataset of pairs
    iterated_batches  batches of an iterable
    in_memory         all samples of a dataset or a loader, read once, to measure on
    sources           how rows are read from a memory map, from h5py, from zarr, from anything
    orders            in which order they are read: shuffled by rows, or by blocks
    prefetch          the next batch, prepared while the current one is learned from
    class_weights     how much each class counts

A new kind of data is a subclass of `Batches` and a case in `batches_of`.
"""
