"""Which layer of a state dict comes after which.

Where names differ first in a number, the numbers decide (`net.2` before `net.10`). Where they
differ in a word, names say nothing, and the file's order decides, if it is that of a module. It is
not in a file that was sorted or shuffled; then shapes decide, and if they leave a choice, it is an
error.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations, product

from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.weight_names import listed

Shapes = Mapping[str, tuple[int, ...]]
MAX_ORDERS = 5_040  # of words that are tried: all of seven


@dataclass(frozen=True)
class LayerNames:
    """What the tensors of a layer are called."""

    weight: str
    bias: str | None = None


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers in a name by their value."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def pair_layers(shapes: Shapes) -> list[LayerNames] | None:
    """Weights with their biases, as names pair them, in the file's order; None: they don't."""
    weights = {_stem(name): name for name in shapes if len(shapes[name]) > 1}
    biases = {_stem(name): name for name in shapes if len(shapes[name]) == 1}
    if len(weights) + len(biases) != len(shapes) or not biases.keys() <= weights.keys():
        return None
    return [LayerNames(name, biases.get(stem)) for stem, name in weights.items()]


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def order_tensors(
    shapes: Shapes, fits: Callable[[Sequence[LayerNames]], bool], *, keeps_order: bool = True
) -> list[str]:
    """Names of all tensors, layer by layer, each bias behind its weight if names pair them.

    Args:
        shapes: of the tensors, by name, in the file's order.
        fits: whether layers in this order are the network that is asked for, by their shapes.
        keeps_order: whether the kind of file keeps the order that it was written in.

    Raises:
        Skipped: there are several orders, and neither names nor shapes tell which is right.
    """
    layers = pair_layers(shapes)
    if layers is not None:
        by_weight = {layer.weight: layer for layer in layers}
        is_module_order = keeps_order and not _looks_sorted(shapes, layers)
        names = order_names(
            list(by_weight),
            lambda order: fits([by_weight[name] for name in order]),
            is_module_order=is_module_order,
        )
        ordered = [by_weight[name] for name in names]
        return [name for pair in ordered for name in (pair.weight, pair.bias) if name is not None]
    weights = [name for name in shapes if len(shapes[name]) > 1]
    others = [name for name in shapes if len(shapes[name]) < 2]
    weights = order_names(
        weights,
        lambda order: fits([LayerNames(name) for name in order]),
        is_module_order=keeps_order,
    )
    widths = [shapes[name][0] for name in weights]
    others = order_names(
        others,
        lambda order: [shapes[name] for name in order] == [(width,) for width in widths],
        is_module_order=keeps_order,
    )
    return [*weights, *others]


def _looks_sorted(shapes: Shapes, layers: Sequence[LayerNames]) -> bool:
    """Whether a file is sorted by name, which shows in a bias before its weight."""
    place = {name: number for number, name in enumerate(shapes)}
    is_before = (pair.bias is not None and place[pair.bias] < place[pair.weight] for pair in layers)
    return list(shapes) == sorted(shapes) and any(is_before)


def order_names(
    names: Sequence[str], fits: Callable[[Sequence[str]], bool], *, is_module_order: bool
) -> list[str]:
    """Names in the order of layers; where none fits, the most natural one, to be complained of.

    Raises:
        Skipped: several orders fit, and nothing tells which is right.
    """
    orders = islice(possible_orders(names), MAX_ORDERS)
    first = next(orders)
    if is_module_order and first == list(names) and fits(first):
        return first
    fitting = islice((order for order in (first, *orders) if fits(order)), 2)
    found = list(fitting)
    if len(found) == 2:
        raise Skipped(
            Reason.SHAPE,
            f"the order of its layers is not clear: {_shown(found[0])} or {_shown(found[1])}; "
            "names and shapes leave both open. Number the layers, or give a torch module whose "
            "names they have.",
        )
    return found[0] if found else first


def _shown(order: Sequence[str]) -> str:
    return listed(order).replace(", ", " - ")


def possible_orders(names: Sequence[str]) -> Iterator[list[str]]:
    """The orders that numbers in names leave open, that nearest to the given one first."""
    return (list(order) for order in _orders([(name, _parts(name)) for name in names]))


def is_numbered(names: Sequence[str]) -> bool:
    """Whether the numbers in names leave one order open."""
    return len(list(islice(possible_orders(names), 2))) == 1


def _parts(name: str) -> list[str]:
    """Words and numbers of a name in turn, beginning with a word that may be empty."""
    return re.split(r"(\d+)", name)


def _orders(named: list[tuple[str, list[str]]]) -> Iterator[tuple[str, ...]]:
    if len(named) == 1:
        yield (named[0][0],)
        return
    words: dict[tuple[str, bool], list[tuple[str, list[str]]]] = {}
    for name, parts in named:
        words.setdefault((parts[0], len(parts) > 1), []).append((name, parts[1:]))
    for order in permutations(words):
        choices = [list(islice(_numbered_orders(word[0], words[word]), 24)) for word in order]
        for choice in product(*choices):
            yield tuple(name for part in choice for name in part)


def _numbered_orders(word: str, named: list[tuple[str, list[str]]]) -> Iterator[tuple[str, ...]]:
    """Orders of names that go on with a number, or end."""
    if not named[0][1]:
        yield tuple(name for name, _ in named)
        return
    numbers: dict[int, list[tuple[str, list[str]]]] = {}
    for name, parts in named:
        numbers.setdefault(int(parts[0]), []).append((name, parts[1:]))
    series = [sorted(numbers)]
    if _is_descending(word, list(numbers)):
        series.append(list(numbers))
    for order in series:
        for choice in product(*(list(islice(_orders(numbers[n]), 24)) for n in order)):
            yield tuple(name for part in choice for name in part)


def _is_descending(word: str, numbers: Sequence[int]) -> bool:
    """Whether a module may count its layers down, as in `up3`, `up2`, `up1`; no list does."""
    in_words = word != "" and not word.endswith(".")
    return in_words and len(numbers) > 1 and list(numbers) == sorted(numbers, reverse=True)
