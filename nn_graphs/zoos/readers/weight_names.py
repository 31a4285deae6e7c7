"""Names of tensors in a state dict: what wrappers add, which networks they tell of, pruned weights.

Names decide what a tensor is. A name that says it is no plain weight of a layer is an error, never
a layer of its own and never left out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from nn_graphs.zoos.readers.read_report import Reason, Skipped

INFIXES = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that compiling, FSDP and activation checkpointing put anywhere in a name."""
PREFIX = "module."  # of DataParallel and averaged models; inside of a name it may be one's own
MAX_NAMED = 4  # tensors that a message lists


def without_wrappers(names: Iterable[str]) -> dict[str, str]:
    """What each tensor is called inside of all wrappers.

    Raises:
        Skipped: two tensors are called alike then.
    """
    plain = {
        name: ".".join(part for part in name.split(".") if part not in INFIXES) for name in names
    }
    while plain and all(inner.startswith(PREFIX) for inner in plain.values()):
        plain = {name: inner.removeprefix(PREFIX) for name, inner in plain.items()}
    known: dict[str, str] = {}
    for name, inner in plain.items():
        if inner in known:
            raise Skipped(Reason.SHAPE, f"{known[inner]} and {name} are both {inner}, wrapped.")
        known[inner] = name
    return plain


def under_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, called without it; all of them for "".

    Raises:
        Skipped: there are none.
    """
    start = f"{prefix.rstrip('.')}." if prefix else ""
    inner = {
        name.removeprefix(start): value for name, value in state.items() if name.startswith(start)
    }
    if not inner:
        raise Skipped(Reason.SHAPE, f"none of its tensors is under {start}: {listed(state)}.")
    called = without_wrappers(inner)
    return {called[name]: value for name, value in inner.items()}


def with_masks_applied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in which pruned weights, `weight_orig` times `weight_mask`, are plain ones.

    Raises:
        Skipped: a weight is made of tensors in another way (weight norm, spectral norm,
            parametrizations), whose formula no name tells.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        base = name.removesuffix("_orig")
        if base != name and f"{base}_mask" in state:
            plain[base] = value * state[f"{base}_mask"].to(value.dtype)
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state):
            plain[name] = value
    made = [name for name in plain if _is_part_of_a_weight(name, plain)]
    if made:
        raise Skipped(
            Reason.SHAPE,
            f"{listed(made)} are no weights, but what weights are computed from; remove the "
            "parametrization before saving.",
        )
    return plain


def _is_part_of_a_weight(name: str, state: Mapping[str, Tensor]) -> bool:
    base, _, role = name.rpartition("_")
    normed = role in ("g", "v") and {f"{base}_g", f"{base}_v"} <= state.keys()
    spectral = role in ("u", "v") and f"{base}_orig" in state
    return "parametrizations" in name.split(".") or role == "orig" or normed or spectral


def match_names(names: Sequence[str], state: Mapping[str, object]) -> list[str] | None:
    """What a file calls the tensors of these names: the names themselves, behind one prefix.

    None: nothing in the file is called so.

    Raises:
        Skipped: it has them behind several prefixes.
    """
    ends = [name for name in state if name == names[0] or name.endswith(f".{names[0]}")]
    prefixes = [name.removesuffix(names[0]) for name in ends]
    whole = [start for start in prefixes if all(start + name in state for name in names)]
    if len(whole) > 1:
        networks = ", ".join(start.rstrip(".") or "(no prefix)" for start in whole)
        raise Skipped(
            Reason.SHAPE, f"it holds several such networks: {networks}; choose one by its prefix."
        )
    return [whole[0] + name for name in names] if whole else None


def networks_inside(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """The prefixes under which a file has two or more weights each, if there are several.

    Behind what all names share: `q` and `target`, `encoder` and `decoder`, not the numbers of
    single layers. Single weights count where everything under their prefixes is the same, as in
    `online.0.weight` and `target.0.weight`.
    """
    weights = [name.split(".") for name, shape in shapes.items() if len(shape) > 1]
    shared = 0
    while weights and len({tuple(parts[: shared + 1]) for parts in weights}) == 1:
        if any(len(parts) <= shared + 1 for parts in weights):
            break
        shared += 1
    counts: dict[str, int] = {}
    for parts in weights:
        if len(parts) > shared + 1:
            start = ".".join(parts[: shared + 1])
            counts[start] = counts.get(start, 0) + 1
    several = [start for start, count in counts.items() if count > 1]
    if len(several) > 1:
        return several
    return list(counts) if _are_twins(list(counts), shapes) else []


def _are_twins(prefixes: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether all tensors are under these prefixes, each in a module of its own, and all alike.

    Prefixes that differ in a number are layers of one network.
    """
    words = {re.sub(r"\d+", "", start) for start in prefixes}
    if len(prefixes) < 2 or len(words) < len(prefixes):
        return False
    inside = [
        {
            name.removeprefix(f"{start}."): tuple(shape)
            for name, shape in shapes.items()
            if name.startswith(f"{start}.")
        }
        for start in prefixes
    ]
    is_all = sum(map(len, inside)) == len(shapes)
    return is_all and all("." in name for name in inside[0]) and inside == inside[:1] * len(inside)


def check_one_network(shapes: Mapping[str, Sequence[int]], *, is_expected: bool = False) -> None:
    """Makes sure that the layers of several networks are not taken for those of one.

    Args:
        shapes: of all tensors, by name.
        is_expected: an architecture is known that all of them would fit, so that parts of
            different make are those of one network; parts of one make may still be twins.

    Raises:
        Skipped: there may be several.
    """
    several = networks_inside(shapes)
    if several and not (is_expected and not _are_twins(several, shapes)):
        raise Skipped(
            Reason.SHAPE,
            f"{', '.join(several)} may be parts of one network or networks of their own; choose "
            'one by its prefix, or all as one by the prefix "".',
        )


def may_be_transposed(shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether nothing tells matrices `[out, in]`, as torch has them, from `[in, out]`.

    That is, all are square, and none is called `weight`.
    """
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    is_square = all(shape[0] == shape[1] for shape in matrices.values())
    return bool(matrices) and is_square and not any(n.split(".")[-1] == "weight" for n in matrices)


def listed(names: Iterable[str]) -> str:
    """The first of these names, for a message."""
    known = list(names)
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    return ", ".join(known[:MAX_NAMED]) + more
