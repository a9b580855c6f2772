"""The chain in which faces stay on a device: decoded pictures in, vertices and poses out.

`staging` lays frames out for the upload; `slot` puts the copies, the kernels and the network of a
batch into a stream; `chain` overlaps neighbouring batches; `face` and `surface` compute later from
vertices that are still there; `predict` is the chain as the pipeline takes it. `contract` says what
they ask of a device. They know no GPU library: `streamprn.engines.cuda` answers on a GPU, Numba's
simulator in the tests.
"""
