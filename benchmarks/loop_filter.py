"""What `loop_filter` of a source saves of decoding, and by how much it moves landmarks.

python benchmarks/loop_filter.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from streamprn.config import SourceConfig
from streamprn.config.secrets import address_of
from streamprn.faces.tracker import Tracker
from streamprn.source.opening import open_video
from streamprn.source.sample_clip import make_clip

SETTINGS = ("always", "reference", "never")
PASSES = 5


def decoded(clip: Path, setting: str) -> tuple[float, list[av.VideoFrame]]:
    """Milliseconds a frame in one thread, and the frames."""
    config = SourceConfig(str(clip), loop_filter=setting)
    container, stream = open_video(config, address_of(config))
    with container:
        began = time.perf_counter()
        frames = list(container.decode(stream))
        return (time.perf_counter() - began) / len(frames) * 1e3, frames


def landmarks(frames: list[av.VideoFrame]) -> list[np.ndarray]:
    """Those `(68, 2)` of the face of every frame that has one."""
    with Tracker() as tracker:
        found = [
            tracker.process(one.to_ndarray(format="rgb24"), k / 30) for k, one in enumerate(frames)
        ]
    return [faces[0].landmarks[:, :2] for faces in found if faces]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| clip | loop_filter | ms a frame | saved | landmarks move by, mean (most) px |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for width, height, frames in ((640, 480, 90), (1920, 1080, 60)):
            for b_frames in (0, 2):
                clip = Path(folder) / f"{width}_{b_frames}.mp4"
                make_clip(
                    clip,
                    frames=frames,
                    width=width,
                    height=height,
                    b_frames=b_frames,
                    gop=30,
                    crf=23,
                )
                table(clip, f"{width}x{height}, {b_frames} B-frames")


def table(clip: Path, name: str) -> None:
    """The rows of one clip; the settings are timed in turn."""
    best = dict.fromkeys(SETTINGS, float("inf"))
    pictures = {}
    for _ in range(PASSES):
        for setting in SETTINGS:
            took, pictures[setting] = decoded(clip, setting)
            best[setting] = min(best[setting], took)
    truth = landmarks(pictures["always"])
    for setting, took in best.items():
        pairs = zip(truth, landmarks(pictures[setting]), strict=True)
        moved = [np.linalg.norm(one - other, axis=1).mean() for one, other in pairs]
        saved = 1 - took / best["always"]
        print(
            f"| {name} | {setting} | {took:.2f} | {saved:.0%} "
            f"| {np.mean(moved):.2f} ({np.max(moved):.2f}) |"
        )


if __name__ == "__main__":
    main()
