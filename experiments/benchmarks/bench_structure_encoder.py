"""How fast are the encoder of StructureReps, its encodings and embeddings, against the plain way?

    python bench_structure_encoder.py                       # about 5 minutes on two cores
    python bench_structure_encoder.py --only embedding
    python bench_structure_encoder.py --side ours --layout 2-32-32-1   # one side, as JSON

- `epochs`: a training epoch of the VGAE, against torch-geometric's layers on a list of its `Data`,
  both with the same parameters and, without draws, the same loss (`plain_vgae.py`).
- `encodings`: Laplacian eigenvectors of weighted graphs, against scipy, one graph at a time.
- `embedding`: `nn_graphs.embed` of a zoo, against one network at a time.

Sides of the epochs run in processes of their own, so that memory peaks do not mix.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse.csgraph
import torch
from benchmarks.plain_vgae import PlainVGAE, make_data_list
from benchmarks.training_steps import StepCost, measure
from omegaconf import OmegaConf
from support.benchmarks import RESULTS, record, seconds
from torch_geometric.loader import DataLoader

from nn_graphs.configs import CONFIGS
from nn_graphs.encoders.embedding import embed
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE, Reconstruction
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.tasks.structure_reconstruction import StructureReconstruction
from nn_graphs.training import TrainingSettings, accumulate_gradients
from nn_graphs.zoos.zoo import Zoo

PARTS = ("epochs", "encodings", "embedding")
EQUAL = 1e-4  # losses of both sides
NUM_FEATURES = 8  # eigenvectors


def make_zoo(layout: str, num_networks: int) -> Zoo:
    """Drawn networks: an MLP by its widths, or "cnn", that of the Small CNN Zoo."""
    if layout == "cnn":
        spec = small_cnn_zoo_spec()
    else:
        spec = NetworkSpec.mlp(tuple(map(int, layout.split("-"))), activation="relu")
    generator = torch.Generator().manual_seed(0)
    params = 0.3 * torch.randn(num_networks + 2, spec.num_params, generator=generator)
    splits = ["train"] * num_networks + ["val", "test"]
    return Zoo.single(spec, params, pd.DataFrame({"split": splits}))


def make_task_and_model(
    zoo: Zoo, *, all_pairs_below: int = 512
) -> tuple[StructureReconstruction, Reconstruction]:
    """The published encoder, whose convolutions read weights too, in front of a VGAE."""
    task = StructureReconstruction(zoo, all_pairs_below=all_pairs_below)
    node = OmegaConf.load(CONFIGS / "encoder" / "vgae" / "ea_tc_lf.yaml").model
    node.encoder.update({"has_edge_features": True, "has_random_signs": False})
    torch.manual_seed(0)
    return task, hydra.utils.instantiate(node, _convert_="all")(task)


def prepare_epoch(side: str, options: argparse.Namespace) -> Callable[[], float]:
    """A function that trains on all networks once and says the loss of the last batch."""
    zoo = make_zoo(options.layout, options.num_graphs)
    task, model = make_task_and_model(zoo, all_pairs_below=options.all_pairs_below)
    keep_freed_memory()
    if side == "ours":
        return _our_epoch(task, model, options.batch_size)
    return _plain_epoch(task, model, options.batch_size)


def _our_epoch(
    task: StructureReconstruction, model: Reconstruction, batch_size: int
) -> Callable[[], float]:
    dataset, optimizer = task.dataset("train"), TrainingSettings().make_optimizer(model)

    def epoch() -> float:
        for first in range(0, len(dataset), batch_size):
            batch = dataset.batch([*range(first, min(first + batch_size, len(dataset)))])
            optimizer.zero_grad()
            loss = accumulate_gradients(model, task.objective, batch)
            optimizer.step()
        return loss.item()

    return epoch


def _plain_epoch(
    task: StructureReconstruction, model: Reconstruction, batch_size: int
) -> Callable[[], float]:
    graphs = task.templates[0].stack(task.zoo.params[0][: len(task.dataset("train"))])
    plain = PlainVGAE(model.encoder)
    loader = DataLoader(make_data_list(graphs, model.encoder), batch_size=batch_size)
    optimizer = TrainingSettings().make_optimizer(plain)

    def epoch() -> float:
        for batch in loader:
            optimizer.zero_grad()
            loss = plain(batch)
            loss.backward()
            optimizer.step()
        return loss.item()

    return epoch


def loss_difference(layout: str) -> float:
    """Of both sides on a few graphs, without draws, as a share of the loss."""
    task, model = make_task_and_model(make_zoo(layout, 8))
    graphs = task.templates[0].stack(task.zoo.params[0][:8])
    plain = PlainVGAE(model.encoder).eval()
    (batch,) = DataLoader(make_data_list(graphs, model.encoder), batch_size=8)
    with torch.no_grad():
        ours, theirs = model.eval().encoder.losses(graphs).total.mean(), plain(batch)
    difference = ((ours - theirs).abs() / ours).item()
    if difference > EQUAL:
        raise SystemExit(f"{layout}: the losses are {ours.item()} and {theirs.item()}.")
    return difference


def measure_side(side: str, options: argparse.Namespace, **changes: object) -> StepCost:
    """Time and memory of an epoch of one side, in a process of its own unless told otherwise."""
    options = argparse.Namespace(**vars(options) | changes)
    if options.in_one_process:
        return _measured(side, options)
    names = ("layout", "num_graphs", "batch_size", "num_epochs", "all_pairs_below")
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    command = [sys.executable, __file__, f"--side={side}", *given]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stderr}")
    return StepCost(**json.loads(found.stdout.splitlines()[-1]))


def _measured(side: str, options: argparse.Namespace) -> StepCost:
    return measure(prepare_epoch(side, options), num_steps=options.num_epochs, device="cpu")


def compare_epochs(options: argparse.Namespace) -> None:
    for layout in options.layouts:
        difference = loss_difference(layout)
        plain, ours = (measure_side(side, options, layout=layout) for side in ("plain", "ours"))
        name = "CNNs" if layout == "cnn" else f"MLPs {layout}"
        setting = f"{options.num_graphs} {name}, batch {options.batch_size}"
        remark = f"Losses of both differ by {difference:.0e} of their value."
        costs = {"s": "seconds", "GB": "gigabytes"}
        for unit, attribute in costs.items():
            pair = getattr(plain, attribute), getattr(ours, attribute)
            if all(pair):
                record(
                    f"{'memory of ' * (unit == 'GB')}a training epoch of the VGAE",
                    setting=setting,
                    unit=unit,
                    plain=pair[0],
                    ours=pair[1],
                    remark=remark,
                    device=ours.device,
                    results=options.results,
                )


def compare_encodings(options: argparse.Namespace) -> None:
    """Eigenvectors of some graphs by scipy, of all by ours; equal up to signs."""
    for layout in options.layouts:
        zoo = make_zoo(layout, options.num_graphs)
        stack = template_from_spec(zoo.spec).stack(zoo.params[0][: options.num_graphs])
        chosen = range(min(options.num_plain, options.num_graphs))
        start = time.perf_counter()
        expected = np.stack([_scipy_vectors(stack, number) for number in chosen])
        plain = (time.perf_counter() - start) / len(chosen)
        found = _our_vectors(stack)[: len(chosen)].numpy()
        ours = seconds(partial(_our_vectors, stack), repeats=options.num_epochs)
        cosines = np.abs((expected * found[..., : expected.shape[-1]]).sum(1))
        record(
            "Laplacian encodings of weighted graphs",
            setting=f"{options.num_graphs} graphs of {layout}, {NUM_FEATURES} eigenvectors",
            unit="graphs/s",
            plain=1 / plain,
            ours=options.num_graphs / ours,
            remark=f"Scipy had {len(chosen)} of them; cosines of its eigenvectors and ours: median "
            f"{np.median(cosines):.6f}.",
            results=options.results,
        )


def _our_vectors(stack: NeuralGraphStack) -> torch.Tensor:
    return LaplacianEncoding(NUM_FEATURES, is_weighted=True)(stack)


def _scipy_vectors(stack: NeuralGraphStack, number: int) -> np.ndarray:
    """Of one graph, the eigenvectors of the smallest eigenvalues behind the first."""
    graph, size = _alone(stack.template, stack[number]), stack.template.num_nodes
    norms = graph.edge_features.norm(dim=-1).numpy().astype(np.float64)
    matrix = np.zeros((size, size))
    np.add.at(matrix, tuple(graph.edge_index.numpy()), norms)
    laplacian = scipy.sparse.csgraph.laplacian(matrix + matrix.T, normed=True)
    last = min(NUM_FEATURES, size - 1)
    return scipy.linalg.eigh(laplacian, subset_by_index=[0, last])[1][:, 1:]


def _alone(template: GraphTemplate, graph: NeuralGraph) -> NeuralGraph:
    """One graph by itself, with kernels of one size."""
    return template.centred(graph, template.kernel_size) if template.kernel_size else graph


def compare_embedding(options: argparse.Namespace) -> None:
    for layout in options.layouts:
        zoo = make_zoo(layout, options.num_embedded)
        encoder = make_task_and_model(zoo)[1].encoder.eval()
        count = min(options.num_plain, len(zoo))
        expected = _one_by_one(encoder, zoo, count)
        plain = seconds(partial(_one_by_one, encoder, zoo, count), repeats=options.num_epochs)
        start = time.perf_counter()
        found = embed(encoder, zoo)
        ours = time.perf_counter() - start
        record(
            "embedding a zoo",
            setting=f"{options.num_embedded} networks {layout}",
            unit="networks/s",
            plain=count / plain,
            ours=len(zoo) / ours,
            remark=f"{count} networks one at a time; vectors differ by "
            f"{np.abs(found[:count] - expected).max():.0e} at most.",
            results=options.results,
        )


def _one_by_one(encoder: VGAE, zoo: Zoo, count: int) -> np.ndarray:
    """The vectors of the first networks, each as a graph of its own."""
    template = template_from_spec(zoo.spec)
    with torch.no_grad():
        graphs = (_alone(template, template(params)) for params in zoo.params[0][:count])
        return torch.cat([encoder.embed(graph) for graph in graphs]).numpy()


COMPARISONS = {
    "epochs": compare_epochs,
    "encodings": compare_encodings,
    "embedding": compare_embedding,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=[*PARTS])
    add("--side", choices=("plain", "ours"), help="measure one epoch of it, and print it as JSON")
    add("--layout", default="2-32-32-1", help="of that side")
    add("--layouts", nargs="+", default=["2-32-32-1", "cnn"], help="widths of MLPs, or cnn")
    add("--num-graphs", type=int, default=2000, help="of epochs and encodings")
    add("--num-embedded", type=int, default=10_000, help="networks of the zoo that is embedded")
    add("--num-plain", type=int, default=100, help="graphs that are done one at a time")
    add("--batch-size", type=int, default=128)
    add("--num-epochs", type=int, default=3, help="timed on each side")
    add("--all-pairs-below", type=int, default=512, help="neurons; else pairs are drawn")
    add("--in-one-process", action="store_true", help="quicker, but memory peaks mix")
    add("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.side:
        print(json.dumps(dataclasses.asdict(_measured(options.side, options))))
        return
    for name in options.only:
        COMPARISONS[name](options)


if __name__ == "__main__":
    main()
