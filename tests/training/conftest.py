"""A run without interruptions, which others are compared with."""

from pathlib import Path

import pytest
import torch

from tests.training.runs import train


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder)
    torch.set_num_threads(before)
    return folder
