"""What a runtime is told about the network that it shall compile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from streamprn.engines.bundle import Bundle


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network of an engine bundle or a detector, and how to run it.

    Attributes:
        name: of the bundle or detector; also names cached files.
        networks: ONNX file by precision ("fp32", "fp16", "int8"). One input float32,
            `(B, S, S, 3)` or of `input_shape`, B free.
        size: S, pixels.
        max_batch: the largest B of one call.
        threads: CPU threads of one inference.
        precision: the one asked for, or None for the runtime's choice.
        batched: whether a CPU gains from batches, or runs crops one by one just as fast.
        input_shape: of one input, without B, where it is not a picture; see `shape`.
    """

    name: str
    networks: Mapping[str, Path]
    size: int
    max_batch: int = 1
    threads: int = 1
    precision: str | None = None
    batched: bool = True
    input_shape: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, without the batch."""
        return self.input_shape or (self.size, self.size, 3)

    def shape_of_batch(self, count: object = "B") -> str:
        """The shape of the input, for messages."""
        return f"({count}, {', '.join(map(str, self.shape))})"

    @classmethod
    def of_bundle(
        cls, bundle: Bundle, *, max_batch: int, threads: int = 1, precision: str | None = None
    ) -> NetworkSpec:
        """The network of an engine bundle; the other arguments are the attributes."""
        return cls(
            name=bundle.name,
            networks=bundle.networks,
            size=bundle.crop.size,
            max_batch=max_batch,
            threads=threads,
            precision=precision,
            batched=bundle.batched,
        )

    def file(self, preferred: str) -> tuple[str, Path]:
        """Precision and ONNX file: of `precision`, else `preferred`, else the first there is.

        Raises:
            EngineError: the precision asked for is not in the bundle.
        """
        if self.precision is not None and self.precision not in self.networks:
            raise EngineError(
                f"engine {self.name} has no {self.precision} network",
                hint=f"choose one of: {', '.join(self.networks)}",
            )
        wanted = self.precision or preferred
        chosen = wanted if wanted in self.networks else next(iter(self.networks))
        return chosen, self.networks[chosen]

    def check_input(self, path: Path, shapes: Sequence[Sequence[object]]) -> None:
        """Compare the inputs that a graph declares with what it will be fed.

        A convolutional graph can be reshaped to another size, but not every runtime survives
        running the result.

        Args:
            path: the ONNX file, for the message.
            shapes: of each input; a dimension that is no whole number is free.

        Raises:
            EngineError: the graph takes something else than `shape` in free batches.
        """
        wanted = self.shape
        good = len(shapes) == 1 and len(shapes[0]) == 1 + len(wanted)
        if not (good and not isinstance(shapes[0][0], int)) or any(
            isinstance(found, int) and found != size
            for found, size in zip(shapes[0][1:], wanted, strict=True)
        ):
            text = ", ".join(str(tuple(shape)) for shape in shapes)
            raise EngineError(
                f"{path}: the network takes {text}, not {self.shape_of_batch()}",
                hint="correct crop.size in the manifest, or import the engine again",
            )
