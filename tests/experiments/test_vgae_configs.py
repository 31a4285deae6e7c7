"""The encoders of StructureReps as configs: in front of a VGAE, and in any supervised task."""

import hydra
import pytest
import torch

from nn_graphs.configs import CONFIGS
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.vgae.convolutions import AttentionConvolution, TransformerConvolution
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE, Reconstruction
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures, ReturnProbabilities
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.structure_reconstruction import StructureReconstruction
from tests.toy_zoos import separable_zoo

ROWS = sorted(f"vgae_{path.stem}" for path in (CONFIGS / "encoder" / "vgae").glob("*.yaml"))
CONVOLUTIONS = {"tc": TransformerConvolution, "gc": AttentionConvolution}
ENCODINGS = {
    "lf": LaplacianEncoding,
    "rf": RandomFeatures,
    "rw": ReturnProbabilities,
}
FULL = "vgae_full"


def option_of(row: str) -> str:
    """The file of a row: those of VGAEs are in a folder."""
    return row.replace("vgae_", "vgae/")


def make(row: str, task) -> torch.nn.Module:
    with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
        config = hydra.compose(
            "inr_classification", [f"encoder={option_of(row)}", "results=results.csv"]
        )
    assert config.encoder.name == row
    torch.manual_seed(0)
    return hydra.utils.instantiate(config.encoder.model, _convert_="all")(task)


def test_published_rows_and_others():
    assert {"vgae_ea_tc_lf", "vgae_ea_gc_lf", "vgae_gc_lf", "vgae_gc_rf", FULL} < set(ROWS)
    assert len(ROWS) >= 10


@pytest.mark.parametrize("row", sorted({*ROWS} - {FULL}))
def test_a_row_is_what_its_name_says(row):
    parts = row.split("_")[1:]
    encoder = make(row, StructureReconstruction(separable_zoo())).encoder.encoder
    (convolution,) = (CONVOLUTIONS[part] for part in parts if part in CONVOLUTIONS)
    assert all(type(layer) is convolution for layer in encoder.layers)
    assert (encoder.edge_attention is not None) == ("ea" in parts)
    kinds = [ENCODINGS[part] for part in parts if part in ENCODINGS]
    assert ([] if encoder.encoding is None else [type(encoder.encoding)]) == kinds
    assert not encoder.has_neuron_features
    assert not encoder.has_edge_features


@pytest.mark.parametrize("row", ROWS)
def test_a_row_in_both_kinds_of_tasks(row):
    """The same config; what is trained has gradients everywhere."""
    for make_task, kind in (
        (lambda zoo: StructureReconstruction(zoo, weight_factor=1.0), Reconstruction),
        (INRClassification, GraphModel),
    ):
        task = make_task(separable_zoo())
        model, batch = make(row, task), task.dataset("train").batch([*range(6)])
        assert type(model) is kind
        task.objective(model, *batch).backward()
        without = [name for name, p in model.named_parameters() if p.grad is None]
        assert all(".edge_readout." in name for name in without)
        assert model.as_encoder().embed(batch[0]).shape[0] == 6


def test_other_encoders_stand_in_its_place():
    task = StructureReconstruction(separable_zoo())
    for row in ("ng_gnn_small", "ng_t_small", "product_gnn"):
        model = make(row, task)
        assert isinstance(model.encoder, VGAE)
        graphs, labels = task.dataset("train").batch([*range(4)])
        assert task.objective(model, graphs, labels).isfinite()
