"""What a network in training is held against: places, their weights, and the errors there.

Networks that give the 468 points are held against these; one that gives the whole position map
against the vertices of the topology of `facemesh`, which are linear in the points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from streamprn.train.layout import load_layout

if TYPE_CHECKING:
    from torch import Tensor

    from streamprn.engines.topology import Topology
    from streamprn.records import Float32

#: Error, in parts of the face, at which the score is one half.
HALF_TRUST = 0.08
_NEAR = 0.02
_TRUST_PART = 0.02


# What a vertex counts in the loss of the paper (its weight mask): the 68 landmarks; eyes, nose and
# mouth; the rest of the face; the neck nothing.
_LANDMARK, _FEATURE, _REST = 16.0, 4.0, 3.0


@dataclass(frozen=True)
class Places:
    """Where a network is held against its labels, n places.

    Attributes:
        weights: `(n,)` float32, what each counts; their mean is 1.
        landmarks: `(68,)` int64 places, or `(68, n)` float32 that make the landmarks of them.
        is_map: whether they are vertices of a position map, and z counts from the nearest.
        spread: SciPy `(n, 468)` that makes the places of the labels; None where they are these.
        shown: `(m,)` int, the places that are drawn where the labels are; None for all.
    """

    weights: Float32
    landmarks: Any
    is_map: bool
    spread: Any = None
    shown: Any = None

    @classmethod
    def of_points(cls) -> Places:
        """The 468 points."""
        layout = load_layout()
        return cls(layout.weights, layout.landmarks, is_map=False)

    @classmethod
    def of_vertices(cls) -> Places:
        """The vertices of `facemesh`, for labels that are the points."""
        layout = load_layout()
        weights = layout.dense @ layout.weights
        weights = (weights / weights.mean()).astype(np.float32)
        shown = np.asarray(layout.dense.argmax(axis=0)).ravel()
        return cls(weights, layout.landmark_vertices, True, layout.dense, shown)

    @classmethod
    def of_topology(cls, topology: Topology) -> Places:
        """The vertices of a topology, for labels that are position maps."""
        parts = topology.parts
        weights = np.where(parts["face"], _REST, 0.0)
        weights[parts["eyes"] | parts["nose"] | parts["lips"]] = _FEATURE
        weights[topology.landmarks] = _LANDMARK
        weights = (weights / weights.mean()).astype(np.float32)
        return cls(weights, topology.landmarks.astype(np.int64), is_map=True)


class Measure:
    """Holds a network against its labels.

    Args:
        device: of its tensors.
        places: where.
    """

    def __init__(self, device: torch.device, places: Places) -> None:
        self._places = places
        self._spread: Tensor | None = None
        if places.spread is not None:
            matrix = places.spread.tocoo()
            indices = torch.from_numpy(np.stack([matrix.row, matrix.col]))
            values = torch.from_numpy(matrix.data.astype(np.float32))
            self._spread = torch.sparse_coo_tensor(
                indices, values, matrix.shape, check_invariants=True
            ).to(device)
        self._weights = torch.from_numpy(places.weights).to(device)
        self._landmarks = torch.from_numpy(places.landmarks).to(device)

    def target(self, points: Float32) -> Tensor:
        """Labels as in `samples.Batch.points`, at the places: `(B, 3, n)`.

        For a map z is 0 at the vertex that is nearest to the camera and grows away from it.
        """
        wanted = torch.from_numpy(points).to(self._weights.device).transpose(1, 2)
        if self._spread is not None:
            count = len(wanted)
            wanted = (self._spread @ wanted.reshape(3 * count, -1).T).T.reshape(count, 3, -1)
        if not self._places.is_map:
            return wanted
        depth = wanted[:, 2:]
        return torch.cat([wanted[:, :2], depth - depth.amin(2, keepdim=True)], 1)

    def landmarks(self, found: Tensor) -> Tensor:
        """The 68 of places `(B, 3, n)`."""
        return found[:, :, self._landmarks] if self._places.is_map else found @ self._landmarks.T

    def shown(self, found: Tensor) -> Float32:
        """`(B, m, 3)` of places `(B, 3, n)`: those that lie where the labels do."""
        points = np.asarray(found.transpose(1, 2).float().cpu().numpy())
        return points if self._places.shown is None else points[:, self._places.shown]

    def loss(self, found: Tensor, logits: Tensor | None, target: Tensor, is_face: Tensor) -> Tensor:
        """The weighted distance of faces, and of the scores (if any) from what they should be."""
        away = functional.smooth_l1_loss(found, target, reduction="none", beta=_NEAR).sum(1)
        own = (away * self._weights).mean(1)
        places = functional.smooth_l1_loss(
            self.landmarks(found), self.landmarks(target), reduction="none", beta=_NEAR
        )
        faces = is_face.float()
        per_face = own + 0.5 * places.sum(1).mean(1)
        loss = (per_face * faces).sum() / faces.sum().clamp(min=1)
        if logits is None:
            return loss
        wanted = trust_of(relative_error(found.detach(), target)) * faces
        return loss + _TRUST_PART * functional.binary_cross_entropy_with_logits(logits, wanted)

    def landmark_error(self, found: Tensor, target: Tensor) -> Tensor:
        """`relative_error` of the 68 landmarks, over the size of their own box."""
        return relative_error(self.landmarks(found), self.landmarks(target))


def relative_error(points: Tensor, target: Tensor) -> Tensor:
    """`(B,)` mean 2D distance of points `(B, 3, n)` in parts of the true face's size."""
    flat = target[:, :2]
    extent = flat.amax(2) - flat.amin(2)
    size = extent.prod(1).clamp(min=1e-6).sqrt()
    return (points[:, :2] - flat).norm(dim=1).mean(1) / size


def trust_of(error: Tensor) -> Tensor:
    """The score that an error deserves: 1 for none, 1/2 at `HALF_TRUST`."""
    return 1 / (1 + (error / HALF_TRUST) ** 2)
