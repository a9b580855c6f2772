"""All CUDA kernels by name."""

from __future__ import annotations

from streamprn.kernels.cuda import faces, surface, warp
from streamprn.kernels.cuda.kernel import Kernel

_MODULES = (warp, faces, surface)


KERNELS: dict[str, Kernel] = {
    value.name: value
    for module in _MODULES
    for value in vars(module).values()
    if isinstance(value, Kernel)
}
