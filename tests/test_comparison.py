"""Comparisons of runs: lines against plain NumPy, means over tasks, what is never averaged together, the recipe."""

import io
import json
import math
import re
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rich.console
from scipy import stats

from deflow.errors import ReportError
from deflow.report import compare, comparison_figure, find_runs, outcomes_figure, read_runs
from deflow.report.figure import save
from deflow.report.table import results_markdown

ROOT = Path(__file__).parents[1]

AGENT = {
    "solver": {"name": "euler", "from": "deflow", "fields": {"steps": 10}},
    "critic": {"name": "ensemble", "from": "deflow", "fields": {"members": 2}},
    "trust_region": {"name": "mean-square", "from": "deflow", "fields": {"bound": 0.001}},
    "discount": 0.99,
}


def agent(**changes):
    """AGENT with other members: `solver="heun"`, or with other values: `critic={"members": 10}`."""
    made = json.loads(json.dumps(AGENT))
    for name, change in changes.items():
        if isinstance(change, dict):
            made[name]["fields"].update(change)
        elif isinstance(change, str):
            made[name]["name"] = change
        else:
            made[name] = change
    return made


def make_run(folder, seed, success, *, algorithm="deflow", task="cube-v0", every=100, parts=AGENT, commit="c0", **more):
    """A run's directory by hand; `success` at each evaluation, the return 100 less."""
    path = folder / task / algorithm / f"seed{seed}-{len(list(folder.rglob('config.json')))}"
    path.mkdir(parents=True)
    config = {"agent": parts, **more}
    named = {"environment": task, "algorithm": algorithm, "seed": seed, "config": config}
    (path / "config.json").write_text(json.dumps(named))
    (path / "environment.json").write_text(json.dumps({"git": {"commit": commit, "dirty": seed == 1}}))
    rows = [f"{every * (number + 1)},{value},{value - 100}" for number, value in enumerate(success)]
    (path / "eval.csv").write_text("\n".join(["step,evaluation/success,evaluation/episode.return", *rows, ""]))
    return path


def lines(folder, **keywords):
    return compare(read_runs(find_runs([folder])), **keywords).lines


def iqm(values):
    """The mean of the middle half, where four divides their number."""
    middle = np.sort(np.ravel(values))
    return middle[len(middle) // 4 : -(len(middle) // 4)].mean()


# --- lines


def test_a_line_per_algorithm_against_numpy(tmp_path):
    results = {"deflow": [0.2, 0.9, 0.6, 0.7], "fql": [0.9, 1.0, 0.8, 0.95]}
    for name, values in results.items():
        for seed, value in enumerate(values):
            make_run(tmp_path, seed, [0.0, value], algorithm=name)
    best, other = lines(tmp_path)
    assert [best.label, other.label] == ["fql", "deflow"]
    for line in (best, other):
        values = np.array(results[line.label])
        assert line.steps == 200
        assert [run.seed for run in line.runs] == [0, 1, 2, 3]
        interval = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
        assert line.mean == pytest.approx((values.mean(), *interval))
        assert line.iqm.value == pytest.approx(iqm(values))
        drawn = values[np.random.default_rng(1).integers(4, size=(20_000, 4))]
        quantiles = np.quantile(np.sort(drawn, axis=1)[:, 1:3].mean(axis=1), [0.025, 0.975])
        assert line.iqm[1:] == pytest.approx(quantiles, abs=0.03)
        assert line.returns == pytest.approx(values.mean() - 100)


def test_runs_of_different_lengths_are_not_averaged(tmp_path):
    for seed, success in enumerate([[0.1, 0.6], [0.1, 0.8], [0.3]]):
        make_run(tmp_path, seed, success)
    assert [(line.steps, len(line.runs), line.mean.value) for line in lines(tmp_path)] == [
        (200, 2, pytest.approx(0.7)),
        (100, 1, 0.3),
    ]


def test_a_run_without_the_metric_is_left_out_and_named(tmp_path):
    make_run(tmp_path, 0, [0.5])
    path = make_run(tmp_path, 1, [])
    compared = compare(read_runs(find_runs([tmp_path])))
    assert len(compared.lines[0].runs) == 1
    assert compared.notes == (f"Left out, since it has no value of evaluation/success yet: {path}",)


def test_a_repeated_seed_is_said(tmp_path):
    for _ in range(2):
        make_run(tmp_path, 3, [0.5])
    (note,) = compare(read_runs(find_runs([tmp_path]))).notes
    assert note.startswith("Seed 3 of deflow on cube-v0 appears 2 times")


def test_another_metric(tmp_path):
    make_run(tmp_path, 0, [0.5])
    compared = compare(read_runs(find_runs([tmp_path])), "evaluation/episode.return")
    assert compared.lines[0].mean.value == -99.5
    assert compared.markdown().startswith(
        "| task | algorithm | seeds | steps | episode.return | episode.return (IQM) |"
    )
    with pytest.raises(ReportError, match=r"No run has a value of x: there are evaluation/episode\.return, eval"):
        compare(read_runs(find_runs([tmp_path])), "x")


# --- several tasks


def test_all_tasks(tmp_path):
    """The interval is over each seed's mean over tasks: seeds that are good on one and bad on another are alike."""
    results = {"cube-v0": [0.1, 0.5, 0.6, 0.2], "maze-v0": [0.9, 0.6, 0.5, 1.0]}
    for task, values in results.items():
        for seed, value in enumerate(values):
            make_run(tmp_path, seed, [value], task=task)
    make_run(tmp_path, 4, [1.0, 1.0], task="cube-v0")  # longer, but alone
    make_run(tmp_path, 0, [1.0], task="maze-v0", algorithm="fql")
    compared = compare(read_runs(find_runs([tmp_path])))
    whole, part = compared.over_tasks
    assert (whole.task, whole.label, whole.steps) == ("all 2 tasks", "deflow", 100)
    means = np.mean(list(results.values()), axis=0)
    interval = stats.t.interval(0.95, 3, means.mean(), stats.sem(means))
    assert whole.mean == pytest.approx((means.mean(), *interval))
    assert whole.iqm.value == pytest.approx(iqm(list(results.values())))
    random, drawn = np.random.default_rng(2), []
    for values in results.values():
        drawn.append(np.array(values)[random.integers(4, size=(20_000, 4))])
    quantiles = np.quantile(np.sort(np.hstack(drawn), axis=1)[:, 2:6].mean(axis=1), [0.025, 0.975])
    assert whole.iqm[1:] == pytest.approx(quantiles, abs=0.03)
    assert (part.task, part.label, part.steps) == ("1 of 2 tasks", "fql", 100)
    assert [line.task for line in compared.lines] == ["cube-v0", "cube-v0", "maze-v0", "maze-v0"]
    console = rich.console.Console(width=110, record=True, file=io.StringIO())
    console.print(compared.table())
    shown = [line.split() for line in console.export_text().splitlines()]
    titles = [" ".join(words) for words in shown if words[-1:] in (["cube-v0"], ["maze-v0"], ["tasks"])]
    assert titles == ["cube-v0", "maze-v0", "all 2 tasks", "1 of 2 tasks"]


def test_a_mean_over_tasks_has_one_length(tmp_path):
    lengths = {"cube-v0": (1, 2), "maze-v0": (1, 2), "puzzle-v0": (1, 3)}
    for task, counts in lengths.items():
        for count in counts:
            make_run(tmp_path, 0, [0.1 * count] * count, task=task)
    over = compare(read_runs(find_runs([tmp_path]))).over_tasks
    assert [(line.task, line.steps, line.mean.value) for line in over] == [
        ("all 3 tasks", 100, pytest.approx(0.1)),
        ("2 of 3 tasks", 200, pytest.approx(0.2)),
    ]


def test_tasks_of_different_seeds_have_a_mean_without_an_interval(tmp_path):
    for task, seeds in {"cube-v0": (0, 1), "maze-v0": (1, 2, 3)}.items():
        for seed in seeds:
            make_run(tmp_path, seed, [0.1 * seed], task=task)
    comparison = compare(read_runs(find_runs([tmp_path])))
    (line,) = comparison.over_tasks
    assert line.mean.value == pytest.approx((0.05 + 0.2) / 2)
    assert math.isnan(line.mean.low)
    assert comparison.notes == (
        "deflow over all 2 tasks: no interval, since its tasks do not have the same seeds, each once.",
    )


# --- folders


def test_runs_are_found_below_a_folder_and_once(tmp_path):
    paths = [make_run(tmp_path, seed, [0.5]) for seed in range(2)]
    assert sorted(find_runs([tmp_path, paths[0], tmp_path / "cube-v0"])) == sorted(paths)


def test_what_is_no_run_is_said_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match="There is no run in it or below it; give run directories"):
        find_runs([tmp_path / "empty"])
    with pytest.raises(ReportError, match="nowhere: There is no such folder; give"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ReportError, match=r"is not a run \(config\.json"):
        read_runs(find_runs([tmp_path]))


# --- picture and recipe


def test_picture_of_many_lines_and_tasks(tmp_path):
    for number in range(9):
        for task in ("cube-v0", "maze-v0", "puzzle-v0"):
            make_run(tmp_path, 0, [0.1, 0.1 * number], task=task, algorithm=f"name{number}")
    make_run(tmp_path, 1, [0.1], algorithm="name3", online_from=100)
    picture = comparison_figure(compare(read_runs(find_runs([tmp_path]))), tmp_path / "report.png")
    assert picture.stat().st_size > 20_000
    with pytest.raises(ReportError, match="Cannot write"):
        comparison_figure(compare(read_runs(find_runs([tmp_path]))), tmp_path / "nowhere" / "report.png")


def test_picture_of_runs_that_were_evaluated_once(tmp_path, monkeypatch):
    """A dot for each seed instead of curves of one point; a mean over tasks has one for each seed's mean."""
    drawn = {}

    def look(figure, path):
        for axes in figure.axes:
            names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
            dots = [line for line in axes.lines if line.get_marker() == "o"]
            drawn[axes.get_title(loc="left")] = {
                (names[line.get_ydata()[0]], tuple(np.round(line.get_xdata(), 3))) for line in dots
            }
        return save(figure, path)

    monkeypatch.setattr(outcomes_figure, "save", look)
    for seed in (0, 1):
        for task in ("cube-v0", "maze-v0"):
            make_run(tmp_path, seed, [0.4 + 0.2 * seed + 0.1 * (task == "maze-v0")], task=task)
    make_run(tmp_path, 0, [0.1], algorithm="fql")
    picture = comparison_figure(compare(read_runs(find_runs([tmp_path]))), tmp_path / "report.png")
    assert picture.stat().st_size > 10_000
    assert drawn == {
        "cube-v0": {("deflow", (0.4, 0.6)), ("fql", (0.1,))},
        "maze-v0": {("deflow", (0.5, 0.7))},
        "all 2 tasks": {("deflow", (0.45, 0.65))},
    }
    drawn.clear()
    for seed in (2, 3):
        make_run(tmp_path, seed, [0.1 * seed], task="$\\foo_v0$")
    comparison_figure(compare(read_runs(find_runs([tmp_path]))), tmp_path / "report.png")
    assert drawn["$\\foo_v0$"] == {("deflow", (0.2, 0.3))}
    assert drawn["all 3 tasks"] == set()  # whose tasks have not the same seeds
    make_run(tmp_path, 0, [0.1, 0.2], algorithm="ifql")  # which has a curve
    drawn.clear()
    comparison_figure(compare(read_runs(find_runs([tmp_path]))), tmp_path / "report.png")
    assert not drawn


@pytest.mark.parametrize(("width", "intervals"), [(70, 1), (110, 0)])
def test_a_table_has_all_its_columns_in_little_space(tmp_path, width, intervals):
    for seed in range(2):
        for task in ("cube-v0", "maze-v0"):
            make_run(tmp_path, seed, [0.2 + 0.1 * seed], task=task)
        make_run(tmp_path, seed, [0.2], algorithm="one-of-a-long-name")
    console = rich.console.Console(width=width, record=True, file=io.StringIO())
    console.print(compare(read_runs(find_runs([tmp_path]))).table())
    shown = console.export_text()
    table = shown[: shown.index("Brackets")].splitlines()
    assert max(map(len, table)) <= width
    assert "…" not in shown
    (head,) = [line for line in table if line.startswith("algorithm")]
    ends = head.index("return") + len("return")
    values = [line.rstrip() for line in table if re.search(r"-99\.\d+ *$", line)]
    assert len(values) >= 3
    assert {len(line) for line in values} == {ends}  # aligned over the tasks
    assert any(line.lstrip().startswith("[") for line in table) == bool(intervals)


def test_a_length_has_one_name_and_colour_on_all_tasks(tmp_path):
    """Of the flow there is a shorter one, on one task alone."""
    for task, lengths in {"cube-v0": (1, 2), "maze-v0": (2,)}.items():
        for length in lengths:
            make_run(tmp_path, 0, [0.5] * length, task=task, algorithm="flow-bc")
        make_run(tmp_path, 0, [0.5] * length, task=task)
    found = compare(read_runs(find_runs([tmp_path])))
    assert {found.name_of(line) for line in found.lines} == {"flow-bc, 100 steps", "flow-bc, 200 steps", "deflow"}


def recipe(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["recipes/report.py", *map(str, arguments)])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
    monkeypatch.setenv("COLUMNS", "120")
    runpy.run_path(str(ROOT / "recipes/report.py"), run_name="__main__")


def test_recipe(tmp_path, monkeypatch, capsys):
    for seed in range(2):
        make_run(tmp_path / "runs", seed, [0.2, 0.4 + 0.2 * seed])
    recipe([tmp_path / "runs", "--output", tmp_path / "out"], monkeypatch)
    said = capsys.readouterr().out
    assert "cube-v0" in said
    assert "0.50 [0.00, 1.00]" in said
    assert f"Table: {tmp_path}/out/report.md" in said
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| cube-v0 | deflow | 2 | 200 | 0.50 [0.00, 1.00] |" in page
    assert f"python recipes/report.py {tmp_path}/runs --output {tmp_path}/out" in page
    assert "/seed1-1` | c0+ |" in page
    assert (tmp_path / "out" / "report.png").stat().st_size > 10_000


def test_recipe_refuses_in_one_sentence(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        recipe([tmp_path], monkeypatch)
    assert "There is no run in it or below it" in capsys.readouterr().err


def test_runs_without_success_are_compared_by_return(tmp_path):
    for seed, values in enumerate(([1.0, 5.0], [2.0, 7.0])):
        path = make_run(tmp_path, seed, values)
        rows = (path / "eval.csv").read_text().splitlines()
        (path / "eval.csv").write_text(
            "\n".join(
                [rows[0], *(f"{step},nan,{value}" for step, _, value in (row.split(",") for row in rows[1:])), ""]
            )
        )
    comparison = compare(read_runs(find_runs([tmp_path])))
    assert comparison.metric == "evaluation/episode.return"
    assert comparison.notes[0] == "No environment reports success: compared by return."
    assert comparison.lines[0].mean.value == pytest.approx(np.mean([5.0, 7.0]) - 100)
    with pytest.raises(
        ReportError, match=r"No run has a value of evaluation/success: there are evaluation/episode.return"
    ):
        compare(read_runs(find_runs([tmp_path])), "evaluation/success")


# --- flows that were learned first


def test_flows_that_were_learned_first_are_lines_of_their_own_and_sharing_one_is_said(tmp_path):
    def staged(seed, success, runs, own, proposals=16):
        options = {"seeds": [3, 4], "proposals": proposals, "field_steps": 60}
        make_run(tmp_path, seed, [success], behaviour={"runs": runs, "own": own}, options=options)

    for seed in (0, 1):
        make_run(tmp_path, seed, [0.4], options={"proposals": 0})
    for seed in (3, 4):
        staged(seed, 0.8, ["bc3", "bc4"], own=True)
        staged(seed, 0.6, ["bc"], own=False, proposals=4)
    comparison = compare(read_runs(find_runs([tmp_path])))
    assert {line.label: len(line.runs) for line in comparison.lines} == {
        "deflow (proposals 16)": 2,
        "deflow (proposals 4)": 2,
        "deflow (flow joint)": 2,
    }
    assert comparison.notes == (
        "Seeds 3 and 4 of deflow on cube-v0 share the flow of bc: their interval does not include how flows differ.",
    )
    assert [run.behaviour for line in comparison.lines for run in line.runs] == ["bc3", "bc4", "bc", "bc", None, None]


def test_a_table_of_seeds_says_that_they_share_a_flow(tmp_path):
    options, behaviour = {"seeds": [0, 1]}, {"runs": ["bc"], "own": False}
    paths = [make_run(tmp_path, seed, [0.5], behaviour=behaviour, options=options) for seed in (0, 1)]
    assert "Seeds 0 and 1 of deflow on cube-v0 share the flow of bc" in results_markdown(paths)
    alone = [make_run(tmp_path / "other", seed, [0.5]) for seed in (0, 1)]
    assert "share" not in results_markdown(alone)
