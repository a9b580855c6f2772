"""Numeric kernels: one maths function each, driven by Numba on the CPU and on CUDA."""
