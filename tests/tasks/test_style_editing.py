"""Style editing: targets, what is drawn, errors in one unit, baselines, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nn_graphs.datasets import load_images
from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.editor import Editor
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.image_edits import edited_images
from nn_graphs.networks.inr import PRESETS
from nn_graphs.tasks import style_editing
from nn_graphs.tasks.models import make_classifier, make_flat_mlp, make_weight_space_classifier
from nn_graphs.tasks.style_editing import StyleEditing
from nn_graphs.training import accumulate_gradients, train_and_test
from nn_graphs.zoos.zoo import Zoo
from tests.encoders.cases import SMALL_NGT
from tests.training.runs import change

pytestmark = pytest.mark.usefixtures("one_thread")
GRAPH_ENCODERS = {
    "gnn": lambda *args: NGGNN(*args, dim=8, num_layers=2, dropout=0.0),
    "gnn_probes": lambda *args: NGGNN(*args, dim=8, num_layers=2, dropout=0.0, num_probes=4),
    "ngt": lambda *args: NGT(*args, has_last_edge_update=True, **SMALL_NGT),
}
WEIGHT_SPACE_ENCODERS = {
    "dws": lambda *args: DWSNet(*args, dim=8, num_layers=2, has_batch_norm=False),
    "nfn_np": lambda *args: NFN(*args, variant="np", dims=(8, 8), fourier_sigma=None),
    "nfn_hnp": lambda *args: NFN(*args, variant="hnp", dims=(8, 8), fourier_sigma=None),
}
ENCODERS = GRAPH_ENCODERS | WEIGHT_SPACE_ENCODERS


def make_editor(task: StyleEditing, name: str = "gnn") -> Editor:
    torch.manual_seed(0)
    if name in GRAPH_ENCODERS:
        return make_classifier(
            task, encoder=ENCODERS[name], hidden_dims=[9], pooling="cat", pooled_layer="last"
        )
    return make_weight_space_classifier(
        task, encoder=ENCODERS[name], is_normalised=True, hidden_dims=[9], dropout=0.0
    )


def without_changes(editor: Editor) -> Editor:
    for factor in (editor.head.new.bias_factor, editor.head.new.weight_factor):
        nn.init.zeros_(factor)
    return editor


def val_batch(task: StyleEditing):
    dataset = task.dataset("val")
    return dataset.batch([*range(len(dataset))])


def other_zoo(zoo: Zoo, *, table=None, specs=None, params=None, **metadata) -> Zoo:
    return Zoo(
        specs or zoo.specs,
        params or zoo.params,
        zoo.table if table is None else table,
        {**zoo.metadata, **metadata},
    )


@pytest.mark.parametrize("edit", ["dilation", "erosion", "rotation", "inpainting"])
def test_labels_are_the_edited_images_of_the_networks(tiny_zoo, edit):
    task = StyleEditing(tiny_zoo, edit=edit)
    sources = tiny_zoo.table["source_id"].to_numpy()
    images = load_images("digits")
    assert torch.equal(task.labels(), edited_images(edit, images, sources))
    _, labels = val_batch(task)
    is_val = (tiny_zoo.table["split"] == "val").to_numpy()
    assert torch.equal(labels, edited_images(edit, images, sources[is_val]))
    assert_close(task.targets(labels) * 16, labels.float())


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_drawn_is_what_each_network_computes(tiny_zoo, preset):
    """Against a plain network of torch, a pixel at a time in the order of the image."""
    recipe = {**tiny_zoo.metadata["recipe"], "preset": preset}
    spec = PRESETS[preset].make_spec((2, 8, 8, 1))
    task = StyleEditing(other_zoo(tiny_zoo, specs=(spec,), recipe=recipe))
    params = tiny_zoo.params[0][:6].double().unflatten(0, (3, 2))
    drawn = task.draw(params)
    assert drawn.shape == (3, 8, 8, 1)
    low, high = PRESETS[preset].target_range
    for network, copies in enumerate(params):
        for row, column in [(0, 0), (2, 5), (7, 3)]:
            place = torch.linspace(-1, 1, 8, dtype=torch.float64)
            point = [place[row], place[column]]
            point = torch.stack(point[::-1] if preset == "dws" else point).view(1, 2)
            values = [plain_network(spec, flat, point).item() for flat in copies]
            expected = (sum(values) / 2 - low) / (high - low)
            assert drawn[network, row, column, 0].item() == pytest.approx(expected, abs=1e-6)


def plain_network(spec, flat: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    tensors = {key: part[0] for key, part in spec.parameters.unflatten(flat.unsqueeze(0)).items()}
    for number in range(3):
        points = nn.functional.linear(
            points, tensors[f"layers.{number}.weight"], tensors[f"layers.{number}.bias"]
        )
        if number < 2:
            points = torch.sin(30.0 * points)
    return points + spec.layers[-1].offset


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("num_copies", [1, 3])
def test_an_editor_without_changes_scores_as_the_networks_themselves(tiny_zoo, name, num_copies):
    task = StyleEditing(tiny_zoo, num_copies=num_copies)
    editor = without_changes(make_editor(task, name)).eval()
    graphs, labels = val_batch(task)
    outputs = task.outputs(editor, graphs)
    assert outputs.shape == (8, 2, 8, 8, 1)
    assert_close(outputs[:, 0], outputs[:, 1])
    found = task.metrics(outputs, labels)
    assert found["mse"] == pytest.approx(found["unedited_mse"])
    assert found["share"] == pytest.approx(1)


def test_objective_and_metrics_are_one_error(tiny_zoo):
    task = StyleEditing(tiny_zoo, num_copies=2)
    editor = make_editor(task).eval()
    graphs, labels = val_batch(task)
    outputs = task.outputs(editor, graphs)
    found = task.metrics(outputs, labels)
    plain = np.square(outputs[:, 0].detach().numpy() - labels.numpy() / 16).mean()
    assert found["mse"] == pytest.approx(plain)
    assert found["minus_mse"] == -found["mse"]
    assert found["loss"] == found["mse"]
    assert task.objective(editor, graphs, labels).item() == pytest.approx(plain)
    assert task.loss(outputs, labels).item() == pytest.approx(plain)


def test_unedited_error_is_that_of_the_networks(tiny_zoo):
    task = StyleEditing(tiny_zoo)
    graphs, labels = val_batch(task)
    found = task.metrics(task.outputs(make_editor(task), graphs), labels)
    drawn = PRESETS["dws"].render(tiny_zoo.spec, graphs.params, height=8, width=8)
    assert found["unedited_mse"] == pytest.approx((drawn - labels / 16).square().mean().item())


def test_errors_are_of_images_in_0_to_1_whatever_was_fitted(tiny_zoo):
    """As published, those of INRs fitted in [-1, 1] are four times as large."""
    recipe = {**tiny_zoo.metadata["recipe"], "preset": "nfn"}
    task = StyleEditing(other_zoo(tiny_zoo, recipe=recipe))
    labels = torch.full((3, 8, 8, 1), 16, dtype=torch.uint8)
    outputs = torch.full((3, 2, 8, 8, 1), 0.5)
    found = task.metrics(outputs, labels)
    assert (found["mse"], found["mse_as_fitted"]) == (0.25, 1.0)
    assert StyleEditing(tiny_zoo).metrics(outputs, labels)["mse_as_fitted"] == 0.25


@pytest.mark.parametrize("name", ["gnn", "nfn_hnp"])
def test_a_batch_in_chunks_has_the_gradients_of_the_batch(tiny_zoo, name):
    task = StyleEditing(tiny_zoo, num_copies=2)
    gradients = []
    for chunk_size in (48, 7):
        editor = make_editor(task, name)
        batch = task.dataset("train").batch([*range(48)])
        accumulate_gradients(editor, task.objective, batch, chunk_size=chunk_size)
        gradients.append([p.grad for p in editor.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_editor_learns_by_the_one_loop(tiny_zoo, tmp_path, name):
    task = StyleEditing(tiny_zoo, num_copies=2)
    settings = change(num_epochs=8, learning_rate=1e-2, gradient_clip=1.0)
    outcome = train_and_test(make_editor(task, name), task, settings, tmp_path)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["train/loss"].iloc[-1] < 0.8 * history["train/loss"].iloc[0]
    assert outcome.best_epoch == history["val/minus_mse"].idxmax()
    assert outcome.val["share"] < 0.9
    with np.load(tmp_path / "test_outputs.npz") as arrays:
        outputs, labels = (torch.from_numpy(arrays[key]) for key in ("outputs", "labels"))
    assert outputs.shape == (8, 2, 8, 8, 1)
    assert labels.dtype == torch.uint8


def test_the_figure_has_a_row_for_each_kind_of_image(tiny_zoo):
    task = StyleEditing(tiny_zoo, num_copies=2)
    with torch.no_grad():
        outputs = task.outputs(make_editor(task).eval(), val_batch(task)[0])
    (figure,) = task.figures(outputs, val_batch(task)[1], title="edits").values()
    assert len(figure.axes) == 4 * 8
    assert [axes.get_ylabel() for axes in figure.axes[::8]] == [
        "INR",
        "dilation",
        "edited",
        "error",
    ]


def test_another_edit_is_another_run(tiny_zoo, tmp_path, raises_saying):
    settings = change(num_epochs=1)
    for edit in ("dilation", "erosion"):
        task = StyleEditing(tiny_zoo, edit=edit)
        if edit == "dilation":
            train_and_test(make_editor(task), task, settings, tmp_path)
            continue
        with raises_saying(asked="this run", found="settings of the task", do="forget_run"):
            train_and_test(make_editor(task), task, settings, tmp_path)


def test_a_zoo_without_its_images(raises_saying, tiny_zoo):
    without = {"recipe": {**tiny_zoo.metadata["recipe"], "dataset": "unknown"}}
    table = tiny_zoo.table.drop(columns="source_id")
    for zoo, found in [
        (other_zoo(tiny_zoo, **without), "'unknown'"),
        (other_zoo(tiny_zoo, recipe={}), "None"),
        (other_zoo(tiny_zoo, table=table), "lacks the column source_id"),
    ]:
        with raises_saying(asked="images that they were fitted to", found=found, do="INRRecipe"):
            StyleEditing(zoo)


def test_images_of_another_size(raises_saying, tiny_zoo):
    with raises_saying(
        asked="fitted to", found="28 x 28 pixels, those of digits of 8 x 8", do="made from"
    ):
        StyleEditing(other_zoo(tiny_zoo, image_size=[28, 28]))


def test_networks_that_draw_no_such_images(raises_saying, tiny_zoo):
    spec = PRESETS["dws"].make_spec((2, 4, 3))
    zoo = other_zoo(tiny_zoo, specs=(spec,), params=(torch.zeros(64, spec.num_params),))
    with raises_saying(asked="fitted to", found="1 channels, the networks are 2-4-3", do="1 outp"):
        StyleEditing(zoo)


@pytest.mark.parametrize("number", [-1, 1797])
def test_images_that_there_are_not(raises_saying, tiny_zoo, number):
    table = tiny_zoo.table.assign(
        source_id=tiny_zoo.table["source_id"].replace(
            {tiny_zoo.table["source_id"].iloc[-1]: number}
        )
    )
    with raises_saying(asked="fitted to", found=f"network 63 is of image {number}", do="source_id"):
        StyleEditing(other_zoo(tiny_zoo, table=table))


@pytest.mark.parametrize("num_copies", [0, -1])
def test_no_copies(raises_saying, tiny_zoo, num_copies):
    with raises_saying(asked="StyleEditing", found=f"num_copies: {num_copies} is", do="Correct"):
        StyleEditing(tiny_zoo, num_copies=num_copies)


def test_more_copies_than_memory(raises_saying, tiny_zoo, monkeypatch):
    monkeypatch.setattr(style_editing, "physical_memory", lambda: 10_000_000)
    needed = 8 * (tiny_zoo.spec.num_params + 64 * 17)  # values and their gradients in 4 bytes
    fitting = 10_000_000 // needed
    StyleEditing(tiny_zoo, num_copies=fitting)
    with raises_saying(asked="networks for each", found="the machine has 0", do="at most"):
        StyleEditing(tiny_zoo, num_copies=fitting + 1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_networks_that_draw_nan(raises_saying, tiny_zoo, value):
    task = StyleEditing(tiny_zoo)
    editor = make_editor(task)
    editor.head.new.bias_factor.data.fill_(value)
    graphs, labels = val_batch(task)
    for run in (task.objective, lambda model, graphs, labels: task.outputs(model, graphs)):
        with raises_saying(asked="8 networks draw", found="of 8 it is NaN", do="learning_rate"):
            run(editor, graphs, labels)


def test_models_with_outputs_are_refused(raises_saying, tiny_zoo):
    with raises_saying(asked="style_editing", found="are networks", do="NGGNN"):
        make_flat_mlp(StyleEditing(tiny_zoo), hidden_dims=[4], dropout=0.0)
