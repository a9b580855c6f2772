"""The chain that stays on the GPU: packets' pictures in, vertices and poses out.

`staging` lays frames out for the upload; `chain` orders copies, kernels and network for a batch of
faces and overlaps neighbouring batches; `gpu` is the device that they run on (PyCUDA's context,
streams, events and page-locked memory, Numba's launches, CUDA graphs); `failures` turns what the
driver says into errors that a user can act on; `probe` tells what this machine has. `chain` and
`staging` know nothing of a GPU, so that Numba's simulator runs them in the tests.
"""
