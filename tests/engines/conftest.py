import numpy as np
import pytest
import skimage.data

from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine


@pytest.fixture(scope="package")
def astronaut():
    return np.ascontiguousarray(skimage.data.astronaut())


@pytest.fixture(scope="package")
def facemesh():
    engine = open_engine("facemesh", backend="openvino")
    yield engine
    engine.close()


@pytest.fixture(scope="package", params=["short", "full"])
def detector(request):
    detector = open_detector(request.param, backend="openvino")
    yield detector
    detector.close()
