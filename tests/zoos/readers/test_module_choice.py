"""Checkpoints of several modules become one zoo, whose graphs need none of their code."""

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.augmentations import Compose, OfMixes, RandomSymmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.tasks.classification import ColumnClassification
from nn_graphs.tasks.models import make_flat_mlp
from nn_graphs.zoos import Folder, ModuleArchitecture, ModuleChoice, Zoo, open_or_read_zoo, read_zoo
from tests.zoos.readers import user_networks
from tests.zoos.readers.published import save

HERE = "tests.zoos.readers.user_networks"
SHAPE = (1, 8, 8)
BOTH = (f"{HERE}:Normed", f"{HERE}:wider")


def write(root, makers, **columns) -> Folder:
    """Networks of these makers in turn, with their numbers as labels."""
    for number, make in enumerate(makers):
        torch.manual_seed(number)
        module = make().train()
        module(torch.randn(4, *SHAPE))  # so that running statistics are not all 0 and 1
        save({"state_dict": module.state_dict(), "epoch": 3}, root / f"{number}.ckpt")
    count = len(makers)
    table = {
        "path": [f"{number}.ckpt" for number in range(count)],
        "label": np.arange(count) // 2 % 2,
        "split": np.array(["train", "val", "test"])[np.arange(count) * 3 // count],
    }
    pd.DataFrame(table | columns).to_csv(root / "labels.csv", index=False)
    return Folder(root)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "mine", [user_networks.Normed, user_networks.wider] * 6)


@pytest.fixture
def zoo(source, tmp_path):
    choice = ModuleChoice(BOTH, input_shape=SHAPE)
    return open_or_read_zoo(source, tmp_path / "zoo.h5", architecture=choice)


def test_graphs_of_a_zoo_are_those_of_the_modules(zoo, tmp_path):
    assert zoo.table["spec"].tolist() == [0, 1] * 6
    for number, make in enumerate((user_networks.Normed, user_networks.wider)):
        torch.manual_seed(number)
        module = make().train()
        module(torch.randn(4, *SHAPE))
        expected, found = trace(module, torch.zeros(1, *SHAPE))(module), zoo[number]
        for name in ("x", "edge_attr", "edge_index", "edge_kind_id", "activation_id"):
            assert torch.equal(found[name], expected[name])
        assert found.y.item() == 0
    again = Zoo.open(tmp_path / "zoo.h5")
    assert again.specs == zoo.specs
    assert str(again).startswith("Zoo(12 networks of 2 architectures, train 4 / val 4 / test 4)")


def test_a_zoo_opens_where_the_modules_are_no_more(zoo, source, tmp_path, monkeypatch):
    """Their code is needed to read files, and for nothing else."""
    monkeypatch.setattr(
        ModuleArchitecture, "_import", lambda self: pytest.fail("the module was asked for")
    )
    opened = Zoo.open(tmp_path / "zoo.h5")
    assert len([*opened]) == 12
    task = ColumnClassification(opened, column="label")
    assert task.dims.kernel_size == (3, 3)


def test_a_module_that_has_changed_since(zoo, source, tmp_path, raises_saying):
    choice = ModuleChoice(BOTH, input_shape=SHAPE)
    assert len(open_or_read_zoo(source, tmp_path / "zoo.h5", architecture=choice)) == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_networks, "wider", lambda: user_networks.Normed(7))
        with raises_saying(asked="networks like", found="another architecture", do="Delete it"):
            open_or_read_zoo(source, tmp_path / "zoo.h5", architecture=choice)


def test_batches_become_parameters_again_and_are_augmented(zoo):
    dataset = ColumnClassification(zoo, column="label").dataset("train")
    batch, _ = dataset.batch([0, 1, 2, 3])
    numbers = zoo.indices("train")
    for number, params in zip(numbers, dataset.mixed.params_of(batch), strict=True):
        assert torch.equal(params, zoo.take([int(number)])[0])
    moved = OfMixes(Compose([RandomSymmetries()]), dataset.mixed)(batch)
    assert moved.edge_attr.shape == batch.edge_attr.shape
    assert not torch.equal(moved.edge_attr, batch.edge_attr)


def test_gradients_reach_an_encoder_of_graphs(zoo):
    task = ColumnClassification(zoo, column="label")
    encoder = NGGNN(task.templates, task.statistics(), dim=4, num_layers=2)
    model = task.make_model(encoder, pooling="mean", pooled_layer="all")
    graphs, labels = task.dataset("train").batch([0, 1, 2, 3])
    loss = task.loss(model(graphs), labels)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_one_traced_architecture_is_read_flat_too(tmp_path):
    """Its batches are no stacks where a linear map reads flattened places."""
    source = write(tmp_path, [user_networks.Normed] * 6)
    architecture = ModuleArchitecture(BOTH[0], input_shape=SHAPE)
    zoo, _ = read_zoo(source, architecture=architecture)
    task = ColumnClassification(zoo, column="run")
    graphs, _ = task.dataset("train").batch([0, 1])
    model = make_flat_mlp(task, hidden_dims=[4], dropout=0.0)
    assert model(graphs).shape == (2, 6)


def test_running_the_networks_is_told_to_be_impossible(zoo, raises_saying):
    task = ColumnClassification(zoo, column="label")
    with raises_saying(asked="run them at learned", found="has the graphs", do="num_probes=0"):
        NGGNN(task.templates, task.statistics(), dim=4, num_layers=2, num_probes=3)
    with raises_saying(asked="run them at learned", found="has the graphs", do="num_probes=0"):
        ProbeOnly(task.templates, out_dim=2)


def test_the_column_module_goes_before_names(tmp_path):
    names = ["Normed", f"{HERE}:twin", "twin"]
    source = write(tmp_path, [user_networks.Normed] * 3, module=names)
    modules = (f"{HERE}:Normed", f"{HERE}:twin")
    zoo, _ = read_zoo(source, architecture=ModuleChoice(modules, input_shape=SHAPE))
    assert zoo.table["module"].tolist() == names


@pytest.mark.parametrize(
    ("modules", "columns", "found"),
    [
        (BOTH, {"module": ["Normed", "Other", "Normed"]}, "its module is Other"),
        ((f"{HERE}:Normed", f"{HERE}:other"), {}, "say which in the column module"),
        ((f"{HERE}:Chain", f"{HERE}:wider"), {}, "are those of none of"),
    ],
)
def test_networks_of_no_clear_module(tmp_path, modules, columns, found):
    source = write(tmp_path, [user_networks.Normed] * 3, **columns)
    shape = None if "Chain" in modules[0] else SHAPE
    made = [ModuleArchitecture(name, input_shape=shape or SHAPE) for name in modules]
    if shape is None:
        made[0] = ModuleArchitecture(modules[0], in_width=2)
    with pytest.raises(NNGraphsError, match=found):
        read_zoo(source, architecture=ModuleChoice(made), strict=True)
