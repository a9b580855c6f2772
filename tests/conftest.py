"""What holds for every test."""

import logging
import os
from pathlib import Path

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:
    pass  # the environments of PyTorch, Ray and Chromium have none, and no test that wants it
else:
    # How long an example takes says how busy the machine is.
    settings.register_profile("any machine", settings(), deadline=None)
    settings.load_profile("any machine")

# Compiled kernels stay in the checkout: tests give the programs that they start homes of their own,
# in which each would compile for half a minute.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".numba_cache"))


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """The program, run in this process, turns the log its own way: `caplog` would see no more."""
    loggers = [logging.getLogger(name) for name in ("streamprn", "libav", "uvicorn.error")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, state in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = state
