"""The one door to CUDA: nothing else loads the driver, PyCUDA or NVIDIA's bindings, or launches.

`driver` asks the CUDA driver which GPU there is, and works in its primary context; `gpu` is the
device that the chain runs on (PyCUDA's context, streams and page-locked memory, CUDA graphs);
`launch` launches a kernel through Numba; `failures` turns what the driver says into errors that a
user can act on; `probe` tells what this machine has. Libraries load where they are used.
"""
