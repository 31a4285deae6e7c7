"""Every rule, alone between two layers, and in random modules: never wrong without a word."""

import random

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from tests.graphs.tracing.faithful import assert_faithful
from tests.graphs.tracing.pieces import ANY, PIECES, layer, shape_of

KINDS = [(name, kind) for name, piece in PIECES.items() for kind in piece.kinds[:1]]


def between_layers(names: list[str], kind: str, width: int) -> nn.Sequential:
    """The pieces one behind the other, with a layer in front and one behind."""
    made = [layer(kind, 3, width)]
    for name in names:
        made.append(PIECES[name].make(kind, width))
        kind = PIECES[name].after or kind
    return nn.Sequential(*made, layer(kind, width, 2))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_piece_is_traced(name, kind):
    torch.manual_seed(0)
    assert_faithful(between_layers([name], kind, 4), torch.randn(shape_of(kind, 3)))


def random_module(seed: int) -> tuple[nn.Module, torch.Tensor]:
    """A few pieces in a row, on values of a random kind and width."""
    chosen = random.Random(seed)
    torch.manual_seed(seed)
    kind, width = chosen.choice(ANY), chosen.choice((1, 2, 4, 6))
    names, now = [], kind
    for _ in range(chosen.randint(2, 5)):
        names.append(chosen.choice([n for n, piece in PIECES.items() if now in piece.kinds]))
        now = PIECES[names[-1]].after or now
    return between_layers(names, kind, width), torch.randn(shape_of(kind, 3))


def is_right(seed: int) -> bool:
    """Whether a random module is traced, and rightly; False where the one error refuses it."""
    module, inputs = random_module(seed)
    try:
        assert_faithful(module, inputs, seed=seed)
    except NNGraphsError:
        return False
    return True


@pytest.mark.parametrize("seed", range(40))
def test_random_modules_are_traced_rightly(seed):
    assert is_right(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(40, 1040, 100))
def test_many_random_modules_are_right_or_refused(first):
    traced = [is_right(seed) for seed in range(first, first + 100)]
    assert sum(traced) > 90
