"""Parts that don't see each other are computed side by side, in the modes of the caller."""

import threading
import time

import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.threads import num_cores, one_thread, side_by_side


def test_results_come_in_the_order_of_the_parts():
    first_may_end = threading.Event()

    def work(part: int) -> int:
        if part == 0:
            assert first_may_end.wait(60)  # until another thread is done with the next part
        else:
            first_may_end.set()
        return part * part

    assert list(side_by_side(work, range(5), num_workers=2)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_each_part_has_one_core(num_workers):
    torch.set_num_threads(3)
    counts = list(side_by_side(lambda _: num_cores(), range(6), num_workers=num_workers))
    assert counts == [1] * 6
    assert num_cores() == 3
    torch.set_num_threads(1)


def test_one_thread_ends_with_its_block():
    torch.set_num_threads(3)
    with one_thread():
        assert num_cores() == 1
    assert num_cores() == 3
    with pytest.raises(NNGraphsError), one_thread():
        raise NNGraphsError("stop", found="this.", do="Go on.")
    assert num_cores() == 3
    torch.set_num_threads(1)


def modes(_) -> tuple:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
    )


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.enable_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.autocast("cpu", torch.float16, enabled=False),
    ],
)
def test_modes_of_the_caller(mode):
    with mode():
        expected = modes(None)
        assert list(side_by_side(modes, range(3), num_workers=2)) == [expected] * 3
    assert modes(None) == next(side_by_side(modes, range(2), num_workers=2))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_ends_it(num_workers):
    done = []

    def work(part: int) -> None:
        if part == 0:
            raise ValueError("part 0")
        time.sleep(0.01)
        done.append(part)

    with pytest.raises(ValueError, match="part 0"):
        list(side_by_side(work, range(100), num_workers=num_workers))
    assert len(done) < 99
    assert list(side_by_side(len, ["ab"] * 3, num_workers=num_workers)) == [2, 2, 2]
