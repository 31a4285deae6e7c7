"""Accuracy against the number of training INRs, from the rows of `results.csv`.

    for n in 1000 3000; do python main.py encoder=... zoo=mnist_10k num_train=$n; done
    python training_sizes.py --zoo mnist_inrs_10k --all 10000

Writes `training_sizes_<zoo>.png`: every model with rows of at least two sizes is a curve.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import pandas as pd
from support.tables import short_options

from nn_graphs.errors import NNGraphsError
from nn_graphs.plotting import plot_against_size, save_figure
from nn_graphs.results import latest_results, read_results

FOLDER = Path(__file__).parent
SIZE = r"num_train=(\d+)"


def accuracies_by_size(results: pd.DataFrame, *, zoo: str, num_all: int) -> pd.DataFrame:
    """Columns `model`, `size` and `value`: test accuracies of all models on a zoo.

    Rows without the option `num_train` were trained on all `num_all` INRs. Options that are not
    `num_train` or the trainer become a part of the model's name.

    Raises:
        NNGraphsError: no model has rows of two sizes.
    """
    rows = latest_results(results)
    rows = rows[(rows["zoo"] == zoo) & (rows["metric"] == "test/accuracy")]
    sizes = rows["options"].str.extract(SIZE, expand=False).fillna(str(num_all)).astype(int)
    others = rows["options"].map(short_options)
    others = others.str.replace(rf"{SIZE}|trainer=\S+", "", regex=True).str.split()
    models = rows["model"] + others.map(lambda options: "".join(f"\n{o}" for o in options))
    table = pd.DataFrame({"model": models, "size": sizes, "value": rows["value"]})
    table = table[table.groupby("model")["size"].transform("nunique") > 1]
    if table.empty:
        raise NNGraphsError(
            f"plot accuracies on {zoo} against the number of training INRs",
            found="no model has results for two numbers.",
            do="Train with the option num_train=... and results=results.csv first.",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zoo", default="mnist_inrs_10k")
    parser.add_argument("--all", type=int, default=10_000, help="INRs of rows without num_train")
    parser.add_argument("--results", type=Path, default=FOLDER / "results.csv")
    options = parser.parse_args()
    try:
        results = read_results(options.results)
        table = accuracies_by_size(results, zoo=options.zoo, num_all=options.all)
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    curves = {
        model: {size: values.tolist() for size, values in rows.groupby("size")["value"]}
        for model, rows in table.groupby("model")
    }
    figure = plot_against_size(
        curves, xlabel="training INRs", ylabel="accuracy on test (%)", title=options.zoo
    )
    print(save_figure(figure, FOLDER / f"training_sizes_{options.zoo}.png"))


if __name__ == "__main__":
    main()
