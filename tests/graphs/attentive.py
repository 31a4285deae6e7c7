"""Torch modules with embeddings, attention and recurrence, and the permutations that they allow."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.graphs.convolutional import Case, Net

Sizes = list[tuple[int, int]]


@dataclass(frozen=True)
class Expected:
    """A case and its permutations: how many items each moves, in how many copies; those of 1 left.

    `is_runnable`: message passing over the graph gives the outputs.
    """

    case: Case
    sizes: Sizes
    is_runnable: bool = False


def heads(values: Tensor, num_heads: int) -> Tensor:
    """`[batch, tokens, width]` to `[batch, heads, tokens, head width]`."""
    return values.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merged(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention with as many heads for queries as `num_heads`, for keys as `num_shared`."""

    def __init__(self, width=6, *, num_heads=2, num_shared=None, head_width=3, bias=True):
        super().__init__()
        self.num_heads, self.num_shared = num_heads, num_shared or num_heads
        self.q = nn.Linear(width, num_heads * head_width, bias=bias)
        self.k = nn.Linear(width, self.num_shared * head_width, bias=bias)
        self.v = nn.Linear(width, self.num_shared * head_width, bias=bias)
        self.o = nn.Linear(num_heads * head_width, width, bias=bias)

    def parts(self, values):
        numbers = (self.num_heads, self.num_shared, self.num_shared)
        layers = zip((self.q, self.k, self.v), numbers, strict=True)
        return tuple(heads(layer(values), number) for layer, number in layers)

    def forward(self, values):
        found = F.scaled_dot_product_attention(
            *self.parts(values), is_causal=True, enable_gqa=self.num_heads != self.num_shared
        )
        return self.o(merged(found))


class Einsum(Attention):
    """The same with einsum, a mask and a softmax."""

    def forward(self, values):
        q, k, v = (part.transpose(1, 2) for part in self.parts(values))
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])
        mask = torch.ones(scores.shape[-2:]).tril().bool()
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return self.o(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2))


class Rotary(Attention):
    """The same with rotary embeddings, spelt as Llama does."""

    def forward(self, values):
        q, k, v = self.parts(values)
        cos, sin = rotations(values.shape[1], q.shape[-1], values)
        q, k = (part * cos + turned(part) * sin for part in (q, k))
        repeat = self.num_heads // self.num_shared
        k, v = (repeated(part, repeat) for part in (k, v))
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1])
        mask = torch.full(scores.shape[-2:], -torch.inf).triu(1)[None, None].to(scores.dtype)
        weights = F.softmax(scores + mask, dim=-1, dtype=torch.float64).to(q.dtype)
        return self.o(merged(torch.matmul(weights, v).contiguous()))


def rotations(num_tokens: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        speeds = 100.0 ** -(torch.arange(0, width, 2).double() / width)
        angles = torch.arange(num_tokens).double()[:, None] @ speeds[None]
        angles = torch.cat((angles, angles), -1)[None, None]
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def turned(values: Tensor) -> Tensor:
    first, second = values[..., : values.shape[-1] // 2], values[..., values.shape[-1] // 2 :]
    return torch.cat((-second, first), -1)


def repeated(values: Tensor, times: int) -> Tensor:
    batch, number, tokens, width = values.shape
    values = values[:, :, None].expand(batch, number, times, tokens, width)
    return values.reshape(batch, number * times, tokens, width)


class RMSNorm(nn.Module):
    """As Llama writes it."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, values):
        dtype = values.dtype
        values = values.to(torch.float64)
        variance = values.pow(2).mean(-1, keepdim=True)
        return self.weight * (values * torch.rsqrt(variance + 1e-6)).to(dtype)


class Llama(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, width), RMSNorm(width)
        options = {"num_heads": 4, "num_shared": 2, "head_width": 4, "bias": False}
        self.attend = nn.ModuleList([Rotary(width, **options) for _ in range(2)])
        self.norms = nn.ModuleList([RMSNorm(width) for _ in range(4)])
        maps = [(width, 5), (width, 5), (5, width)] * 2
        self.maps = nn.ModuleList([nn.Linear(*shape, bias=False) for shape in maps])
        self.head = nn.Linear(width, 11, bias=False)

    def forward(self, tokens):
        stream = self.embed(tokens)
        for layer in range(2):
            stream = stream + self.attend[layer](self.norms[2 * layer](stream))
            values = self.norms[2 * layer + 1](stream)
            gate, up, down = self.maps[3 * layer : 3 * layer + 3]
            stream = stream + down(F.silu(gate(values)) * up(values))
        return self.head(self.norm(stream))


class Conv1D(nn.Module):
    """GPT-2's linear map, whose weight is `[in, out]`."""

    def __init__(self, fan_in: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(fan_in, width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, values):
        flat = torch.addmm(self.bias, values.view(-1, values.shape[-1]), self.weight)
        return flat.view(*values.shape[:-1], -1)


def gelu_new(values: Tensor) -> Tensor:
    cube = values + 0.044715 * torch.pow(values, 3.0)
    return 0.5 * values * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * cube))


class GPT2(nn.Module):
    """With its head tied to its embeddings, and longer tables of positions than of tokens."""

    def __init__(self, width=6):
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, width), nn.Embedding(9, width)
        maps = [(width, 3 * width), (width, width), (width, 10), (10, width)] * 2
        self.maps = nn.ModuleList([Conv1D(*shape) for shape in maps])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(5)])
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        stream = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1])[None])
        for layer in range(2):
            mix, out, up, down = self.maps[4 * layer : 4 * layer + 4]
            parts = mix(self.norms[2 * layer](stream)).split(stream.shape[-1], dim=2)
            q, k, v = (part.view(*part.shape[:2], 2, -1).transpose(1, 2) for part in parts)
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            stream = stream + out(found.transpose(1, 2).contiguous().view(stream.shape))
            stream = stream + down(gelu_new(up(self.norms[2 * layer + 1](stream))))
        return self.head(self.norms[4](stream))


class BERT(nn.Module):
    """With kinds of tokens, a pooler of the first token, and a tied head with a bias of its own."""

    def __init__(self, width=6):
        super().__init__()
        sizes = (11, 7, 2)
        self.tokens, self.places, self.kinds = (nn.Embedding(size, width) for size in sizes)
        self.register_buffer("numbers", torch.arange(7)[None])
        self.attend = nn.ModuleList([Attention(width) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(6)])
        maps = [(width, 10), (10, width)] * 2 + [(width, width), (width, width), (width, 3)]
        self.maps = nn.ModuleList([nn.Linear(*shape) for shape in maps])
        self.bias = nn.Parameter(torch.zeros(11))

    def forward(self, tokens):
        kinds = self.kinds(torch.zeros_like(tokens))
        stream = self.tokens(tokens) + kinds + self.places(self.numbers[:, : tokens.shape[1]])
        stream = self.norms[0](stream)
        for layer in range(2):
            stream = self.norms[2 * layer + 1](stream + self.attend[layer](stream))
            up, down = self.maps[2 * layer : 2 * layer + 2]
            stream = self.norms[2 * layer + 2](stream + down(F.gelu(up(stream))))
        pooled = torch.tanh(self.maps[4](stream[:, 0]))
        words = self.norms[5](F.gelu(self.maps[5](stream)))
        return F.linear(words, self.tokens.weight, self.bias), self.maps[6](pooled)


class ViT(nn.Module):
    """With a class token, positions, layer scale and torch's own encoder layers."""

    def __init__(self, width=6):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 10, width))
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(
                    width, 2, 10, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(2)
            ]
        )
        self.scale = nn.Parameter(torch.zeros(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, images):
        values = self.patches(images).flatten(2).transpose(1, 2)
        values = torch.cat([self.token.expand(len(values), -1, -1), values], 1) + self.places
        values = values + self.scale * self.layers[0](values)
        return self.head(self.norm(self.layers[1](values))[:, 0])


class Recurrent(nn.Module):
    """A recurrent layer, and a linear map of what it puts out."""

    def __init__(self, kind: type, **options):
        super().__init__()
        self.layer = kind(3, 4, batch_first=True, **options)
        width = (options.get("proj_size") or 4) * (1 + options.get("bidirectional", False))
        self.head = nn.Linear(width, 2)

    def forward(self, values):
        return self.head(self.layer(values)[0])


def last_state(m, x):
    _, (hidden, _) = m.layer(x)
    return m.head(hidden[-1])


def encoder_decoder(m, x, y):
    _, hidden = m.encoder(x)
    return m.head(m.decoder(y, hidden)[0])


def multihead(*, is_cross: bool, needs_weights: bool):
    """torch's multi-head attention between two linear maps."""

    def forward(m, x, *others):
        query = m.first(x)
        other = m.second(others[0]) if is_cross else query
        return m.last(m.attend(query, other, other, need_weights=needs_weights)[0])

    def make() -> nn.Module:
        layers = {"first": nn.Linear(3, 6), "last": nn.Linear(6, 2)}
        layers |= {"second": nn.Linear(3, 6)} if is_cross else {}
        return Net(forward, attend=nn.MultiheadAttention(6, 2, batch_first=True), **layers)

    return make


def between(layer: nn.Module, width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), layer, nn.Linear(width, 2))


class ByHand(nn.Module):
    """Parameters that are added and multiplied by hand, for channels and for places."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 2)
        shapes = {"places": (6, 3, 3), "bias": (6, 1, 1), "gain": (6,), "rows": (9, 6)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, images):
        values = torch.tanh(self.first(images) + self.places) + self.bias
        values = self.gain * values.flatten(2).mT
        return self.last(F.silu(values * self.rows).sum(1))


def bag_of_tokens() -> nn.Module:
    layers = {"embed": nn.Embedding(11, 4), "a": nn.Linear(4, 5), "b": nn.Linear(5, 2)}
    return Net(lambda m, x: m.b(torch.relu(m.a(m.embed(x))).mean(1)), **layers)


def places_of_tokens() -> nn.Module:
    layers = {"embed": nn.Embedding(11, 4), "places": nn.Embedding(7, 4), "a": nn.Linear(4, 2)}
    return Net(lambda m, x: m.a(torch.tanh(m.embed(x) + m.places(torch.arange(5)))), **layers)


def waves(m, x):
    """Constants that differ between the channels that they are added to."""
    places = torch.arange(5).double()[:, None] * torch.arange(1, 7).double()
    values = m.a(x) + torch.sin(places)
    return m.c(values + m.b(torch.relu(m.h(values))))


TOKENS, WORDS = ((2, 5, 3),), ((2, 5),)
MHA = [(6, 1), (2, 1), (3, 2), (3, 2), (6, 1)]
ATTENTIVE: dict[str, Expected] = {
    "embedding": Expected(Case(bag_of_tokens, WORDS, 11), [(4, 1), (5, 1)], True),
    "positions": Expected(Case(places_of_tokens, WORDS, 11), [(4, 1)], True),
    "by hand": Expected(Case(ByHand, ((2, 3, 6, 6),)), [(6, 1)], True),
    "attention": Expected(Case(lambda: between(Attention()), TOKENS), MHA),
    "one head": Expected(
        Case(lambda: between(Attention(num_heads=1)), TOKENS), [(6, 1), (3, 1), (3, 1), (6, 1)]
    ),
    "einsum": Expected(Case(lambda: between(Einsum()), TOKENS), MHA),
    "grouped queries": Expected(
        Case(lambda: between(Attention(num_heads=6, num_shared=2)), TOKENS),
        [(6, 1), (2, 1), (3, 2), (3, 2), (3, 2), (6, 1)],
    ),
    "one key for all": Expected(
        Case(lambda: between(Attention(num_heads=4, num_shared=1)), TOKENS),
        [(6, 1), (4, 1), (3, 1), (3, 1), (6, 1)],
    ),
    "rotary": Expected(
        Case(lambda: between(Rotary(head_width=4)), TOKENS), [(6, 1), (2, 1), (4, 2), (6, 1)]
    ),
    "rotary with grouped queries": Expected(
        Case(lambda: between(Rotary(num_heads=6, num_shared=2, head_width=4)), TOKENS),
        [(6, 1), (2, 1), (3, 2), (4, 2), (6, 1)],
    ),
    "multi-head": Expected(Case(multihead(is_cross=False, needs_weights=False), TOKENS), MHA),
    "multi-head with weights": Expected(
        Case(multihead(is_cross=False, needs_weights=True), TOKENS), MHA
    ),
    "cross": Expected(
        Case(multihead(is_cross=True, needs_weights=False), ((2, 5, 3), (2, 4, 3))),
        [(6, 1), *MHA],
    ),
    "encoder layer": Expected(
        Case(lambda: between(nn.TransformerEncoderLayer(6, 2, 5, batch_first=True)), TOKENS),
        [(6, 1), (2, 1), (3, 2), (3, 2), (5, 1)],
    ),
    "decoder layer": Expected(
        Case(
            lambda: Net(
                lambda m, x, y: m.c(m.layer(m.a(x), m.b(y))),
                layer=nn.TransformerDecoderLayer(6, 2, 5, batch_first=True),
                a=nn.Linear(3, 6),
                b=nn.Linear(3, 6),
                c=nn.Linear(6, 2),
            ),
            ((2, 5, 3), (2, 4, 3)),
        ),
        [(6, 1), (6, 1), (5, 1)] + 2 * [(2, 1), (3, 2), (3, 2)],
    ),
    "softmax of channels": Expected(Case(lambda: between(nn.Softmax(-1)), TOKENS), [(6, 1)], True),
    "channel constants": Expected(
        Case(
            lambda: Net(
                waves, a=nn.Linear(3, 6), h=nn.Linear(6, 5), b=nn.Linear(5, 6), c=nn.Linear(6, 2)
            ),
            TOKENS,
        ),
        [(5, 1)],
    ),
    "LSTM": Expected(Case(lambda: Recurrent(nn.LSTM), TOKENS), [(4, 1)]),
    "LSTM of two layers": Expected(
        Case(lambda: Recurrent(nn.LSTM, num_layers=2, bias=False), TOKENS), [(4, 1), (4, 1)]
    ),
    "LSTM both ways": Expected(
        Case(lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), TOKENS), [(4, 1)] * 4
    ),
    "LSTM with projection": Expected(
        Case(lambda: Recurrent(nn.LSTM, proj_size=3), TOKENS), [(3, 1), (4, 1)]
    ),
    "LSTM's last state": Expected(
        Case(lambda: Net(last_state, layer=nn.LSTM(3, 4, 2), head=nn.Linear(4, 2)), ((5, 2, 3),)),
        [(4, 1), (4, 1)],
    ),
    "GRU": Expected(Case(lambda: Recurrent(nn.GRU), TOKENS), [(4, 1)]),
    "GRU both ways": Expected(
        Case(lambda: Recurrent(nn.GRU, num_layers=2, bidirectional=True), TOKENS), [(4, 1)] * 4
    ),
    "GRU to GRU": Expected(
        Case(
            lambda: Net(
                encoder_decoder,
                encoder=nn.GRU(3, 4),
                decoder=nn.GRU(3, 4),
                head=nn.Linear(4, 2),
            ),
            ((5, 2, 3), (4, 2, 3)),
        ),
        [(4, 1)],
    ),
    "Elman": Expected(Case(lambda: Recurrent(nn.RNN), TOKENS), [(4, 1)]),
    "BERT": Expected(
        Case(BERT, WORDS, 11),
        [(6, 1), (6, 1)] + 2 * [(2, 1), (3, 2), (3, 2), (10, 1)],
    ),
    "GPT-2": Expected(Case(GPT2, WORDS, 11), [(6, 1), *(2 * [(2, 1), (3, 2), (3, 2), (10, 1)])]),
    "ViT": Expected(
        Case(ViT, ((2, 3, 12, 12),)), [(6, 1), *(2 * [(2, 1), (3, 2), (3, 2), (10, 1)])]
    ),
    "Llama": Expected(Case(Llama, WORDS, 11), [(8, 1), *(2 * [(2, 1), (2, 2), (4, 2), (5, 1)])]),
}
