"""The whole pipeline on the PRN network with random weights: plumbing only, no accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from streamprn.config import Config
from streamprn.engines.engine import open_engine
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind
from tests.live.conftest import Collector
from tests.support.resfcn import make_random_bundle


@pytest.fixture(scope="module")
def random_prn(tmp_path_factory):
    folder = make_random_bundle(tmp_path_factory.mktemp("engines") / "resfcn256-random")
    return open_engine(folder, threads=2, max_batch=2)


def test_everything_is_computed_from_the_maps_of_another_engine(random_prn, detector, clips):
    config = Config.from_mapping(
        {
            "sources": [{"uri": clips.still().uri, "realtime": False}],
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )
    wanted = Collector(Kind.FACE, Kind.MESH, Kind.DEPTH, Kind.TEXTURE)
    with Pipeline(config, engine=random_prn, detector=detector, sinks=[wanted]) as pipeline:
        summary = pipeline.run(max_frames=12)
    assert summary.streams[0].frames >= 12
    faces = [face for result in wanted.results for face in result.faces]
    assert len(faces) >= 6
    vertices = random_prn.topology.vertex_count
    for face in faces:
        assert face.vertices.shape == (vertices, 3)
        assert np.isfinite(face.vertices).all()
        assert face.vertices[:, 2].min() == 0
        assert face.landmarks.shape == (68, 3)
        assert face.texture is not None
        assert face.visible is not None
        assert np.linalg.det(face.pose.rotation) == pytest.approx(1)
    assert all(result.depth is not None for result in wanted.results)
