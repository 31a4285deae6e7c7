"""Relational graphs: train networks of many graphs, and see where in the plane the good ones lie.

python main.py                                      # 49 graphs of 16 nodes, 5 seeds, on digits
python main.py network=mlp512 graphs=nodes_64 dataset=cifar10 recipe=published_mlp
python main.py --multirun network=resnet34 dataset=image_folders graphs=nodes_64 \\
    recipe=published_resnet device=cuda "seeds=[1],[2]"
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import Run, launch
from support.relational import check_plane, load_data, report_runs, row_origin, task_and_options

from nn_graphs.relational_results.runs import Training, make_jobs, train_jobs


def train_graphs(run: Run) -> None:
    config = run.config
    check_plane(config.plane)
    graphs = run.build(config.graphs).read(run.data_root)
    training = Training(
        run.build(config.network.architecture),
        run.build(config.recipe.recipe),
        run.build(config.recipe.plan),
        config.device,
    )
    jobs = make_jobs(training.architecture, graphs, list(config.seeds))
    train_jobs(
        training,
        jobs[config.part :: config.num_parts],
        load_data(run),
        results=Path(config.results),
        folder=run.folder / "states",
        describe=lambda: row_origin(run),
        **task_and_options(run),
        chunk_size=config.chunk_size,
        num_workers=config.num_workers,
    )
    report_runs(run)


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="relational_graphs"
)
def main(config: DictConfig) -> None:
    launch(train_graphs, config)


if __name__ == "__main__":
    main()
