"""Trained encoders as one file each: weights as safetensors, beside them what made the encoder.

No code is kept, and none is run: the file holds numbers, and JSON data in which classes are names.
"""

from pathlib import Path

import torch
from torch import nn

from nn_graphs.described_tensors import DescribedTensors
from nn_graphs.encoders.encoder_registry import describe_encoder, make_encoder
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder

FILE = DescribedTensors(
    key="nn_graphs_encoder",
    noun="encoder",
    saved_by="save_encoder",
    make_again="train the encoder again",
    missing="Give the path that save_encoder wrote to.",
)
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
    return FILE.write(path, encoder.state_dict(), describe_encoder(encoder))


def load_encoder(path: str | Path) -> nn.Module:
    """The encoder that `save_encoder` wrote, on the CPU, as it is used: not in training mode.

    It encodes networks of other architectures and sizes too, see `nn_graphs.embed`.

    Raises:
        NNGraphsError: there is no such file; it is damaged, of another format or another program;
            its class has no name here.
    """
    description, tensors = FILE.read(path)
    with torch.random.fork_rng(devices=[]):  # first values, which are replaced
        encoder = make_encoder(description)
    try:
        encoder.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:300]
        raise FILE.damaged(path, f"its tensors are not those of its settings: {cause}") from error
    return encoder.eval()
