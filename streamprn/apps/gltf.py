"""Binary glTF 2.0 files (GLB): arrays, textures, and the document that points into them.

Written to the rules of the glTF 2.0 specification: every accessor aligned to its component, bounds
where they are asked for, one buffer. The arrays go to a file as they come, so that an animation
need not fit into memory.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.apps import images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import UInt8

FLOAT, UINT16, UINT32 = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
_KINDS = {FLOAT: "<f4", UINT16: "<u2", UINT32: "<u4"}
# The whole file's length is an unsigned 32-bit number.
_MAX_BYTES: Final = (1 << 32) - 1

#: Extension of materials whose colours hold the light of the picture already.
UNLIT = "KHR_materials_unlit"


class Builder:
    """Gathers binary chunks and the accessors that point into them.

    Args:
        data: where the chunks go: a file open for reading and writing, empty; memory by default.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, data: IO[bytes] | None = None) -> None:
        self.size = 0
        self._data = data or io.BytesIO()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._image_views: list[int] = []

    def add(
        self,
        array: NDArray[Any],
        component: int,
        shape: str,
        *,
        bounds: bool = False,
        normalised: bool = False,
        target: int | None = ARRAY_BUFFER,
    ) -> int:
        """Append an array and return the number of its accessor.

        Args:
            array: one row an element; a flat one for `SCALAR`.
            component: `FLOAT`, `UINT16` or `UINT32`.
            shape: glTF's name of an element: `SCALAR`, `VEC3` ...
            bounds: say the smallest and largest value, which positions and key times need.
            normalised: the integers stand for 0..1.
            target: what a GPU buffer of it is for; None for data of animations.
        """
        data = np.ascontiguousarray(array, _KINDS[component])
        accessor: dict[str, Any] = {
            "bufferView": self._view(data.tobytes(), target),
            "componentType": component,
            "count": len(data),
            "type": shape,
        }
        if normalised:
            accessor["normalized"] = True
        if bounds:
            accessor["min"] = np.atleast_1d(data.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(data.max(axis=0)).tolist()
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def add_texture(self, texture: UInt8) -> int:
        """Append a picture `(H, W, 3)` uint8 sRGB as PNG and return the number of its texture."""
        self._image_views.append(self._view(images.encode_png(texture), None))
        return len(self._image_views) - 1

    def _view(self, data: bytes, target: int | None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.size, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._views.append(view)
        padding = bytes(-len(data) % 4)
        self._data.write(data)
        self._data.write(padding)
        self.size += len(data) + len(padding)
        return len(self._views) - 1

    def write(self, document: dict[str, Any], file: IO[bytes]) -> None:
        """Write the whole GLB.

        Args:
            document: the scene: all but `asset`, `accessors`, `bufferViews`, `buffers`, `images`,
                `samplers` and `textures`.
            file: open for writing.

        Raises:
            ValueError: more than 4 GiB, which the format has no room for.
        """
        text = json.dumps(
            {"asset": {"version": "2.0", "generator": "StreamPRN"}, **document, **self._parts()},
            separators=(",", ":"),
            allow_nan=False,
        ).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self.size
        if total > _MAX_BYTES:
            raise ValueError(f"{total} bytes are too many for a GLB")
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<I4s", len(text), b"JSON"))
        file.write(text)
        file.write(struct.pack("<I4s", self.size, b"BIN\0"))
        self._data.seek(0)
        shutil.copyfileobj(self._data, file, 1 << 20)

    def _parts(self) -> dict[str, Any]:
        """The parts of the document that describe the binary data."""
        parts: dict[str, Any] = {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self.size}],
        }
        if self._image_views:
            parts["images"] = [
                {"bufferView": view, "mimeType": "image/png"} for view in self._image_views
            ]
            # 33071 clamps to the edge, 9729 and 9987 are linear and trilinear filtering.
            parts["samplers"] = [
                {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
            ]
            parts["textures"] = [
                {"source": number, "sampler": 0} for number in range(len(self._image_views))
            ]
        return parts


def texture_coordinates(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(N, 2)` float32 with v down, as glTF has it, of coordinates with v up."""
    return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)
