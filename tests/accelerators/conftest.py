"""The devices on which the tests of this folder run: one that is none, and a GPU."""

import pytest
import torch

from tests.accelerators.pseudo_accelerator import NAME, pseudo_accelerator


@pytest.fixture(params=[NAME, pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """An accelerator: always the pseudo one, by `-m gpu` the first GPU."""
    if request.param == NAME:
        with pseudo_accelerator() as found:
            yield found
    elif torch.cuda.is_available():
        yield torch.device("cuda", 0)
    else:
        pytest.skip("there is no GPU")
