"""Networks of many structures, trained as stacks: each structure with each of its seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.stack_chunks import Chunk, train_groups
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe, train_classifiers
from nn_graphs.networks.dag.dag_family import DAGFamily, stack_dags
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.relational.family import groups_by_width
from nn_graphs.structure.layered_graph import LayeredGraph


@dataclass(frozen=True, eq=False)
class StructureJob:
    """One network to train.

    Attributes:
        number: of the structure; what results are known by, with the seed.
        structure: of its hidden neurons.
        seed: of the order of the data, and of initial values.
        draw: makes initial values others, with the same order of the data.
    """

    number: int
    structure: LayeredGraph
    seed: int
    draw: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.number, self.seed


@dataclass(frozen=True, eq=False)
class StructureTraining:
    """What all networks share.

    Attributes:
        in_features, out_features: values of an input, and classes.
        recipe: of the training; its seed is replaced by that of the job.
        plan: epochs and batches.
        activation: of all hidden neurons.
    """

    in_features: int
    out_features: int
    recipe: Recipe
    plan: Plan
    activation: str = "relu"

    @classmethod
    def of_data(cls, data: LabelledData, recipe: Recipe, plan: Plan) -> "StructureTraining":
        """With the inputs and classes of a data set."""
        classes = int(data.labels.max()) + 1
        return cls(data.inputs[0].numel(), classes, recipe, plan)

    def make_network(self, job: StructureJob) -> DAGNetwork:
        """The untrained network of a job."""
        return DAGNetwork(
            job.structure,
            in_features=self.in_features,
            out_features=self.out_features,
            activation=self.activation,
            generator=torch.Generator().manual_seed(_mixed(job.seed, job.draw)),
        )

    def stack(self, jobs: Sequence[StructureJob]) -> DAGFamily:
        """Untrained networks as one stack."""
        return stack_dags([self.make_network(job) for job in jobs])

    def recipes(self, jobs: Sequence[StructureJob]) -> tuple[Recipe, ...]:
        return tuple(replace(self.recipe, seed=job.seed) for job in jobs)

    def make_chunk(self, groups: Sequence[Sequence[StructureJob]], number: int) -> Chunk:
        """One group of jobs as a chunk."""
        family = self.stack(groups[number])
        recipes = self.recipes(groups[number])
        return Chunk(family.model, family.params, family.buffers, recipes, family.trainable)


def _mixed(seed: int, draw: int) -> int:
    """One seed out of two; the first where the second is 0."""
    return seed if draw == 0 else int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def train_structures(
    training: StructureTraining,
    jobs: Sequence[StructureJob],
    data: LabelledData,
    *,
    done: set[tuple[int, int]],
    folder: str | Path,
    on_done: Callable[[list[StructureJob], Scores], None],
    chunk_size: int = 64,
    num_workers: int | None = None,
) -> None:
    """Trains networks in stacks of nearly one depth; interrupted ones go on from their state.

    Args:
        training: for all.
        jobs: the same ones each time, so that stacks are the same.
        data: for all.
        done: keys of the jobs that need not be trained.
        folder: of the states of stacks under way.
        on_done: called with the jobs of a stack and their scores.
        chunk_size: networks of a stack.
        num_workers: processes; None: one a core where there are stacks enough.
    """
    train_groups(
        training.make_chunk,
        in_stacks(jobs, chunk_size),
        data,
        training.plan,
        is_done=lambda job: job.key in done,
        on_done=on_done,
        folder=folder,
        num_workers=num_workers,
    )


def score_structures(
    training: StructureTraining,
    jobs: Sequence[StructureJob],
    data: LabelledData,
    *,
    chunk_size: int = 64,
) -> Float[np.ndarray, " jobs"]:
    """Accuracies, from 0 to 1, of networks trained here, on what stands for test inputs."""
    found = np.zeros(len(jobs))
    place = {job.key: number for number, job in enumerate(jobs)}
    for group in in_stacks(jobs, chunk_size):
        family = training.stack(group)
        last = train_classifiers(
            family.model,
            family.params,
            family.buffers,
            data,
            training.recipes(group),
            training.plan,
            trainable=family.trainable,
        )[-1]
        found[[place[job.key] for job in group]] = last.scores.test_accuracy.numpy()
    return found


def in_stacks(jobs: Sequence[StructureJob], chunk_size: int) -> list[list[StructureJob]]:
    """Jobs in groups of one seed, which see the same inputs, and of nearly one depth.

    The first layer of networks that see the same inputs is one ordinary product, and stacks of
    nearly one depth have the fewest empty places.
    """
    groups = []
    for seed in dict.fromkeys(job.seed for job in jobs):
        own = [job for job in jobs if job.seed == seed]
        places = groups_by_width([job.structure.num_layers for job in own], chunk_size)
        groups += [[own[place] for place in group.tolist()] for group in places]
    return groups
