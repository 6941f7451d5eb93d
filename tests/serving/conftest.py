from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving_fakes import InProcess, running, write_version

from serving.server import create_app


@pytest.fixture
def models_root(tmp_path: Path) -> Path:
    """A models folder with version 1 of `dec`: z [B, 2] -> mean [B, 28, 28, 1], 0.5 everywhere for z = 0."""
    root = tmp_path / "models"
    write_version(root)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A running server of `dec`, for tests that only ask."""
    root = tmp_path_factory.mktemp("served")
    write_version(root)
    with running(create_app(root)) as transport:
        yield transport


@pytest.fixture(scope="module")
def http(server: InProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url="http://server", transport=server) as client:
        yield client
