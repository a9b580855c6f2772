"""`streamprn train fit`: a labelled data set to a trained network.

Resumable: the run's folder holds a checkpoint, written every 20 seconds at once or not at all, and
a second call goes on with it. What is random depends on the seed and the step alone.
"""

from __future__ import annotations

import copy
import io
import json
import math
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamprn.apps.files import write_whole
from streamprn.errors import InputError
from streamprn.train import map_network, report
from streamprn.train.graph import STARTS, GraphNetwork
from streamprn.train.labels import OWN, open_labels, open_sampler, sampler_of
from streamprn.train.layout import load_layout
from streamprn.train.loader import Loader
from streamprn.train.map_network import MapNetwork
from streamprn.train.measure import Measure, Places
from streamprn.train.network import PointNetwork, Size, face_basis, multiply_accumulates
from streamprn.train.position_maps import PositionMaps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from streamprn.train.samples import Batch

AnyNetwork = PointNetwork | GraphNetwork | MapNetwork

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.json"
FORMAT = 1
#: Crops for `export`: `calibrate` of training, `held_out`; `(N, S, S, 3)` uint8.
CROPS = "crops.npz"
_KEPT_CROPS = 64
#: The topology of the labels, where it is not that of `facemesh`.
TOPOLOGY = "topology.npz"
_HELD_OUT = 128
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Attributes:
        network: "prn" or "resfcn256" from scratch, or the packaged engine from whose weights to
            go on.
        minutes: how long in all, over resumed runs; or None.
        steps: how many steps in all, or None; one of the two is given.
        batch: samples a step.
        rate: largest learning rate.
        seed: of everything.
        width: see `Size`.
        processes: that make samples.
        threads: of PyTorch on a CPU.
        device: "auto", "cpu" or "cuda".
        labels: kind of the labels, see `labels.KINDS`.
        uv_data: see `labels.open_labels`.
        save_s: seconds between checkpoints.
        report_s: seconds between looks at the held-out faces.
    """

    network: str = "prn"
    minutes: float | None = None
    steps: int | None = None
    batch: int = 64
    rate: float = 2e-3
    seed: int = 0
    width: float = 1.0
    processes: int = 1
    threads: int = 2
    device: str = "auto"
    labels: str = OWN
    uv_data: str = ""
    save_s: float = 20.0
    report_s: float = 150.0


@dataclass
class State:
    """Where a run stands.

    Attributes:
        step: steps done.
        seconds: spent on them.
        history: one entry a report.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """One run.

    Args:
        folder: of the labels.
        output: folder of the run; made, or gone on with.
        settings: see there.
        tell: is told a line of words now and then.
    """

    def __init__(
        self,
        folder: Path,
        output: Path,
        settings: Settings,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        if (settings.minutes is None) == (settings.steps is None):
            raise InputError("give either minutes or steps", hint="--minutes 60")
        self._folder, self._output, self._settings, self._tell = folder, output, settings, tell
        self._data = open_labels(folder, settings.labels, settings.uv_data)
        self._check_network()
        self._device = _device(settings.device)
        torch.manual_seed(settings.seed)
        torch.set_num_threads(settings.threads)
        self.network = self._new_network()
        self.network.to(self._device, memory_format=torch.channels_last)
        self._mean = {
            key: value.detach().clone() for key, value in self.network.state_dict().items()
        }
        self._sampler = sampler_of(self._data, self.network.side, settings.seed)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.rate, weight_decay=2e-4
        )
        self._measure = Measure(self._device, self._places())
        self.state = State()
        self._resume()

    def _check_network(self) -> None:
        name = self._settings.network
        if isinstance(self._data, PositionMaps) and name != map_network.NAME:
            raise InputError(
                f"network {name} cannot be trained on labels of kind {self._settings.labels}: "
                "they do not tell where its points are",
                hint=f"add --network {map_network.NAME}",
            )

    def _new_network(self) -> AnyNetwork:
        settings = self._settings
        if isinstance(self._data, PositionMaps):
            return MapNetwork(self._data.topology.texel)
        shapes = self._data.shape[~self._data.held_out]
        return new_network(settings.network, settings.width, shapes)

    def _places(self) -> Places:
        if isinstance(self._data, PositionMaps):
            return Places.of_topology(self._data.topology)
        if isinstance(self.network, MapNetwork):
            return Places.of_vertices()
        return Places.of_points()

    def run(self) -> dict[str, Any]:
        """Train to the end; returns the last report.

        A KeyboardInterrupt leaves a checkpoint behind.
        """
        crop = torch.zeros(1, 3, self.network.side, self.network.side, device=self._device)
        self.network.eval()
        work = ""
        if not isinstance(self.network, GraphNetwork):
            work = f" ({multiply_accumulates(self.network, crop) / 1e6:.0f} MMAC)"
        self._tell(
            f"{len(self._data)} faces, network {self._settings.network}{work}, "
            f"{self._device.type}, from step {self.state.step}"
        )
        held_out = self._held_out()
        settings = self._settings
        some = self._sampler.batch(0, min(settings.batch, 48))
        report.write_samples(self._output / report.SAMPLES, some)
        self._keep_crops(held_out)
        loader = Loader(
            partial(
                open_sampler,
                self._folder,
                settings.labels,
                settings.uv_data,
                self.network.side,
                settings.seed,
            ),
            settings.batch,
            self.state.step,
            settings.processes,
        )
        try:
            if self._progress() < 1:
                with loader as batches:
                    self._train(batches, held_out)
        finally:
            self._save()
        entry = self._report(held_out)
        self._save()
        return entry

    def _keep_crops(self, held_out: dict[str, list[Batch]]) -> None:
        path = self._output / CROPS
        if path.is_file():
            return
        part = -(-_KEPT_CROPS // len(held_out))
        seen = np.concatenate([batches[0].images[:part] for batches in held_out.values()])
        made = io.BytesIO()
        calibrate = self._sampler.batch(0, _KEPT_CROPS).images
        np.savez_compressed(made, calibrate=calibrate, held_out=seen)
        write_whole(path, made.getvalue())

    def _train(self, batches: Any, held_out: Any) -> None:
        self.network.train()
        last = saved = reported = time.monotonic()
        loss_mean = None
        while self._progress() < 1:
            loss = self._step(next(batches))
            loss_mean = loss if loss_mean is None else 0.98 * loss_mean + 0.02 * loss
            now = time.monotonic()
            self.state.seconds += now - last
            last = now
            self.state.step += 1
            if now - saved > self._settings.save_s:
                self._save()
                saved = now
            if now - reported > self._settings.report_s:
                self._report(held_out, loss_mean)
                reported = last = time.monotonic()

    def _progress(self) -> float:
        """0..1."""
        if self._settings.steps is not None:
            return self.state.step / self._settings.steps
        assert self._settings.minutes is not None
        return self.state.seconds / (60 * self._settings.minutes)

    def _rate(self) -> float:
        """Warm-up, then a half cosine."""
        warm = min(1.0, self.state.step / 200 + 0.02)
        return (
            self._settings.rate * warm * (0.5 + 0.5 * math.cos(math.pi * self._progress()) + 0.004)
        )

    def _step(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        images = self._images(batch)
        target = self._measure.target(batch.points)
        is_face = torch.from_numpy(batch.is_face).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=_halves(self._device)):
            points, logits = self.network(images)
        loss = self._measure.loss(points, logits, target, is_face)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self._optimizer.step()
        self._average()
        return float(loss.detach())

    def _average(self) -> None:
        """Exponential moving average of the weights."""
        keep = min(0.998, 1 - 1 / (0.1 * self.state.step + 2))
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    self._mean[key].lerp_(value, 1 - keep)
                else:
                    self._mean[key].copy_(value)

    def _images(self, batch: Batch) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(batch.images)).to(self._device)
        x = images.permute(0, 3, 1, 2).float().div_(255)
        return x.contiguous(memory_format=torch.channels_last)

    def _held_out(self) -> dict[str, list[Batch]]:
        sampler = self._sampler
        count = min(_HELD_OUT, int(self._data.held_out.sum()))
        return {
            "own" if yaw is None else f"{yaw:g}": [
                sampler.held_out(yaw, min(_CHUNK, count - first), first)
                for first in range(0, count, _CHUNK)
            ]
            for yaw in sampler.yaws
        }

    def _report(
        self, held_out: dict[str, list[Batch]], loss: float | None = None
    ) -> dict[str, Any]:
        """Errors of the averaged network on held-out faces, percent of the face."""
        mean = copy.deepcopy(self.network)
        mean.load_state_dict(self._mean)
        mean.eval()
        entry: dict[str, Any] = {
            "step": self.state.step,
            "seconds": round(self.state.seconds, 1),
            "samples": self.state.step * self._settings.batch,
            "loss": loss,
            "error_percent": {},
            "score": {},
        }
        seen: list[Any] = []
        worst: list[report.Miss] = []
        with torch.no_grad():
            for name, batches in held_out.items():
                errors, scores = [], []
                for number, batch in enumerate(batches):
                    points, logits = mean(self._images(batch))
                    target = self._measure.target(batch.points)
                    errors.append(self._measure.landmark_error(points, target))
                    shown = self._measure.shown(points)
                    worst = report.worst_of(worst, batch, shown, errors[-1].tolist())
                    if logits is not None:
                        scores.append(torch.sigmoid(logits))
                    if number == 0:
                        seen.append(shown)
                entry["error_percent"][name] = round(100 * float(torch.cat(errors).mean()), 3)
                if scores:
                    entry["score"][name] = round(float(torch.cat(scores).mean()), 3)
        self.state.history.append(entry)
        text = ", ".join(f"{name} {value:.2f}" for name, value in entry["error_percent"].items())
        speed = entry["samples"] / max(self.state.seconds, 1)
        self._tell(
            f"step {entry['step']}, {entry['seconds']:.0f} s, {speed:.0f} samples/s, "
            f"loss {loss or math.nan:.4f}, error % by yaw: {text}"
        )
        text = json.dumps(self.state.history, indent=1) + "\n"
        write_whole(self._output / HISTORY, text.encode())
        firsts = [batches[0] for batches in held_out.values()]
        report.write_faces(self._output / report.FACES, firsts, seen)
        report.write_worst(self._output / report.WORST, worst)
        report.write_curves(self._output / report.CURVES, self.state.history)
        return entry

    def _save(self) -> None:
        self._output.mkdir(parents=True, exist_ok=True)
        if isinstance(self._data, PositionMaps):
            self._data.topology.save(self._output / TOPOLOGY)
        made = self._output / (CHECKPOINT + ".new")
        torch.save(
            {
                "format": FORMAT,
                "settings": asdict(self._settings),
                "state": asdict(self.state),
                "network": self.network.state_dict(),
                "mean": self._mean,
                "optimizer": self._optimizer.state_dict(),
                "card": self._data.card,
            },
            made,
        )
        made.replace(self._output / CHECKPOINT)

    def _resume(self) -> None:
        """Go on with the checkpoint of the run's folder, if there is one."""
        self._output.mkdir(parents=True, exist_ok=True)
        if not (self._output / CHECKPOINT).is_file():
            return
        saved = load_checkpoint(self._output, self._device)
        ours = ("network", "batch", "seed", "width")
        other = [key for key in ours if saved["settings"][key] != getattr(self._settings, key)]
        if saved["card"] != self._data.card:
            other.append("labels")
        if other:
            raise InputError(
                f"{self._output}: holds a run of another {', '.join(other)}",
                hint="go on with the settings of that run, or choose another --output",
            )
        self.network.load_state_dict(saved["network"])
        self._mean = saved["mean"]
        self._optimizer.load_state_dict(saved["optimizer"])
        self.state = State(**saved["state"])


def new_network(name: str, width: float, shapes: Any) -> AnyNetwork:
    """A network with the weights that it starts from.

    Args:
        name: see `Settings.network`.
        width: of "prn".
        shapes: `(N, 468, 3)` labelled shapes, or None where weights will be loaded.

    Raises:
        InputError: there is no such network.
    """
    if name in STARTS:
        return GraphNetwork(name)
    if name == map_network.NAME:
        return MapNetwork()
    if name != "prn":
        known = ("prn", map_network.NAME, *STARTS)
        raise InputError(f"no network {name!r}", hint=f"choose one of: {', '.join(known)}")
    size = Size(width=width)
    layout = load_layout()
    some = layout.canonical[None] if shapes is None else shapes
    return PointNetwork(size, layout, *face_basis(some, size.components))


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any]:
    """Read a run's checkpoint.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise InputError(
            f"{folder}: has no {CHECKPOINT}", hint="make it with `streamprn train fit`"
        )
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if saved["format"] != FORMAT:
            raise ValueError(f"format {saved['format']}, expected {FORMAT}")
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: damaged checkpoint: {error}", hint="train again") from error
    return saved


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device", hint="--device cpu")
    return torch.device(name)


def _halves(device: torch.device) -> bool:
    """Whether bfloat16 is worth it there."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
