"""Tables of runs: what is refused, what is missing, means over seeds."""

import numpy as np
import pandas as pd
import pytest

from nn_graphs.relational_results import (
    BASELINE,
    check_runs,
    final_runs,
    handle_missing,
    mean_errors,
    missing_runs,
    noise_ceiling,
    without_baseline,
)
from tests.relational_results.tables import make_runs, random_runs


def test_means_and_spread_of_a_population():
    errors = mean_errors(make_runs({1: [3.0, 5.0], 2: [7.0], BASELINE: [9.0, 9.0]}))
    assert errors["graph_id"].tolist() == [BASELINE, 1, 2]
    assert errors["error"].tolist() == [9, 4, 7]
    assert errors["std"].tolist() == [0, 1, 0]
    assert errors["num_runs"].tolist() == [2, 2, 1]
    assert errors["clustering"].tolist() == pytest.approx([1, 0.1, 0.2])
    assert without_baseline(errors)["graph_id"].tolist() == [1, 2]


def test_another_metric():
    runs = make_runs({1: [3.0, 5.0]}).rename(columns={"top1_error": "loss"})
    assert mean_errors(runs, metric="loss")["error"].tolist() == [4]


def test_tasks_and_epochs_are_kept_apart():
    runs = pd.concat(
        [make_runs({1: [3.0]}), make_runs({1: [5.0]}, epoch=11), make_runs({1: [7.0]}, task="cnn")]
    )
    errors = mean_errors(runs)
    assert errors[["task", "epoch", "error"]].to_numpy().tolist() == [
        ["cnn", 10, 7.0],
        ["mlp", 10, 3.0],
        ["mlp", 11, 5.0],
    ]
    assert final_runs(runs)["top1_error"].tolist() == [5, 7]


def lacking() -> pd.DataFrame:
    """Graph 2 lacks seed 2, out of three."""
    runs = make_runs({1: [1.0, 2.0, 3.0], 2: [4.0, 5.0, 9.0], BASELINE: [9.0, 9.0, 9.0]})
    return runs[(runs["graph_id"] != 2) | (runs["train_seed"] != 2)]


def test_missing_runs_are_named():
    assert missing_runs(lacking()).to_numpy().tolist() == [["mlp", 10, 2, 2]]
    assert missing_runs(make_runs({1: [1.0, 2.0]})).empty


def test_a_task_may_have_other_epochs_and_seeds_than_another():
    runs = pd.concat([make_runs({1: [3.0]}), make_runs({2: [5.0, 6.0]}, task="cnn", epoch=3)])
    assert missing_runs(runs).empty


def test_three_ways_with_missing_runs(raises_saying):
    dropped = mean_errors(handle_missing(lacking(), "drop")).set_index("graph_id").loc[2]
    assert (dropped["error"], dropped["num_runs"]) == (6.5, 2)
    borrowed = handle_missing(lacking(), "borrow")
    mean = mean_errors(borrowed).set_index("graph_id").loc[2]
    assert mean["error"] == pytest.approx((4 + 4 + 9) / 3)  # seed 1 once more
    assert borrowed.loc[borrowed["is_borrowed"], "train_seed"].tolist() == [2]
    with raises_saying(asked="complete seeds", found="graph_id 2, train_seed 2", do="borrow"):
        handle_missing(lacking(), "refuse")
    whole = make_runs({1: [1.0, 2.0]})
    assert len(handle_missing(whole, "refuse")) == len(handle_missing(whole, "borrow")) == 2


def test_nothing_to_borrow(raises_saying):
    runs = pd.concat([make_runs({1: [1.0], 2: [2.0]}), make_runs({1: [1.0]}, epoch=11)])
    with raises_saying(asked="complete", found="epoch 11, graph_id 2", do="No other run"):
        handle_missing(runs, "borrow")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda runs: runs.drop(columns="epoch"), "the columns epoch are missing"),
        (lambda runs: runs.iloc[:0], "it is empty"),
        (lambda runs: runs.assign(top1_error=np.nan), "4 rows, the first of them 0"),
        (lambda runs: runs.assign(clustering=np.inf), "not finite"),
        (lambda runs: pd.concat([runs, runs.iloc[:1]]), "1 runs come twice, e.g. task mlp"),
        (lambda runs: runs.assign(path_length=[1, 2, 3, 4]), "graph 1 of mlp has several"),
    ],
)
def test_what_is_no_table_of_runs(raises_saying, change, found):
    runs = make_runs({1: [1.0, 2.0], 2: [2.0, 3.0]})
    check_runs(runs)
    with raises_saying(asked="as runs", found=found, do="table.py"):
        check_runs(change(runs))


def test_noise_ceiling_is_the_share_of_structure():
    rng = np.random.default_rng(0)
    graphs, noise = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 4))
    offsets = np.array([0.0, 3.0, -2.0, 5.0])  # a seed that is bad for all graphs is no noise
    values = graphs + noise + offsets
    runs = make_runs(dict(enumerate(values.tolist())))
    ceiling = noise_ceiling(runs)
    assert ceiling.share == pytest.approx(1 / (1 + 1 / 4), abs=0.02)
    assert ceiling.low < 1 / (1 + 1 / 4) < ceiling.high
    assert ceiling.high - ceiling.low < 0.04
    assert noise_ceiling(random_runs(50, noise=0.0)) == pytest.approx((1, 1, 1))


def test_a_ceiling_is_a_share_also_where_there_is_noise_alone():
    values = np.random.default_rng(1).normal(size=(6, 3))
    values -= values.mean(1, keepdims=True) * 0.99
    ceiling = noise_ceiling(make_runs(dict(enumerate(values.tolist()))))
    assert ceiling.share == ceiling.low == 0
    assert 0 <= ceiling.high <= 1
    assert str(ceiling).startswith("0.000 (0.000 to ")


def test_no_ceiling_from_single_runs(raises_saying):
    with raises_saying(asked="noise ceiling", found="0 of 2 graphs", do="more seeds"):
        noise_ceiling(make_runs({1: [1.0], 2: [2.0]}))
    both = pd.concat([make_runs({1: [1.0]}), make_runs({1: [2.0]}, epoch=11)])
    with raises_saying(asked="noise ceiling", found="1 tasks and 2 epochs", do="final_runs"):
        noise_ceiling(both)
