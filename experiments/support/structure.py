"""What the experiment on structure and performance makes of embeddings: scores and figures."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from support.launch import Run
from support.predict import train
from support.study_settings import StudySettings
from torch import nn

from nn_graphs.encoders import embed, load_encoder
from nn_graphs.plotting import save_figure
from nn_graphs.structure import connectome_names, read_connectome
from nn_graphs.structure_performance import (
    BASELINES,
    PROTOCOLS,
    MantelTest,
    PerformanceColumns,
    connectome_graph,
    embed_graphs,
    epoch_index,
    fit_ridge,
    flat_weights,
    hold_out,
    mantel_test,
    order_along,
    performance_columns,
    performance_of,
    permuted_zoo,
    plot_connectomes,
    plot_embedding,
    plot_held_out,
    plot_selection,
    project,
    recall_at_one,
    score_features,
    selection_table,
    silhouette,
    weight_scale,
)
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
README_FIGURES = {"held_out": "held_out", "embedding_pca": "figure_2"}  # and their names there
SERIES = "celegans_witvliet_"  # eight worms, from birth to adult
Metrics = dict[str, dict[str, float]]  # by the names of models, then of metrics


def train_encoder(run: Run, task: Task) -> tuple[dict[str, nn.Module], Outcome]:
    """The config's encoder by its name, trained without labels, and as it was before."""
    name = run.config.encoder.name
    untrained = run.seeded(run.build(run.config.encoder.model), task).as_encoder()
    outcome = train(run, task)
    trained = load_encoder(run.folder / "encoder.safetensors")
    return {name: trained, f"{name}_untrained": untrained}, outcome


@dataclass(frozen=True)
class Study:
    """A zoo of trajectories, and encoders of its networks.

    Attributes:
        zoo: with the columns of trajectories.
        encoders: by name; figures are of the first.
        settings: what is measured.
        seed: of all divisions and draws.
    """

    zoo: Zoo
    encoders: Mapping[str, nn.Module]
    settings: StudySettings
    seed: int

    @cached_property
    def embeddings(self) -> dict[str, np.ndarray]:
        return {
            name: embed(encoder, self.zoo).astype(float) for name, encoder in self.encoders.items()
        }

    @property
    def name(self) -> str:
        return next(iter(self.encoders))

    @property
    def runs(self) -> np.ndarray:
        return self.zoo.table["run"].to_numpy()

    @property
    def columns(self) -> PerformanceColumns:
        return performance_columns(self.zoo.table)

    @cached_property
    def kinds(self) -> np.ndarray:
        """The structure of each network; of a zoo that does not say, its architecture."""
        table = self.zoo.table
        return table["structure" if "structure" in table else "spec"].to_numpy()

    def labels(self, side: str) -> np.ndarray:
        """Performance of the networks on train or test."""
        return performance_of(self.zoo.table, getattr(self.columns, side))

    def metrics(self) -> Metrics:
        """All scores of all models."""
        found: Metrics = {}
        for part in (self.scores(), self.space(), self.selection(), self.fingerprints()):
            for model, values in part.items():
                found.setdefault(model, {}).update(values)
        return found

    def scores(self) -> Metrics:
        """Means over divisions, of embeddings and baselines."""
        seeds = [
            self.seed * self.settings.num_divisions + n for n in range(self.settings.num_divisions)
        ]
        ways = {name: (features, fit_ridge) for name, features in self.embeddings.items()}
        for name in self.settings.baselines:
            ways[name] = (BASELINES[name].features(self.zoo), BASELINES[name].fit)
        return {
            name: {
                f"{protocol}/{side}/{score}": value
                for protocol in PROTOCOLS
                for side in ("train", "test")
                for score, value in score_features(
                    features, self.labels(side), self.runs, protocol=protocol, seeds=seeds, fit=fit
                )
                .mean()
                .items()
            }
            for name, (features, fit) in ways.items()
        }

    def space(self) -> Metrics:
        """Clusters of structures, where there are several, and distances against differences."""
        found: Metrics = {}
        for name, embedding in self.embeddings.items():
            mantel = self.mantel(embedding)
            found[name] = {"mantel/correlation": mantel.correlation, "mantel/p": mantel.p_value}
            if self.has_kinds:
                found[name]["silhouette"] = silhouette(embedding, self.kinds, seed=self.seed)
        return found

    @property
    def has_kinds(self) -> bool:
        return len(set(self.kinds)) > 1

    def mantel(self, embedding: np.ndarray) -> MantelTest:
        return mantel_test(embedding, self.labels("test"), seed=self.seed)

    @property
    def selection_epochs(self) -> list[int]:
        """The epochs nearest to the shares of training at which runs are chosen."""
        every = np.sort(self.zoo.table["epoch"].unique())
        places = np.array(self.settings.selection_epochs) * (len(every) - 1)
        return every[places.round().astype(int)].tolist()

    def selection_of(self, embedding: np.ndarray) -> pd.DataFrame:
        """How often the best of K runs is picked early in their training."""
        return selection_table(
            embedding,
            self.zoo.table,
            performance=self.columns.test,
            loss=self.columns.loss,
            epochs=self.selection_epochs,
            num_candidates=self.settings.num_candidates,
            seed=self.seed,
        )

    def selection(self) -> Metrics:
        found: Metrics = {}
        names = {"loss": "train_loss", "chance": "chance"}
        for model, embedding in self.embeddings.items():
            table = self.selection_of(embedding)
            for way, rows in table[table["way"] != "oracle"].groupby("way"):
                rates = rows.set_index("epoch")["rate"]
                shares = zip(self.settings.selection_epochs, self.selection_epochs, strict=True)
                values = {f"selection/{share:.0%}": rates[epoch] for share, epoch in shares}
                found[names.get(way, model)] = values
        return found

    def fingerprints(self) -> Metrics:
        """Recall of networks of the same run, of some epochs, as they are and permuted."""
        every = np.sort(self.zoo.table["epoch"].unique())
        places = np.linspace(0, len(every) - 1, self.settings.num_fingerprint_epochs)
        chosen = self.zoo.table["epoch"].isin(every[places.round().astype(int)])
        zoo = self.zoo.select(np.flatnonzero(chosen))
        moved = permuted_zoo(zoo, seed=self.seed)
        ways = {
            name: [embed(encoder, each).astype(float) for each in (moved, zoo)]
            for name, encoder in self.encoders.items()
        }
        ways["weights"] = [flat_weights(each) for each in (moved, zoo)]
        where = zoo.table["run"].to_numpy(), zoo.table["epoch"].to_numpy()
        return {
            name: {
                "fingerprint/recall": recall_at_one(plain, plain, *where),
                "fingerprint/permuted": recall_at_one(queries, plain, *where),
            }
            for name, (queries, plain) in ways.items()
        }

    def figures(self, data_root) -> dict[str, Figure]:
        """What the first encoder's embedding looks like, by the names of files."""
        embedding, title = self.embeddings[self.name], self.name
        named = {"embedding": embedding, "epoch number": epoch_index(self.zoo)}
        held = {
            name: {
                protocol: hold_out(
                    features, self.labels("test"), self.runs, protocol=protocol, seed=self.seed
                )
                for protocol in PROTOCOLS
            }
            for name, features in named.items()
        }
        quantity = self.columns.test.replace("_", " ")
        score = silhouette(embedding, self.kinds, seed=self.seed) if self.has_kinds else None
        found = {
            "held_out": plot_held_out(held, self.runs, quantity=quantity, title=title),
            "selection": plot_selection(
                self.selection_of(embedding),
                num_candidates=self.settings.num_candidates,
                title=title,
            ),
        }
        for method in ("pca", "tsne"):
            found[f"embedding_{method}"] = plot_embedding(
                project(embedding, method),
                self.kinds,
                self.labels("test"),
                self.mantel(embedding),
                silhouette=score,
                quantity=quantity,
                title=title,
            )
        return found | self.connectome_figure(data_root)

    def connectome_figure(self, data_root) -> dict[str, Figure]:
        """Connectomes beside the networks, where any are under the data root."""
        there = connectome_names(data_root)
        names = [name for name in self.settings.connectomes if name in there]
        if not names:
            logger.info("No connectomes under the data root.")
            return {}
        encoder, embedding = self.encoders[self.name], self.embeddings[self.name]
        graphs = [
            connectome_graph(
                read_connectome(name, data_root),
                kernel_size=encoder.dims.kernel_size,
                scale=weight_scale(encoder),
            )
            for name in names
        ]
        brains = embed_graphs(encoder, graphs).astype(float)
        series = [number for number, name in enumerate(names) if name.startswith(SERIES)]
        title = self.name
        if len(series) > 2:
            order = order_along(brains[series])
            title += f"; 1 to 8: C. elegans from birth to adult, in order by {order:.2f}"
        labels = [name.removeprefix(SERIES).removeprefix("celegans_") for name in names]
        places = project(np.concatenate([embedding, brains]))
        count = len(embedding)
        figure = plot_connectomes(
            places[:count], self.kinds, places[count:], labels, series=series, title=title
        )
        return {"connectomes": figure}


def report_study(run: Run, study: Study, metrics: Metrics) -> None:
    """Figures in the run's folder, and a table of what was found."""
    figures = study.figures(run.data_root)
    for name, figure in figures.items():
        save_figure(figure, run.folder / f"{name}.png")
    if run.config.figures is not None:
        for name, shown in README_FIGURES.items():
            save_figure(figures[name], Path(run.config.figures) / f"{shown}.png")
    shown = [f"{protocol}/test/pearson" for protocol in PROTOCOLS]
    shown += ["selection/10%", "fingerprint/recall", "fingerprint/permuted"]
    table = pd.DataFrame(metrics).T.reindex(columns=shown)
    logger.info("%s:\n%s", run.config.zoo.name, table.to_string(float_format="%.2f", na_rep="-"))
    logger.info("Figures: %s", run.folder)
