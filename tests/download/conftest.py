"""A server on this machine that breaks off, lies or is old-fashioned."""

from collections.abc import Iterator

import pytest

from tests.download.server import Server, running_server


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    with running_server(monkeypatch) as server:
        yield server
