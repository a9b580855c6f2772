"""One small data set for all tests of training."""

import pytest

from tests.train.model import write_model, write_portraits


@pytest.fixture(scope="session")
def head_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "FaceXModel")


@pytest.fixture(scope="session")
def portraits(tmp_path_factory):
    return write_portraits(tmp_path_factory.mktemp("pictures") / "astronaut")


@pytest.fixture(scope="session")
def labels(tmp_path_factory, head_model, portraits):
    """Folder of a data set of ten portraits of one person."""
    from streamprn.train.label import Rules, label

    folder = tmp_path_factory.mktemp("labels")
    # One portrait more than the limit of the fit takes is too many of ten.
    label([portraits], head_model, folder, rules=Rules(residual_percentile=100, held_out=0.2))
    return folder


@pytest.fixture(scope="session")
def data(labels):
    from streamprn.train.dataset import Dataset

    return Dataset.open(labels)
