"""WS-flex: Watts-Strogatz graphs of any number of edges (You et al., ICML 2020, section 3).

A ring lattice in which nodes may differ by one in how many next nodes they link to, rewired with
probability p. The draws are those of the published generator, one Python random stream over all
tries, so that every published graph comes back from its (nodes, sparsity, p, seed).

Neighbours are bits of a Python integer, in which a test, an edge moved and a flood over the graph
are single operations.
"""

from functools import lru_cache
from random import Random

import numpy as np
from jaxtyping import Float, Integer

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.adjacency import Adjacencies, Adjacency

NUM_TRIES = 100  # for a connected graph

Rows = list[int]
"""A graph: for each node the set of its neighbours, neighbour j as bit j."""


def ws_flex(num_nodes: int, *, sparsity: float, p: float, seed: int = 0) -> Adjacency:
    """A WS-flex graph.

    Args:
        num_nodes: of the graph.
        sparsity: mean degree in relation to `num_nodes`; 1 is the complete graph.
        p: probability that an edge is rewired.
        seed: of Python's random numbers.

    Raises:
        NNGraphsError: for fewer edges than nodes, a sparsity or p above 1, a negative p, and where
            no try gives a connected graph.
    """
    return ws_flex_graphs(num_nodes, np.array([sparsity]), np.array([p]), np.array([seed]))[0]


def ws_flex_graphs(
    num_nodes: int,
    sparsity: Float[np.ndarray, " N"],
    p: Float[np.ndarray, " N"],
    seed: Integer[np.ndarray, " N"],
) -> Adjacencies:
    """`ws_flex` for many graphs of the same size, `[N, n, n]`.

    Raises:
        NNGraphsError: as `ws_flex`, of the first graph that cannot be made.
    """
    graphs = []
    for one_sparsity, one_p, one_seed in zip(
        sparsity.tolist(), p.tolist(), seed.tolist(), strict=True
    ):
        _check(num_nodes, one_sparsity, one_p)
        rows = draw_ws_flex(num_nodes, one_sparsity, one_p, one_seed)
        if rows is None:
            raise NNGraphsError(
                _asked(num_nodes, one_sparsity, one_p),
                found=f"none of {NUM_TRIES} tries of seed {one_seed} is connected.",
                do="Raise the sparsity, lower p, or choose another seed.",
            )
        graphs.append(rows)
    return unpack_rows(graphs, num_nodes)


def num_edges_of(num_nodes: int, sparsity: float) -> int:
    """Edges that the ring lattice has; halves are rounded to even, as Python does."""
    return round(num_nodes * sparsity * num_nodes / 2)


def draw_ws_flex(num_nodes: int, sparsity: float, p: float, seed: int) -> Rows | None:
    """The rows of a WS-flex graph; None where no try is connected. Nothing is checked."""
    lattice, counts = _ring_lattice(num_nodes, num_edges_of(num_nodes, sparsity))
    generator = Random(seed)
    for _ in range(NUM_TRIES):
        rows = list(lattice)
        _rewire(rows, counts, p, generator)
        if _is_connected(rows):
            return rows
    return None


def unpack_rows(graphs: list[Rows], num_nodes: int) -> Adjacencies:
    """Bit sets as adjacency matrices `[N, n, n]`."""
    num_bytes = -(-num_nodes // 8)
    content = b"".join(row.to_bytes(num_bytes, "little") for rows in graphs for row in rows)
    packed = np.frombuffer(content, np.uint8).reshape(len(graphs), num_nodes, num_bytes)
    return np.unpackbits(packed, axis=-1, count=num_nodes, bitorder="little").view(bool)


@lru_cache(maxsize=1024)
def _ring_lattice(num_nodes: int, num_edges: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows, and to how many next nodes each node links."""
    each, rest = divmod(num_edges, num_nodes)
    counts = tuple(each + (node < rest) for node in range(num_nodes))
    rows = [0] * num_nodes
    for node, count in enumerate(counts):
        for offset in range(1, count + 1):
            other = (node + offset) % num_nodes
            rows[node] |= 1 << other
            rows[other] |= 1 << node
    return tuple(rows), counts


def _rewire(rows: Rows, counts: tuple[int, ...], p: float, generator: Random) -> None:
    """Moves the far end of each edge of the lattice, with probability p, to a node drawn.

    A node is drawn as `generator.choice(range(n))` does it: from as many bits as n has, again
    where they say n or more. To draw again because a node is taken is then the same loop.
    """
    num_nodes = len(rows)
    uniform, bits, num_bits = generator.random, generator.getrandbits, num_nodes.bit_length()
    outside = -1 << num_nodes  # all bits from n on
    for node, count in enumerate(counts):
        row, itself = rows[node], 1 << node
        for offset in range(1, count + 1):
            if uniform() >= p:
                continue
            taken = row | itself | outside
            if taken == -1:  # linked to all; the published loop draws two nodes before it sees it
                generator.choice(rows)
                generator.choice(rows)
                continue
            new = bits(num_bits)
            while taken >> new & 1:
                new = bits(num_bits)
            old = (node + offset) % num_nodes
            row ^= 1 << old | 1 << new
            rows[old] ^= itself
            rows[new] ^= itself
        rows[node] = row


def _is_connected(rows: Rows) -> bool:
    seen = waiting = 1
    while waiting:
        node = waiting & -waiting
        new = rows[node.bit_length() - 1] & ~seen
        seen |= new
        waiting ^= node | new
    return seen == (1 << len(rows)) - 1


def _check(num_nodes: int, sparsity: float, p: float) -> None:
    asked = _asked(num_nodes, sparsity, p)
    if not 0 <= p <= 1:
        raise NNGraphsError(asked, found="p is no probability.", do="Choose p from 0 to 1.")
    if not sparsity <= 1:
        raise NNGraphsError(
            asked,
            found="its nodes would have more neighbours than there are nodes.",
            do="Choose a sparsity up to 1, the complete graph.",
        )
    if num_nodes < 2 or num_edges_of(num_nodes, sparsity) < num_nodes:
        raise NNGraphsError(
            asked,
            found=f"it would have {num_edges_of(num_nodes, sparsity)} edges, fewer than a ring.",
            do=f"Choose a sparsity of 2 / {num_nodes} nodes or more.",
        )


def _asked(num_nodes: int, sparsity: float, p: float) -> str:
    return f"make a WS-flex graph of {num_nodes} nodes, sparsity {sparsity:g}, p {p:g}"
