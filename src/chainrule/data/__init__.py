"""Data: from what a program has to the batches that a network learns from, one after another.

Each module is one idea:

    samples          what rows are: inputs, targets and weights
    accepted         which arrays will do: the looks at what comes, with their errors
    kinds            which batches are made of what `fit` is given
    batches          what every kind of batches is; of arrays in memory, of a function
    stored_batches   of what is read where it lies
    pair_batches     of a data set that gives one sample after another
    iterated_batches of an iterable
    whole            all samples of a data set or a loader in memory, to measure on
    sources          how rows are read from a memory map, from h5py, from zarr, from anything
    orders           in which order they are read: shuffled by rows, or by blocks
    ahead            the next batch made ready while the present one is learned from
    class_weights    how much each class counts
"""
