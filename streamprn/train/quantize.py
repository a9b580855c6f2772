"""int8: a network's convolutions quantised after training, and how far that moves the vertices.

ONNX Runtime's own static quantisation (QDQ, a scale per channel), calibrated on training samples.
What gives the coordinates stays in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.engines.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamprn.records import Float32, UInt8

#: The largest error with which an int8 network is kept, pixels of the crop.
BOUND_PX: Final = 0.3
# The last convolutions of a network give its coordinates.
_PRECISE = 3


@dataclass(frozen=True, slots=True)
class Moved:
    """How far int8 moves the vertices of held-out pictures, pixels of the crop, 3D.

    Attributes:
        mean: over all vertices and pictures.
        worst: the mean over the vertices of the worst picture.
        largest: of any vertex.
    """

    mean: float
    worst: float
    largest: float

    @property
    def kept(self) -> bool:
        """Whether that is little enough for every picture."""
        return self.worst < BOUND_PX


class _Crops:
    """ONNX Runtime's `CalibrationDataReader` of crops `(N, S, S, 3)` uint8."""

    def __init__(self, name: str, crops: UInt8) -> None:
        self._name = name
        self._left: Iterator[Any] = iter(crops)

    def get_next(self) -> dict[str, Float32] | None:
        """The next input, or None."""
        crop = next(self._left, None)
        return None if crop is None else {self._name: crop[None].astype(np.float32) / 255}


def write(fp32: Path, int8: Path, crops: UInt8) -> None:
    """Quantise a network.

    Args:
        fp32: its ONNX file.
        int8: the file to write.
        crops: `(N, S, S, 3)` uint8 RGB, training samples to calibrate with.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Tells shapes to every tensor; the graph itself stays as it is.
    quant_pre_process(fp32, int8, skip_optimization=True, skip_symbolic_shape=True)
    model = onnx.load(int8)
    CalibrationDataReader.register(_Crops)
    layers = [node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    quantize_static(
        model,
        int8,
        _Crops(model.graph.input[0].name, crops),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=layers[-_PRECISE:],
        per_channel=True,
    )


def moved(folder: Path, crops: UInt8) -> Moved:
    """Hold the int8 network of an engine against its fp32 one.

    Args:
        folder: of the engine.
        crops: `(N, S, S, 3)` uint8 RGB, held-out pictures.
    """
    images = crops.astype(np.float32) / 255
    maps = []
    for precision in ("fp32", "int8"):
        engine = open_engine(folder, precision=precision, backend="onnxruntime")
        mask = engine.topology.mask
        maps.append(
            np.stack([engine.infer(one[None]).surfaces[0].position_map()[mask] for one in images])
        )
        engine.close()
    away = np.linalg.norm(maps[1] - maps[0], axis=2)
    return Moved(float(away.mean()), float(away.mean(1).max()), float(away.max()))
