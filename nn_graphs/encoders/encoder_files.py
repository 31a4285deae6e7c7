"""Trained encoders as one file each: weights as safetensors, beside them what made the encoder.

No code is kept, and none is run: the file holds numbers, and JSON data in which classes are names.
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nn_graphs.encoders.encoder_registry import describe_encoder, make_encoder
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.errors import NNGraphsError
from nn_graphs.whole_files import whole_file

FORMAT = 1
KEY = "nn_graphs_encoder"  # the one entry of the metadata: of several, the order is by chance
# Named by importing.
BUILT_IN = (NGGNN, NGT, PooledEncoder, ProductGNN, ScaleGMN, StructureEncoder, VGAE)


def save_encoder(encoder: nn.Module, path: str | Path) -> Path:
    """Writes an encoder to `path`, as a whole or not at all: a file of the safetensors format.

    Its metadata holds the name of the class, its settings and the library's version; buffers
    (statistics of the training networks) are among the tensors. Equal encoders make equal files.

    Args:
        encoder: of registered classes, see `nn_graphs.encoders.registered`; the library's are.
        path: by convention ending in `.safetensors`.

    Raises:
        NNGraphsError: it is of a class without a name, or there can be no file at `path`.
    """
    path, description = Path(path), describe_encoder(encoder)
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in encoder.state_dict().items()
    }
    record = {"format": FORMAT, "nn_graphs": _version(), **description}
    try:
        with whole_file(path) as partial:
            save_file(tensors, partial, {KEY: json.dumps(record)})
    except (OSError, SafetensorError) as error:
        raise NNGraphsError(
            f"save the encoder to {path}",
            found=f"the file cannot be written ({error}).",
            do="Choose another path.",
        ) from error
    return path


def load_encoder(path: str | Path) -> nn.Module:
    """The encoder that `save_encoder` wrote, on the CPU, as it is used: not in training mode.

    It encodes networks of other architectures and sizes too, see `nn_graphs.embed`.

    Raises:
        NNGraphsError: there is no such file; it is damaged, of another format or another program;
            its class has no name here.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    description = _description(path, metadata)
    with torch.random.fork_rng(devices=[]):  # first values, which are replaced
        encoder = make_encoder(description)
    try:
        encoder.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:300]
        raise _damaged(path, f"its tensors are not those of its settings: {cause}") from error
    return encoder.eval()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise NNGraphsError(
            f"load an encoder from {path}",
            found="there is no such file.",
            do="Give the path that save_encoder wrote to.",
        )
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error


def _description(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What the file says of its encoder.

    Raises:
        NNGraphsError: it says nothing, in another format, or what cannot be read.
    """
    if KEY not in metadata:
        raise NNGraphsError(
            f"load an encoder from {path}",
            found="it holds tensors, but does not say of which encoder.",
            do="Give a file that save_encoder wrote.",
        )
    try:
        record = json.loads(metadata[KEY])
        found, version = record["format"], record["nn_graphs"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its metadata cannot be read: {error!r}") from error
    if found != FORMAT:
        raise NNGraphsError(
            f"load an encoder from {path}",
            found=f"it is of format {found}, written by nn_graphs {version}; "
            f"{_version()} reads format {FORMAT}.",
            do="Use that version, or train the encoder again.",
        )
    return record


def _damaged(path: Path, cause: str) -> NNGraphsError:
    return NNGraphsError(
        f"load an encoder from {path}",
        found=f"it is truncated, or no file of save_encoder ({cause}).",
        do="Copy it again, or save the encoder anew.",
    )


def _version() -> str:
    return importlib.metadata.version("nn_graphs")
