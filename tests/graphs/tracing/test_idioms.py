"""Everyday ways to write a forward pass: each is traced, and what its graph says is right."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.tracing import trace
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


def low_rank(forward) -> nn.Module:
    return two(forward, A=random(2, 6), B=random(8, 2))


IDIOMS |= {
    "a low-rank sum": (
        lambda: low_rank(
            lambda m, x: m.b(F.linear(x, m.a.weight + 0.5 * m.B @ m.A, m.a.bias).tanh())
        ),
        (POINTS,),
    ),
    "a low-rank difference, transposed": (
        lambda: low_rank(
            lambda m, x: m.b(
                F.linear(x, m.a.weight - (m.A.T @ m.B.t()).mT * 2 / 3, m.a.bias).tanh()
            )
        ),
        (POINTS,),
    ),
    "weights of a length of their own": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(Linear(6, 8)),
            nn.Tanh(),
            nn.utils.parametrizations.weight_norm(Linear(8, 2, bias=False)),
        ),
        (POINTS,),
    ),
    "kernels of a length of their own": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
            nn.ReLU(),
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 3, groups=2)),
        ),
        (IMAGES,),
    ),
    "lengths behind joined channels": (
        lambda: Written(
            lambda m, x: m.c(torch.cat([m.a(x).relu(), x], 1)),
            a=Linear(6, 8),
            c=nn.utils.parametrizations.weight_norm(Linear(14, 3)),
        ),
        (POINTS,),
    ),
}
IDIOMS |= {
    "a gain that is one and a parameter": (
        lambda: two(
            lambda m, x: m.b(F.layer_norm(m.a(x), (8,), m.gain + 1, m.shift).tanh()),
            gain=random(8),
            shift=random(8),
        ),
        (POINTS,),
    ),
    "a gain behind running statistics that is one and a parameter": (
        lambda: two(
            lambda m, x: m.b(F.batch_norm(m.a(x), m.mean, m.var, m.gain + 1, m.shift).tanh()),
            gain=random(8),
            shift=random(8),
            mean=torch.randn(8),
            var=torch.rand(8) + 0.5,
        ),
        (POINTS,),
    ),
    "a weight that is doubled": (
        lambda: Written(lambda m, x: F.linear(x, 2 * m.own).tanh(), own=random(3, 6)),
        (POINTS,),
    ),
    "a weight on the left": (
        lambda: two(lambda m, x: m.b((m.own @ m.a(x).tanh().mT).mT.relu()), own=random(8, 8)),
        (torch.randn(2, 5, 6),),
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
    "a sum of every channel with every other": (
        lambda: Written(
            lambda m, x: m.a(x)[..., None, :] + m.b(x)[..., None], a=Linear(6, 4), b=Linear(6, 3)
        ),
        (POINTS,),
    ),
    "every channel of one with every channel of another": (
        lambda: Written(
            lambda m, x: m.out((m.a(x).unsqueeze(-1) * m.b(x).unsqueeze(-2)).flatten(-2)),
            a=Linear(8, 4),
            b=Linear(8, 3),
            out=Linear(12, 2),
        ),
        (TOKENS,),
    ),
    "heads that are padded": (
        lambda: attention(
            lambda m, x: attending(m, x, k=lambda m, h: F.pad(h, (0, 0, 0, 0, 1, 1))[:, 1:-1])
        ),
        (TOKENS,),
    ),
    "minus a buffer that is not saved": (
        lambda: two(lambda m, x: m.b(m.a(x - torch.arange(6.0)).relu())),
        (POINTS,),
    ),
}


def attending(m, x, mask=None, *, q=lambda m, h: h, k=lambda m, h: h):
    """Two heads of four channels, with what is done to queries and keys."""
    queries, keys, values = (part(x).view(2, 5, 2, 4) for part in (m.q, m.k, m.v))
    sides = q(m, queries).transpose(1, 2), k(m, keys).transpose(1, 2), values.transpose(1, 2)
    return m.out(F.scaled_dot_product_attention(*sides, mask).transpose(1, 2).reshape(2, 5, 8))


def attention(forward, **parts) -> nn.Module:
    maps = {name: Linear(8, 8) for name in ("q", "k", "v")}
    return Written(forward, **maps, out=Linear(8, 3), **parts)


def normed(m, heads):
    return m.norm(heads)


def scaled(m, heads):
    return heads * heads.square().mean(-1, keepdim=True).add(1e-6).rsqrt() * m.gain + m.shift


def unit(m, heads):
    return F.normalize(heads, dim=-1)


def first_apart(m, heads):
    return torch.cat([heads[:, :1], heads[:, 1:] * torch.ones_like(heads[:, 1:]) * 3], 1)


def apart(m, x):
    return attending(m, x, q=normed, k=lambda m, h: m.other(h))


HEADS, HEAD = (2, 1), (4, 2)  # two heads; four channels, drawn for each
WHOLE = [(4, 1), HEADS, HEAD]  # queries and keys have one order in all heads, values their own
ATTENTION = {
    "a norm of each head": (
        lambda: attention(lambda m, x: attending(m, x, q=normed, k=normed), norm=nn.RMSNorm(4)),
        (TOKENS,),
        WHOLE,
    ),
    "norms of each head, of queries and of keys": (
        lambda: attention(apart, norm=nn.LayerNorm(4), other=nn.RMSNorm(4)),
        (TOKENS,),
        WHOLE,
    ),
    "a gain and a shift of each head": (
        lambda: attention(
            lambda m, x: attending(m, x, q=scaled, k=scaled), gain=random(4), shift=random(4)
        ),
        (TOKENS,),
        WHOLE,
    ),
    "unit length in each head": (
        lambda: attention(lambda m, x: attending(m, x, q=unit, k=unit)),
        (TOKENS,),
        [HEADS, HEAD, HEAD],
    ),
    "a class token that is turned otherwise": (
        lambda: attention(lambda m, x: attending(m, x, q=first_apart, k=first_apart)),
        (TOKENS,),
        [HEADS, HEAD, HEAD],
    ),
    "names of operations that are known by others": (
        lambda: attention(lambda m, x: attending(m, torch.multiply(x, 2.0).clip(-1, 1))),
        (TOKENS,),
        [HEADS, HEAD, HEAD],
    ),
    "a mask of keys": (
        lambda: Written(
            lambda m, x, k: m.inner(x, x, x, key_padding_mask=k, need_weights=False)[0],
            inner=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        (TOKENS, torch.zeros(2, 5, dtype=torch.bool)),
        [HEADS, HEAD, HEAD],
    ),
    "scores of an input": (
        lambda: attention(lambda m, x, mask: attending(m, x, mask)),
        (TOKENS, torch.randn(5, 5)),
        [HEADS, HEAD, HEAD],
    ),
    "relative positions": (
        lambda: attention(
            lambda m, x: attending(m, x, m.table(m.offsets).permute(2, 0, 1)[None]),
            table=nn.Embedding(9, 2),
            offsets=torch.arange(5)[None] - torch.arange(5)[:, None] + 4,
        ),
        (TOKENS,),
        [HEADS, HEAD, HEAD],
    ),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_keeps_its_symmetries(name):
    make, inputs, expected = ATTENTION[name]
    symmetries = assert_faithful(made(make), *inputs).symmetries
    found = zip(symmetries.sizes, symmetries.num_copies, strict=True)
    assert sorted(pair for pair in found if pair[0] > 1) == sorted(expected)


def test_data_that_differ_between_heads_tell_them_apart():
    def forward(m, x, ids):
        slopes = torch.tensor([0.5, 2.0]).view(1, 2, 1, 1)
        return attending(m, x, ids[:, None, None].float() * slopes)

    template = assert_faithful(attention(forward), TOKENS, torch.arange(10).view(2, 5))
    assert sorted(size for size in template.symmetries.sizes if size > 1) == [4, 4, 4, 4]


def test_masks_of_single_channels_tell_them_apart():
    """Whatever the masks: here a comparison that random integers would never meet."""
    module = two(lambda m, x, ids: m.b(m.a(x).tanh() * (ids == 1)))
    assert permutations(module, POINTS, torch.randint(0, 2, (5, 8))) == []
    module = two(lambda m, x, ids: m.b(m.a(x).tanh() * (ids == 1)[:, :1].expand(-1, 8)))
    assert permutations(module, POINTS, torch.randint(0, 2, (5, 8))) == [8]


@pytest.mark.parametrize("value", [lambda m, x: m.own, lambda m, x: x.sum()])
def test_what_is_filled_in_must_be_a_number(value):
    def forward(m, x):
        mask = (torch.arange(8) % 2 == 0)[None]
        return m.b(m.a(x).tanh().masked_fill(mask, value(m, x)))

    with pytest.raises(NNGraphsError, match=r"masked_fill.*is no number"):
        trace(two(forward, own=random()), POINTS)


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


def test_lengths_of_the_places_of_a_kernel_are_carried_along():
    norm = nn.utils.parametrizations.weight_norm
    module = nn.Sequential(
        nn.Conv1d(3, 4, 1),
        nn.Tanh(),
        norm(nn.Conv1d(4, 5, 3), dim=2),
        nn.Tanh(),
        nn.Conv1d(5, 2, 1),
    )
    template = assert_faithful(module, torch.randn(2, 3, 7))
    assert sorted(template.symmetries.sizes) == [4, 5]
    assert template.num_unshown == 3
    assert not template.is_runnable


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
