"""Result rows come back as they were written, also from several processes, and count once."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest

from nn_graphs.results import (
    COLUMNS,
    ResultRow,
    append_rows,
    commit,
    latest_results,
    now,
    read_results,
    summarize,
    versions,
)

ROW = ResultRow(
    task="inr_classification",
    model="ng_t",
    zoo="digits_inrs",
    options="",
    seed=0,
    metric="test/accuracy",
    value=87.5,
    params=376586,
    minutes=1.25,
    device="cpu (2 threads)",
    versions="python 3.11.7, torch 2.13.0",
    commit="1234567",
    command="python main.py 'encoder.model.hidden_dims=[8,8]'",
    date="2026-11-21 03:03",
    encoder_madds=1234.5,
    query_madds=64.0,
    access="weights+probes",
    views=1.0,
)
OLD_COLUMNS = COLUMNS[:-4]  # before costs had columns
OLD_LINES = "".join(
    ",".join(cells) + "\n"
    for cells in (
        OLD_COLUMNS,
        ("inr_classification", "ng_t", "a", "", "0", "m", "8.5", "3", "1.5", *"dvcc", "2026"),
    )
)


def row(**changes) -> ResultRow:
    return dataclasses.replace(ROW, **changes)


def test_rows_come_back(tmp_path):
    path = tmp_path / "new" / "folder" / "results.csv"
    odd = row(model='with "quotes", commas', commit="0000012", options="a=[1,2] b=", value=0.1)
    append_rows(path, [ROW])
    append_rows(path, [odd, row(seed=1)])
    table = read_results(path)
    assert tuple(table.columns) == COLUMNS
    expected = [dataclasses.asdict(made) for made in (ROW, odd, row(seed=1))]
    assert table.to_dict("records") == expected
    assert path.read_text().count("task,model") == 1
    assert [file.name for file in path.parent.iterdir()] == ["results.csv"]


def test_value_that_is_no_number_and_names_that_look_like_none(tmp_path):
    path = tmp_path / "results.csv"
    append_rows(path, [row(value=float("nan"), model="None", zoo="null", options="nan")])
    (table,) = read_results(path).to_dict("records")
    assert math.isnan(table["value"])
    assert (table["model"], table["zoo"], table["options"]) == ("None", "null", "nan")


def test_files_from_before_costs_had_columns_are_read_with_blanks(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(OLD_LINES)
    (old,) = read_results(path).to_dict("records")
    assert tuple(old) == COLUMNS
    assert (old["value"], old["date"], old["access"]) == (8.5, "2026", "")
    assert math.isnan(old["encoder_madds"])
    assert math.isnan(old["views"])
    (summary,) = summarize(read_results(path)).to_dict("records")
    assert summary["mean"] == 8.5
    assert math.isnan(summary["query_madds"])


def test_files_from_before_get_the_columns_with_the_first_new_row(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(OLD_LINES)
    before = read_results(path)
    append_rows(path, [ROW])
    append_rows(path, [row(seed=1)])
    table = read_results(path)
    assert len(table) == 3
    assert table[:1].equals(before)
    assert table[1:].to_dict("records") == [dataclasses.asdict(r) for r in (ROW, row(seed=1))]
    assert OLD_LINES.splitlines()[1] in path.read_text().splitlines()
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]


def test_missing_file(raises_saying, tmp_path):
    with raises_saying(asked="results.csv", found="no such file", do="Run the experiment"):
        read_results(tmp_path / "results.csv")


def test_other_columns_are_found_before_anything_is_written(raises_saying, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("task,score\nold,3\n")
    for use in (read_results, lambda path: append_rows(path, [ROW])):
        with raises_saying(asked=str(path), found="task, score; not task, model", do="Move"):
            use(path)
    assert path.read_text() == "task,score\nold,3\n"


WRITER = """
import json, sys
from nn_graphs.results import ResultRow, append_rows
row = json.loads(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(300):
    row |= {"seed": seed}
    append_rows(sys.argv[1], [ResultRow(**row), ResultRow(**row | {"metric": "val/loss"})])
"""


def test_two_processes_write_to_one_file(tmp_path):
    path = tmp_path / "results.csv"
    rows = [dataclasses.asdict(row(model=name, versions=name * 500)) for name in "ab"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), json.dumps(content)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for content in rows
    ]
    assert [writer.stdout.readline() for writer in writers] == [b"ready\n"] * 2
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    table = read_results(path)
    assert len(table) == 1200
    assert (table["versions"] == table["model"] * 500).all()
    for _, made in table.groupby("model"):
        assert made["seed"].tolist() == [seed for seed in range(300) for _ in range(2)]
        assert made["metric"].tolist() == ["test/accuracy", "val/loss"] * 300


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, raises_saying, full_disk):
    path = tmp_path / "results.csv"
    append_rows(path, [ROW])
    before = path.read_bytes()
    full_disk(path)
    with raises_saying(asked=f"write {path}", found="full", do="Make room"):
        append_rows(path, [row(seed=1)])
    assert path.read_bytes() == before
    append_rows(path, [row(seed=2)])  # there is room again
    assert read_results(path)["seed"].tolist() == [0, 2]


def test_a_line_that_was_cut_is_told_and_none_is_glued_to_it(tmp_path, raises_saying):
    path = tmp_path / "results.csv"
    append_rows(path, [ROW, row(seed=1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with raises_saying(asked="add rows", found="of 18 values: it was cut", do="Delete"):
        append_rows(path, [ROW])
    path.write_bytes(whole[:-1])  # an editor that ends files without a line break
    append_rows(path, [row(seed=2)])
    assert read_results(path)["seed"].tolist() == [0, 1, 2]


def test_a_link_stays_a_link(tmp_path):
    path, link = tmp_path / "results.csv", tmp_path / "link.csv"
    link.symlink_to(path)
    append_rows(link, [ROW])
    append_rows(link, [row(seed=1)])
    assert link.is_symlink()
    assert len(read_results(path)) == 2


def test_summary(tmp_path):
    path = tmp_path / "results.csv"
    append_rows(path, [row(value=10.0), row(seed=1, value=40.0, minutes=3.25)])
    again = row(value=30.0, command="python main.py seed=0", minutes=1.25)
    append_rows(path, [again, row(metric="val/accuracy", value=5.0)])
    append_rows(path, [row(options="trainer=published", value=90.0)])
    table = read_results(path)
    assert latest_results(table)["value"].tolist() == [40.0, 30.0, 5.0, 90.0]
    summary = summarize(table).set_index(["options", "metric"])
    assert len(summary) == 3
    test = summary.loc[("", "test/accuracy")]
    assert test["mean"] == pytest.approx(35.0)
    assert test["std"] == pytest.approx(50**0.5)  # with n - 1
    assert test["count"] == 2
    assert test["minutes"] == pytest.approx(2.25)
    assert test["params"] == 376586
    assert summary.loc[("", "val/accuracy"), "count"] == 1
    assert summary.loc[("trainer=published", "test/accuracy"), "mean"] == 90


def test_commit_of_a_repository_and_outside(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    assert commit(tmp_path) == "unknown"
    git("init", "--quiet")
    inside = tmp_path / "inside"
    inside.mkdir()
    files = [tmp_path / "file", tmp_path / "results.csv", inside / "results.csv"]
    for file in files:
        file.write_text("one")
    git("add", ".")
    git("commit", "--quiet", "--message=one")
    git("tag", "v1")
    assert commit(tmp_path) == git("rev-parse", "--short", "HEAD")
    for file in files[1:]:
        file.write_text("two")  # rows that were appended
        assert commit(inside) == git("rev-parse", "--short", "HEAD")
    files[0].write_text("two")
    for folder in (tmp_path, inside):
        assert commit(folder) == git("rev-parse", "--short", "HEAD") + "+"


def test_commit_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) == "unknown"


def test_versions_and_date(monkeypatch):
    import torch

    assert f"torch {torch.__version__}" in versions()
    assert f"python {sys.version_info.major}.{sys.version_info.minor}." in versions()
    assert len(now()) == len("2026-11-21 03:03")
