"""CUDA kernels over the formulas of `streamprn.kernels.maths`.

Each module holds the kernels of one job; `catalogue.KERNELS` lists them all. Importing this
package loads nothing; importing a module of it loads `numba.cuda`, which needs neither a driver
nor a GPU until a kernel is launched.

Rules that every kernel keeps: grid-stride loops, so that any grid is right; neighbouring threads
touch neighbouring addresses; no local memory; no warp intrinsics, so that the simulator and other
executors can run them; reductions are trees in shared memory.
"""
