"""The curves over the number of training INRs are the rows of the results."""

import pandas as pd

from experiments.inr_classification.training_sizes import accuracies_by_size


def results(rows: list[tuple[str, str, int, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["model", "options", "seed", "value"])
    return table.assign(task="inr_classification", zoo="zoo", metric="test/accuracy")


def test_rows_of_two_sizes_are_a_curve(raises_saying):
    rows = [
        ("mlp", "trainer=budget", 0, 50.0),
        ("mlp", "num_train=10 trainer=budget", 0, 20.0),
        ("mlp", "num_train=10 trainer=budget", 1, 30.0),
        ("gnn", "encoder.model.encoder.num_probes=8 num_train=10", 0, 40.0),
        ("gnn", "num_train=10", 0, 35.0),
        ("gnn", "encoder.model.encoder.num_probes=8", 0, 60.0),
    ]
    table = accuracies_by_size(results(rows), zoo="zoo", num_all=100)
    found = {
        model: dict(zip(part["size"], part["value"], strict=True))
        for model, part in table[table["value"] != 30].groupby("model")
    }
    assert found == {"mlp": {100: 50, 10: 20}, "gnn\nnum_probes=8": {100: 60, 10: 40}}
    with raises_saying(asked="accuracies on other", found="no model", do="num_train"):
        accuracies_by_size(results(rows), zoo="other", num_all=100)
