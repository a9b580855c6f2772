"""What the compilers say of the CUDA kernels."""
