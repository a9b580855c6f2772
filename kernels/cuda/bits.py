"""The bits of a float32, on the device and in Numba's simulator.

`scalar.view` would do, but compiling it for CUDA asks for a driver even where none is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config

from streamprn.kernels._jit import maths
from streamprn.kernels.cuda.kernel import cuda

if config.ENABLE_CUDASIM:

    def float_bits(value: Any) -> Any:
        """The bits of a float32 as an int32."""
        return np.float32(value).view(np.int32)

    def bits_float(bits: Any) -> Any:
        """The float32 of an int32's bits."""
        return np.int32(bits).view(np.float32)

else:

    @maths
    def float_bits(value: Any) -> Any:
        """The bits of a float32 as an int32."""
        return cuda.libdevice.float_as_int(value)

    @maths
    def bits_float(bits: Any) -> Any:
        """The float32 of an int32's bits."""
        return cuda.libdevice.int_as_float(bits)
