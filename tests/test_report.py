"""Reports: statistics against hand-worked values, tables and pictures from real run directories."""

import io
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from deflow.report import (
    ReportError,
    interquartile_mean,
    learning_curve,
    mean,
    result_rows,
    results_markdown,
    results_table,
)
from deflow.report.curves import MOST_POINTS, evaluation_curve, training_curve
from deflow.report.files import read_run, read_runs
from deflow.runs import Run

# --- statistics


def test_mean_and_its_interval():
    # s = 1, t(2) at 97.5% = 4.302653 (any table), 4.302653 / sqrt(3) = 2.484138
    assert mean([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.0 - 2.484138, 2.0 + 2.484138), abs=1e-6)
    # two values a and b: half = 12.706205 * |a - b| / 2
    assert mean([0.4, 0.6]) == pytest.approx((0.5, 0.5 - 1.2706205, 0.5 + 1.2706205), abs=1e-6)
    # t(2) at 95% = 2.919986
    assert mean([1.0, 2.0, 3.0], confidence=0.9).high == pytest.approx(2.0 + 2.919986 / math.sqrt(3), abs=1e-6)


def test_mean_of_too_few():
    assert mean([0.5]) == pytest.approx((0.5, math.nan, math.nan), nan_ok=True)
    assert mean([]) == pytest.approx((math.nan,) * 3, nan_ok=True)
    assert math.isnan(mean([0.5, math.nan]).value)


def test_interquartile_mean():
    assert interquartile_mean([7, 0, 6, 1, 5, 2, 4, 3]).value == 3.5  # of 2, 3, 4, 5
    assert interquartile_mean([0.0, 10.0, 20.0, 1000.0]).value == 15.0
    assert interquartile_mean([[0, 10], [20, 1000]]).value == 15.0
    assert interquartile_mean([0.5]) == pytest.approx((0.5, math.nan, math.nan), nan_ok=True)
    assert math.isnan(interquartile_mean([]).value)


def test_bootstrap_against_all_resamples():
    values = [0.0, 1.0, 2.0, 10.0]
    every = [np.mean(sorted(drawn)[1:3]) for drawn in itertools.product(values, repeat=4)]
    expected = np.quantile(every, [0.025, 0.975])
    found = interquartile_mean(values, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found == interquartile_mean(values, resamples=20_000)


def test_bootstrap_draws_within_each_task():
    # Seeds agree within each task, so drawing them again changes nothing; drawn across tasks it would.
    assert interquartile_mean([[0.0] * 4, [1.0] * 4]) == (0.5, 0.5, 0.5)


# --- runs to report on


def make_run(folder, seed, success=(0.0, 0.5, 0.6), algorithm="deflow", every=100, updates=50, skip=()):
    run = Run.create(folder, environment="cube-v0", algorithm=algorithm, seed=seed, config={})
    for step in range(1, updates + 1):
        row = {"critic_loss": 0.1, "flow_loss": 1 / step, "size": 1e-3 * step, "bound": 0.01, "multiplier": 2.0}
        run.log(4 * step, {f"training/{name}": value for name, value in row.items() if name not in skip})
    for number, value in enumerate(success):
        row = {"success": value, "success.low": value - 0.1, "success.high": value + 0.1}
        row |= {"episode.return": -100 + value, "episode.length": 200 - 10 * value}
        run.log(every * number, {f"evaluation/{name}": number for name, number in row.items()})
    return run.path


# --- files


def test_reads_what_a_run_wrote(tmp_path):
    path = make_run(tmp_path, 4)
    run, written = read_run(path), Run.open(path)
    assert (run.environment, run.algorithm, run.seed, run.steps) == ("cube-v0", "deflow", 4, 200)
    for mine, theirs in ((run.train, written.read("train")), (run.evaluation, written.read("eval"))):
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_unfinished_row_is_not_read(tmp_path):
    path = make_run(tmp_path, 0)
    with open(path / "eval.csv", "a") as file:
        file.write("300,0.")
    assert read_run(path).evaluation["step"].tolist() == [0, 100, 200]


def test_what_is_no_run(tmp_path):
    with pytest.raises(ReportError, match=r"is not a run \(config\.json"):
        result_rows([tmp_path])
    with pytest.raises(ReportError, match="at least one run"):
        results_table([])
    path = make_run(tmp_path, 0)
    (path / "eval.csv").write_text("step,a\n1,2,3\n")
    with pytest.raises(ReportError, match=r"eval\.csv cannot be read"):
        read_run(path)


# --- curves


def test_curve_over_seeds_uses_the_steps_all_have(tmp_path):
    runs = read_runs([make_run(tmp_path, 0, (0.0, 0.4)), make_run(tmp_path, 1, (0.2, 0.6, 0.9))])
    curve = evaluation_curve(runs, "evaluation/success")
    assert curve.steps.tolist() == [0, 100]
    assert curve.mean.tolist() == pytest.approx([0.1, 0.5])
    assert (curve.low[1], curve.high[1]) == pytest.approx(mean([0.4, 0.6])[1:])
    assert [len(steps) for steps, _ in curve.seeds] == [2, 3]


def test_curve_of_one_run_has_its_own_interval(tmp_path):
    path = make_run(tmp_path, 0, (0.3, math.nan, 0.5))
    Run.open(path).log(200, {"evaluation/success": 0.8, "evaluation/success.low": 0.7})  # continued and evaluated again
    curve = evaluation_curve([read_run(path)], "evaluation/success")
    assert curve.steps.tolist() == [0, 200]
    assert curve.mean.tolist() == [0.3, 0.8]
    assert curve.low.tolist() == pytest.approx([0.2, 0.7])
    assert curve.high.tolist() == pytest.approx([0.4, math.nan], nan_ok=True)


def test_long_curves_are_averaged_in_groups(tmp_path):
    runs = read_runs([make_run(tmp_path, seed, updates=1000) for seed in (0, 1)])
    curve = training_curve(runs, "training/size")
    assert len(curve.steps) <= MOST_POINTS
    assert len(curve.steps) > MOST_POINTS / 2
    np.testing.assert_allclose(curve.mean, 1e-3 * curve.steps / 4, rtol=0.02, atol=3e-3)


def test_no_curve_without_values(tmp_path):
    run = read_run(make_run(tmp_path, 0, (math.nan, math.nan), skip=("size",)))
    assert evaluation_curve([run], "evaluation/success") is None
    assert training_curve([run], "training/size") is None


# --- table


def test_rows_and_mean(tmp_path):
    rows = result_rows([make_run(tmp_path, 1, (0.0, 0.6)), make_run(tmp_path, 0, (0.0, 0.4))])
    assert [row.seed for row in rows] == ["0", "1", "mean of 2"]
    assert [row.is_mean for row in rows] == [False, False, True]
    assert rows[0].success == pytest.approx((0.4, 0.3, 0.5))
    assert rows[0].returns.value == pytest.approx(-99.6)
    assert rows[0].length == pytest.approx(196)
    assert rows[2].success == mean([0.4, 0.6])
    assert rows[2].updates == 200
    # t with two seeds reaches beyond what a rate can be: the text does not
    assert rows[2].cells()[4] == "0.50 [0.00, 1.00]"


def test_table_texts(tmp_path):
    paths = [make_run(tmp_path, seed, (0.0, 0.4 + 0.1 * seed)) for seed in (0, 1)]
    console = rich.console.Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(paths))
    text = console.export_text()
    assert "deflow on cube-v0" in text
    assert "0.40 [0.30, 0.50]" in text
    assert "mean of 2" in text
    assert max(map(len, text.splitlines())) <= 80
    lines = results_markdown(paths).splitlines()
    assert lines[2].startswith("| cube-v0 | deflow | 0 | 200 | 0.40 [0.30, 0.50] |")


def test_several_algorithms_have_a_mean_each(tmp_path):
    paths = [make_run(tmp_path, seed, algorithm=name) for seed in (0, 1) for name in ("fql", "deflow")]
    rows = result_rows([*paths, make_run(tmp_path, 0, algorithm="bc")])
    assert [(row.algorithm, row.seed) for row in rows] == [
        ("bc", "0"),
        ("deflow", "0"),
        ("deflow", "1"),
        ("deflow", "mean of 2"),
        ("fql", "0"),
        ("fql", "1"),
        ("fql", "mean of 2"),
    ]


def test_a_run_that_was_never_evaluated(tmp_path):
    assert result_rows([make_run(tmp_path, 0, ())])[0].cells()[3:] == ("200", "", "", "")


# --- figure


def axes_labels(monkeypatch, paths, file):
    """Draw, and give the labels of the y axes with the number of panels."""
    from matplotlib.figure import Figure

    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), savefig(figure, *a, **k)))
    assert learning_curve(paths, file) == file
    assert file.read_bytes().startswith(b"\x89PNG")
    return [axes.get_ylabel() for axes in drawn[0].axes], drawn[0]


def test_picture_of_several_seeds(tmp_path, monkeypatch):
    paths = [make_run(tmp_path, seed, (0.0, 0.4 + 0.1 * seed)) for seed in (0, 1, 2)]
    labels, figure = axes_labels(monkeypatch, paths, tmp_path / "report.png")
    assert labels == ["success rate", "units of the trust region", "value per unit of size", "batch mean"]
    assert "cube-v0" in figure.get_suptitle()
    assert "deflow, seeds 0, 1, 2" in figure.get_suptitle()
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[-1].get_ydata(), [0.0, 0.5])
    assert len(lines) == 4
    assert {axes.get_xlabel() for axes in figure.axes} == {"gradient updates"}
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log", "log", "log"]


@pytest.mark.parametrize(
    ("success", "skip", "expected"),
    [
        ((math.nan, math.nan), (), "return (undiscounted)"),
        ((0.5,), ("size", "bound", "multiplier"), "success rate"),
        ((), ("multiplier",), "units of the trust region"),
        ((0.1, 0.2), ("size", "bound", "multiplier", "critic_loss", "flow_loss"), "success rate"),
    ],
)
def test_panels_without_data_are_left_out(tmp_path, monkeypatch, success, skip, expected):
    path = make_run(tmp_path, 0, success, skip=skip)
    if math.isnan(sum(success)):
        Run.open(path).log(300, {"evaluation/success": math.nan, "evaluation/episode.return": -5.0})
    labels, _ = axes_labels(monkeypatch, [path], tmp_path / "report.png")
    assert labels[0] == expected
    lost = {"size": "units of the trust region", "multiplier": "value per unit of size", "critic_loss": "batch mean"}
    assert not {lost[name] for name in skip if name in lost} & set(labels)


def test_pictures_that_cannot_be_drawn(tmp_path):
    paths = [make_run(tmp_path, 0, algorithm=name) for name in ("fql", "deflow")]
    with pytest.raises(ReportError, match=r"got deflow on cube-v0; fql on cube-v0; draw one"):
        learning_curve(paths, tmp_path / "report.png")
    with pytest.raises(ReportError, match="Cannot write"):
        learning_curve(paths[:1], tmp_path / "nowhere" / "report.png")
    empty = Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={}).path
    with pytest.raises(ReportError, match="no metrics yet"):
        learning_curve([empty], tmp_path / "report.png")


def test_drawing_needs_no_display_and_no_pyplot(tmp_path):
    program = (
        "import sys; from deflow.report import learning_curve; learning_curve(sys.argv[1:2], sys.argv[2]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(make_run(tmp_path, 0)), str(tmp_path / "report.png")]
    answer = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
