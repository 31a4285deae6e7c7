"""Everyday ways to write a forward pass: each is traced, and what its graph says is right."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.graphs.tracing.faithful import Written, assert_faithful

POINTS, TOKENS = torch.randn(5, 6), torch.randn(2, 5, 8)
IMAGES, WAVE = torch.randn(2, 3, 8, 8), torch.randn(2, 20)
Linear = nn.Linear


def random(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def two(function, **parts) -> nn.Module:
    return Written(function, a=Linear(6, 8), b=Linear(8, 2), **parts)


IDIOMS = {
    "class token in front of the input": (
        lambda: Written(
            lambda m, x: m.out(torch.cat([m.own.expand(2, -1, -1), x], 1)[:, 0]),
            own=random(1, 1, 8),
            out=Linear(8, 2),
        ),
        (TOKENS,),
    ),
    "two images joined": (
        lambda: Written(lambda m, x, y: m.c(torch.cat([x, y], 1)), c=nn.Conv2d(6, 4, 3)),
        (IMAGES, IMAGES.flip(0)),
    ),
    "two rows of tokens joined": (
        lambda: Written(lambda m, x, y: m.out(torch.cat([x, y], -1)), out=Linear(16, 4)),
        (TOKENS, TOKENS.flip(0)),
    ),
    "channels in the order of a buffer": (
        lambda: two(
            lambda m, x: m.b(m.a(x).index_select(1, m.order)), order=torch.arange(7, -1, -1)
        ),
        (POINTS,),
    ),
    "a parameter as an output": (
        lambda: two(lambda m, x: (m.b(m.a(x).relu()), m.own), own=random(2)),
        (POINTS,),
    ),
    "a number as an output": (
        lambda: two(lambda m, x: (m.b(m.a(x).relu()), m.own), own=random(1)),
        (POINTS,),
    ),
    "input minus a buffer": (
        lambda: two(lambda m, x: m.b(m.a(x - m.own).relu()), own=torch.randn(6)),
        (POINTS,),
    ),
    "input by a buffer": (
        lambda: two(lambda m, x: m.b(m.a(x / m.own).relu()), own=torch.rand(6) + 1),
        (POINTS,),
    ),
    "input minus a parameter": (
        lambda: two(lambda m, x: m.b(m.a(x - m.own).relu()), own=random(6)),
        (POINTS,),
    ),
    "normalised images": (
        lambda: Written(
            lambda m, x: m.c((x - m.mean) / m.std),
            c=nn.Conv2d(3, 4, 3),
            mean=torch.randn(1, 3, 1, 1),
            std=torch.rand(1, 3, 1, 1) + 0.5,
        ),
        (IMAGES,),
    ),
    "a wave": (lambda: Written(lambda m, x: m.c(x.unsqueeze(1)), c=nn.Conv1d(1, 4, 3)), (WAVE,)),
    "a wave on two new axes": (
        lambda: Written(lambda m, x: m.c(x[:, None, :, None]), c=nn.Conv2d(1, 4, (3, 1))),
        (WAVE,),
    ),
    "numbers one by one": (
        lambda: Written(lambda m, x: m.out(x.unsqueeze(-1)), out=Linear(1, 4)),
        (WAVE,),
    ),
    "frames before channels": (
        lambda: Written(
            lambda m, x: m.c(x.permute(0, 2, 1, 3, 4)), c=nn.Conv3d(3, 4, (2, 4, 4), (2, 4, 4))
        ),
        (torch.randn(1, 2, 3, 8, 8),),
    ),
    "channels last": (
        lambda: Written(lambda m, x: m.c(x.permute(0, 3, 1, 2)), c=nn.Conv2d(3, 4, 3)),
        (torch.randn(2, 8, 8, 3),),
    ),
    "tokens to a series": (
        lambda: Written(lambda m, x: m.c(x.transpose(1, 2)), c=nn.Conv1d(8, 4, 3)),
        (TOKENS,),
    ),
    "the largest over tokens": (
        lambda: two(lambda m, x: m.b(m.a(x).max(1).values)),
        (torch.randn(4, 5, 6),),
    ),
    "a gate of one channel": (
        lambda: two(lambda m, x: m.b(m.a(x) * m.gate(x).sigmoid()), gate=Linear(6, 1)),
        (POINTS,),
    ),
    "weights of experts": (
        lambda: Written(
            lambda m, x: sum(
                w.unsqueeze(-1) * own(x).tanh()
                for w, own in zip(m.gate(x).softmax(-1).unbind(-1), m.own, strict=True)
            ),
            gate=Linear(6, 3),
            own=nn.ModuleList(Linear(6, 4) for _ in range(3)),
        ),
        (POINTS,),
    ),
    "scaled logits of unit length": (
        lambda: Written(
            lambda m, x: m.scale.exp() * F.normalize(m.a(x), dim=-1) @ m.rows.t(),
            a=Linear(6, 8),
            scale=random(),
            rows=random(3, 8),
        ),
        (POINTS,),
    ),
    "value and advantage": (
        lambda: Written(
            lambda m, x: m.v(x) + m.a(x) - m.a(x).mean(-1, keepdim=True),
            v=Linear(6, 1),
            a=Linear(6, 4),
        ),
        (POINTS,),
    ),
    "one number a point": (
        lambda: Written(lambda m, x: m.a(x).squeeze(-1), a=Linear(6, 1)),
        (POINTS,),
    ),
}
ARRANGED = {
    "an empty part of each head": (
        lambda: Written(
            lambda m, x: m.out(_rejoined(m.q(x).view(2, 5, 2, 4)).reshape(2, 5, 8)),
            q=Linear(8, 8),
            out=Linear(8, 2),
        ),
        (TOKENS,),
    ),
    "a learned query": (
        lambda: Written(
            lambda m, x: m.inner(m.own.repeat(2, 1, 1), x, x, need_weights=False)[0],
            own=random(1, 1, 8),
            inner=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        (TOKENS,),
    ),
    "latents": (
        lambda: Written(
            lambda m, x: (m.o(m.n(m.own.expand(2, -1, -1))) @ x.transpose(1, 2)).softmax(-1) @ x,
            own=random(3, 8),
            n=nn.LayerNorm(8),
            o=Linear(8, 8),
        ),
        (TOKENS,),
    ),
    "the last of a recurrent layer": (
        lambda: Written(lambda m, x: m.out(m.own(x)[0][-1]), own=nn.GRU(8, 8), out=Linear(8, 2)),
        (TOKENS,),
    ),
    "minus a buffer that is not saved": (
        lambda: two(lambda m, x: m.b(m.a(x - torch.arange(6.0)).relu())),
        (POINTS,),
    ),
}


def _rejoined(heads):
    return torch.cat([heads[..., :4], heads[..., 4:]], -1)


def made(make) -> nn.Module:
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms_are_traced_and_run(name):
    make, inputs = IDIOMS[name]
    template = assert_faithful(made(make), *inputs)
    assert template.is_runnable
    assert template.is_shown.all()


@pytest.mark.parametrize("name", ARRANGED)
def test_idioms_are_traced(name):
    """Their graphs tell which channels meet, and not at which places."""
    make, inputs = ARRANGED[name]
    assert assert_faithful(made(make), *inputs).is_shown.all()


def permutations(module: nn.Module, *inputs: torch.Tensor) -> list[int]:
    template = assert_faithful(module, *inputs)
    return sorted(size for size in template.symmetries.sizes if size > 1)


def test_functions_of_elements_leave_permutations():
    module = nn.Sequential(Linear(6, 8), nn.Softsign(), Linear(8, 7), nn.PReLU(), Linear(7, 2))
    assert permutations(module, POINTS) == [7, 8]


def test_statistics_over_channels_leave_permutations():
    def forward(m, x):
        x = m.a(x)
        x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 0.1)
        return m.b(x.tanh())

    assert permutations(two(forward), POINTS) == [8]


def test_a_channel_given_to_all_is_told_apart():
    def forward(m, x):
        x = m.a(x).tanh()
        return m.b(x * x[:, 2:3].sigmoid())

    assert permutations(two(forward), POINTS) == [2, 5]


def test_known_functions_pass_signs_and_scales():
    """Odd ones signs, homogeneous ones scales; others neither."""
    found = {}
    for function in (torch.erf, torch.abs, torch.exp):
        template = assert_faithful(two(lambda m, x, f=function: m.b(f(m.a(x)))), POINTS)
        found[function] = {k for kinds in template.neuron_rules.allowed_kinds for k in kinds}
    hidden = {function: kinds & {"sign", "scale"} for function, kinds in found.items()}
    assert hidden == {torch.erf: {"sign"}, torch.abs: {"scale"}, torch.exp: set()}


def test_padding_with_ones_stops_signs_and_scales():
    module = Written(
        lambda m, x: m.b(F.pad(m.a(x).relu(), (1, 1, 1, 1), value=1.0)),
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 2, 3),
    )
    template = assert_faithful(module, IMAGES)
    assert all(kinds == {"permutation"} for kinds in template.neuron_rules.allowed_kinds[:1])


def test_a_parameter_that_is_a_gain_here_and_a_bias_there_moves_as_one():
    module = Written(
        lambda m, x: m.b((m.a(x) * m.own).tanh()) + m.own,
        a=Linear(6, 8),
        b=Linear(8, 8),
        own=random(8),
    )
    out = nn.Sequential(module, nn.Tanh(), Linear(8, 2))
    assert permutations(out, POINTS) == [8]
