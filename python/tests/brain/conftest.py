"""A brain on an empty Redis."""

from collections.abc import Callable, Iterator

import pytest

from .harness import Brain


@pytest.fixture
def brain(redis_url: str) -> Iterator[Brain]:
    """LIVE, with a stop of 2 % and nothing else."""
    one = Brain(redis_url)
    yield one
    one.redis.close()


@pytest.fixture
def make_brain(redis_url: str) -> Callable[..., Brain]:
    """With other environment variables than the default's."""
    return lambda **environ: Brain(redis_url, environ)
