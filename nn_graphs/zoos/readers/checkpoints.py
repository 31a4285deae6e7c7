"""State dicts out of checkpoint files, without running any code that the files bring along.

Files of `torch.save` are pickles. They are read by torch's restricted unpickler, which knows
tensors and containers and nothing else; a checkpoint that asks for more is reported, not loaded.

A pickled object is the name of its class and its fields. Where checkpoints hold objects beside
weights, the unpickler is told that every name it does not know stands for `Fields`, which keeps the
fields and does nothing; the class itself is never looked up, imported or called.

Files of the safetensors format are read by its own library; no code in them can run. Of them,
tensors of integers, and of eight or fewer bits, are left out: no weights are among them.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nn_graphs.zoos.readers.layer_order import natural_key
from nn_graphs.zoos.readers.plain_pickles import (
    as_tensors,
    is_plain_pickle,
    load_plain_pickle,
    numpy_stand_ins,
)
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.weight_names import (
    listed,
    under_prefix,
    with_masks_applied,
    without_wrappers,
)

SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt", ".pth.tar", ".npz", ".pkl", ".pickle")
FLAT = "(all parameters)"  # what a vector of all of them is called in a state
HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib(\._local)?\.\w+"
    r"|omegaconf(\.\w+)+|typing\.Any"
    r"|numpy\.(dtype|ndarray)|numpy\.(_core|core)\.multiarray\.(scalar|_reconstruct)"
)
"""Classes that training scripts keep beside weights; most objects are read as `Fields`."""
STATE_NAMES = ("state_dict", "model_state_dict", "model", "network", "net", "params")
MAX_DEPTH = 3
TORCH_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # of files that are no archives
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # of safetensors
COMPLEX = (torch.complex64, torch.complex128)  # which are no weights here, and are named


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        state: its weights by name, in the file's order.
        entries: everything at the file's top level.
        keeps_order: whether the kind of file keeps the order in which tensors were written.
        is_chosen: whether the network was chosen by its prefix, so that there can be no other.
    """

    state: Mapping[str, Tensor]
    entries: Mapping[str, Any]
    keeps_order: bool = True
    is_chosen: bool = False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its weights, in the file's order."""
        return {name: tuple(tensor.shape) for name, tensor in self.state.items()}


def load_weights(content: bytes) -> Any:
    """What the bytes of a file hold, by torch's restricted unpickler alone.

    Plain pickles are read by `plain_pickles`. Objects of `HARMLESS` classes become `Fields`,
    arrays of numpy tensors, and its numbers Python's.
    """
    try:
        return _load_knowing((), content)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        if is_plain_pickle(content) and not _is_of_torch(content):
            return load_plain_pickle(content, harmless=_harmless)
        if not isinstance(error, UnpicklingError):
            raise
        names = _unknown_names(content)
        if not names or not all(map(HARMLESS.fullmatch, names)):
            raise error
        return _load_knowing(names, content)


class RememberingLoad:
    """A function of bytes that remembers its last result: for several networks in one file."""

    def __init__(self, load: Callable[[bytes], Any]):
        self._load, self._last = load, (None, None)

    def __call__(self, content: bytes) -> Any:
        if self._last[0] is not content:
            self._last = content, self._load(content)
        return self._last[1]


def _harmless(name: str) -> type | None:
    """What stands for a class of this name in a plain pickle, made anew so that none changes it."""
    return type("Fields", (Fields,), {}) if HARMLESS.fullmatch(name) else None


def _is_of_torch(content: bytes) -> bool:
    """Whether a pickle begins with the number by which `torch.save` marked its files."""
    return TORCH_MAGIC in content[:32]


def load_arrays(content: bytes) -> dict[str, Tensor]:
    """The arrays of numpy in the bytes of an `.npz` or `.npy` file, none of objects."""
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(found, np.ndarray):
        return {FLAT: torch.from_numpy(found)}
    with found as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}


def _load_knowing(names: Iterable[str], content: bytes) -> Any:
    """As `torch.load`, with stand-ins for the classes and functions of these names."""
    stand_ins = {"collections.defaultdict": _empty_dict} | numpy_stand_ins()
    known = [(stand_ins.get(name, Fields), name) for name in sorted(names)]
    with safe_globals(known):
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return as_tensors(loaded) if "numpy.ndarray" in names else loaded


def _unknown_names(content: bytes) -> set[str]:
    """What the restricted unpickler does not know; nothing for files of old formats."""
    try:
        return set(get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except ValueError:
        return set()


def parse_checkpoint(
    content: bytes,
    *,
    is_safetensors: bool = False,
    prefix: str | None = None,
    load: Callable[[bytes], Any] = load_weights,
) -> Checkpoint:
    """The state dict in the bytes of a file, wherever the file nests it.

    Args:
        content: of the file.
        is_safetensors: else it is one of `torch.save`.
        prefix: of the network that is wanted, where a file holds several: what its tensors' names
            begin with, or the name of its state dict, or its number in a list of them (from 0).
            "" means all of them as one network.
        load: what reads a file of `torch.save`.

    Of several state dicts, the one with the first of the usual names is taken (`state_dict`,
    `model_state_dict`, `model`, ...). What wrappers put into names is removed, and masks of pruned
    weights are applied.

    Raises:
        Skipped: the content is damaged, needs code to load, or holds no state dict; a tensor is
            none that a network without wrappers has (complex, or part of a parametrization).
    """
    loaded = parse_safetensors(content) if is_safetensors else _load(content, load)
    entries = loaded if isinstance(loaded, Mapping) else {}
    chosen = _entry(loaded, prefix) if prefix else None
    state = _find_state(loaded) if chosen is None else chosen
    if state is None:
        raise Skipped(Reason.DAMAGED, f"it holds no state dict but {_outline(loaded)}.")
    weights = _weights(state)
    if prefix and chosen is None:
        weights = under_prefix(weights, prefix)
    return Checkpoint(
        with_masks_applied(weights), entries, not is_safetensors, is_chosen=prefix is not None
    )


def parse_vector(
    content: bytes,
    *,
    is_safetensors: bool = False,
    load: Callable[[bytes], Any] = load_weights,
) -> Checkpoint:
    """The one vector in the bytes of a file: all parameters of a network, one after the other.

    The file holds nothing else: a tensor, or a mapping or an archive of a single one.

    Raises:
        Skipped: the content is damaged, needs code to load, or holds something else.
    """
    loaded = parse_safetensors(content) if is_safetensors else _load(content, load)
    tensors = [*loaded.values()] if isinstance(loaded, Mapping) else [loaded]
    if len(tensors) != 1 or not is_weight(tensors[0]) or tensors[0].ndim != 1:
        found = _outline(loaded) if len(tensors) != 1 else _shape_of(tensors[0])
        raise Skipped(Reason.SHAPE, f"it holds no flat vector but {found}.")
    return Checkpoint({FLAT: tensors[0].detach()}, {}, is_chosen=True)


def _shape_of(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"


def with_weights_transposed(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with matrices `[in, out]` turned to `[out, in]`."""
    state = {
        name: value.T.contiguous() if value.ndim == 2 else value
        for name, value in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


def _entry(content: Any, path: str) -> Mapping[str, Any] | None:
    """The state dict at a path of names, or numbers in lists, with dots between them."""
    for name in path.rstrip(".").split("."):
        if isinstance(content, Sequence) and name.isdigit() and int(name) < len(content):
            content = content[int(name)]
        else:
            content = content.get(name) if isinstance(content, Mapping) else None
    return content if _has_weights(content) else None


def _load(content: bytes, load: Callable[[bytes], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old formats
            return load(content)
    # Damage shows as nearly any exception there is.
    except Exception as error:
        code = _wanted_code(content, error)
        if code:
            raise Skipped(Reason.CODE, f"to load it, {code}.") from error
        raise Skipped(Reason.DAMAGED, _damage(content, error)) from error


def _wanted_code(content: bytes, error: Exception) -> str | None:
    """What the restricted unpickler refused to do, if that is why it stopped."""
    said = str(error)
    if "TorchScript" in said:
        return "a TorchScript program would have to be run"
    if not isinstance(error, UnpicklingError):
        return None
    name = re.search(r"GLOBAL ([\w.]+)", said)
    if name and _is_cut_off(content, name[1]):
        return None
    if name:
        return f"{name[1]} would have to be called"
    if re.search(r"Trying to|Can only", said):
        return "code that it brings along would have to be run"
    return None


def _is_cut_off(content: bytes, name: str) -> bool:
    """Whether a pickle ends within this name, which may then be the half of a harmless one."""
    module, _, attribute = name.rpartition(".")
    if content[:1] == b"\x80" and content[1] > 3:  # names with their lengths before them
        return False
    return content[:2] != b"PK" and f"{module}\n{attribute}\n".encode() not in content


def _damage(content: bytes, error: Exception) -> str:
    if not content:
        return "it is empty."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if line.startswith("Unsupported operand")] or lines
    cause = re.split(r"\. |: ", wanted[0])[0].rstrip(".") if wanted else type(error).__name__
    return f"{len(content)} bytes that torch cannot read ({cause})."


def _find_state(content: Any) -> Mapping[str, Any] | None:
    """The mapping with weights that is nearest to the top, those under a usual name first."""
    level = {"": content}
    for _ in range(MAX_DEPTH):
        level = {name: value for name, value in level.items() if isinstance(value, Mapping)}
        inner = {str(name): value for parent in level.values() for name, value in parent.items()}
        usual = [inner[name] for name in STATE_NAMES if name in inner and _has_weights(inner[name])]
        if usual:
            return usual[0]
        states = {name: value for name, value in level.items() if _has_weights(value)}
        if len(states) > 1:
            names = ", ".join(states)
            raise Skipped(Reason.SHAPE, f"it holds several state dicts: {names}.")
        if states:
            return next(iter(states.values()))
        level = inner
    return None


def _has_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and any(is_weight(entry) for entry in value.values())


def is_weight(value: Any) -> bool:
    """Whether an entry of a state dict is a tensor of floating-point numbers."""
    if not isinstance(value, Tensor):
        return False
    return value.is_floating_point() and value.layout == torch.strided and not value.is_meta


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Its weights and their masks, by their names without wrappers.

    Raises:
        Skipped: a tensor is neither a weight, nor a mask, nor a count.
    """
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    foreign = [name for name, value in tensors.items() if _is_foreign(value)]
    if foreign:
        kinds = sorted({str(tensors[name].dtype).removeprefix("torch.") for name in foreign})
        raise Skipped(
            Reason.SHAPE, f"{listed(foreign)} can be no weights ({', '.join(kinds)}, or sparse)."
        )
    kept = {
        name: value.detach()
        for name, value in tensors.items()
        if is_weight(value) or name.endswith("_mask")
    }
    called = without_wrappers(kept)
    return {called[name]: value for name, value in kept.items()}


def _is_foreign(value: Tensor) -> bool:
    is_count = not value.is_floating_point() and not value.is_complex()
    return not is_weight(value) and not (is_count and value.layout == torch.strided)


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(map(str, list(content)[:5]))
        return f"the entries {names}" if names else "an empty dictionary"
    if isinstance(content, list | tuple):
        networks = sum(map(_has_weights, content))
        several = f", {networks} of them state dicts; choose one by its number as prefix"
        return f"a list of {len(content)}{several if networks else ''}"
    return f"a {type(content).__name__}"


def parse_safetensors(content: bytes) -> dict[str, Tensor]:
    """The floating-point tensors of a file, in natural order (`net.2` before `net.10`).

    The format keeps no order of its own: files are written sorted by name.

    Raises:
        Skipped: the content is damaged, or has a kind of numbers that torch lacks.
    """
    try:
        tensors = safetensors.torch.load(content)
    # A kind of numbers that torch lacks is a KeyError.
    except (SafetensorError, KeyError) as error:
        raise Skipped(Reason.DAMAGED, f"it is no safetensors file: {_cause(error)}.") from error
    return {
        name: tensors[name]
        for name in sorted(tensors, key=natural_key)
        if tensors[name].dtype in (*DTYPES, *COMPLEX) or name.endswith("_mask")
    }


def _cause(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its tensors are of the kind {error}, which torch has not"
    return re.sub("^Error while deserializing( header)?: ", "", str(error)).rstrip(".")


class Fields:
    """What was pickled of an object: the arguments of its class, and its fields."""

    arguments: tuple[Any, ...]

    def __new__(cls, *arguments: Any) -> "Fields":
        """As pickle makes an object: without its `__init__`."""
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __setstate__(self, state: Any) -> None:
        """As pickle fills an object: fields by name, in slots too; others are kept whole."""
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, Mapping):
                vars(self).update(part)
            elif part is not None:
                vars(self)["state"] = state


def _empty_dict(*arguments: Any) -> dict:
    """Of a `defaultdict`, whose items are pickled behind it."""
    return {}


class ObjectReader:
    """Reads checkpoints as `torch.load` does, objects as `Fields`; remembers names of classes."""

    def __init__(self):
        self._names: set[str] = set()

    def load(self, content: bytes) -> Any:
        """What the bytes of a file hold.

        Raises:
            Exception: whatever `torch.load` raises for what it cannot read.
        """
        try:
            return _load_knowing(self._names, content)
        except UnpicklingError:
            names = set(get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
            if names <= self._names:
                raise
            self._names |= names
            return _load_knowing(self._names, content)


def plain(value: Any) -> Any:
    """Configurations of OmegaConf as dictionaries, lists and values; objects of others as None."""
    if isinstance(value, Fields):
        fields = vars(value)
        inner = fields.get("_content", fields.get("_val"))
        return None if inner is None else plain(inner)
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | torch.Tensor):
        return [plain(entry) for entry in value]
    return value
