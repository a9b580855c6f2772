from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from tests.support.clips import astronaut


@pytest.fixture(scope="session")
def reconstructor() -> Iterator[Reconstructor]:
    engine = open_engine("facemesh", threads=1, max_batch=2)
    detector = open_detector("short", threads=1)
    yield Reconstructor(engine, detector)
    engine.close()
    detector.close()


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    return astronaut()


@pytest.fixture(scope="session")
def face(reconstructor: Reconstructor, picture: np.ndarray) -> Reconstruction:
    return reconstructor.reconstruct(picture)[0]
