"""Reports: statistics against hand-worked values, tables and pictures from real run directories."""

import io
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from deflow.errors import ReportError
from deflow.report import interquartile_mean, learning_curve, mean, result_rows, results_markdown, results_table
from deflow.report.curves import MOST_POINTS, evaluation_curve, training_curve
from deflow.report.finding import read_runs
from deflow.report.reading import read_run
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
    assert interquartile_mean([[0.2, 0.6], [0.5]])[1:] == pytest.approx((math.nan, math.nan), nan_ok=True)
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


def make_two_phases(folder, seed, switch=400, online=100, success=(0.2, 0.5, 0.6, 0.9), every=200, frozen=False):
    """Rows each 4 steps, `online` of them online; in every second of those no episode ended."""
    run = Run.create(folder, environment="cube-v0", algorithm="deflow", seed=seed, config={"online_from": switch})
    for row, step in enumerate(range(4, switch + 4 * online + 1, 4)):
        metrics = {"training/critic_loss": 0.1, "training/size": 0.02 if step > switch else 0.01}
        metrics |= {} if frozen and step > switch else {"training/flow_loss": 0.3}
        if step > switch and (row + seed) % 2:
            metrics |= {"exploration/success": 0.25 + seed / 4, "exploration/episode.return": -50.0}
        run.log(step, metrics)
    for number, value in enumerate(success, 1):
        run.log(every * number, {f"evaluation/{name}": value for name in ("success", "episode.return")})
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


def test_knows_when_training_went_online(tmp_path):
    assert read_run(make_run(tmp_path, 0)).online_from is None
    run = read_run(make_two_phases(tmp_path, 0))
    assert (run.online_from, run.steps) == (400, 800)


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


def test_no_group_of_points_lies_across_the_switch(tmp_path):
    # 150 rows offline and 101 online in 150 groups: the switch is inside a group of a grid that begins at 0.
    run = read_run(make_two_phases(tmp_path, 0, switch=601, online=101, frozen=True))
    curve = training_curve([run], "training/size", most=150)
    assert set(curve.mean.tolist()) == {0.01, 0.02}
    assert (curve.steps[curve.mean == 0.01] <= 601).all()
    assert (curve.steps[curve.mean == 0.02] > 601).all()
    assert 100 < len(curve.steps) <= 151
    assert training_curve([run], "training/flow_loss", most=50).steps.max() <= 601


def test_blank_rows_are_no_points(tmp_path):
    runs = read_runs([make_two_phases(tmp_path, seed) for seed in (0, 1)])
    assert training_curve(runs[:1], "exploration/success").steps.tolist() == list(range(408, 801, 8))
    # The two seeds never have a value in the same row, but in every group.
    curve = training_curve(runs, "exploration/success", most=10)
    assert curve.steps.tolist() == [420 + 40 * group for group in range(10)]
    assert curve.mean.tolist() == [0.375] * 10


def test_all_seeds_are_averaged_where_one_has_many_points(tmp_path):
    runs = read_runs([make_two_phases(tmp_path, 0, online=100), make_two_phases(tmp_path, 1, online=20)])
    assert [len(steps) for steps, _ in training_curve(runs, "exploration/success", most=20).seeds] == [20, 4]
    assert training_curve(runs, "exploration/success", most=20).steps.tolist() == [410, 430, 450, 470]


# --- table


def test_rows_and_mean(tmp_path):
    rows = result_rows([make_run(tmp_path, 1, (0.0, 0.6)), make_run(tmp_path, 0, (0.0, 0.4))])
    assert [row.seed for row in rows] == ["0", "1", "mean of 2"]
    assert [row.is_mean for row in rows] == [False, False, True]
    assert rows[0].success == pytest.approx((0.4, 0.3, 0.5))
    assert rows[0].returns.value == pytest.approx(-99.6)
    assert rows[0].length == pytest.approx(196)
    assert rows[2].success == mean([0.4, 0.6])
    assert rows[2].steps == 100  # that of the evaluation
    # t with two seeds reaches beyond what a rate can be: the text does not
    assert rows[2].cells()[5] == "0.50 [0.00, 1.00]"


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
    assert lines[2].startswith("| cube-v0 | deflow | 0 | 100 | 0.40 [0.30, 0.50] |")


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
    assert result_rows([make_run(tmp_path, 0, ())])[0].cells()[3:] == ("200", *[""] * 6)


def test_success_before_online_beside_the_last(tmp_path):
    paths = [make_two_phases(tmp_path, 0), make_two_phases(tmp_path, 1, success=(0.2, 0.7, 0.6, 0.8))]
    rows = result_rows(paths)
    assert [row.steps for row in rows] == [800] * 3
    assert [row.before_online.value for row in rows] == pytest.approx([0.5, 0.7, 0.6])
    assert [row.success.value for row in rows] == pytest.approx([0.9, 0.8, 0.85])
    assert rows[2].before_online == mean([0.5, 0.7])
    lines = results_markdown([*paths, make_run(tmp_path, 2, algorithm="bc")]).splitlines()
    assert lines[0] == "| task | algorithm | seed | steps | before online | success | return | length |"
    assert lines[2].startswith("| cube-v0 | bc | 2 | 200 |  | 0.60 [0.50, 0.70] |")
    assert lines[3].startswith("| cube-v0 | deflow | 0 | 800 | 0.50 | 0.90 |")
    assert lines[-1] == "Before online: success at the switch."


@pytest.mark.parametrize("success", [(), (0.2,), (0.2, math.nan, 0.5)])
def test_not_evaluated_at_the_switch(tmp_path, success):
    path = make_two_phases(tmp_path, 0, success=success)
    assert math.isnan(result_rows([path])[0].before_online.value)
    assert "before online" not in results_markdown([path])


def test_no_such_column_for_offline_runs(tmp_path):
    lines = results_markdown([make_run(tmp_path, 0)]).splitlines()
    assert lines[0] == "| task | algorithm | seed | steps | success | return | length |"
    assert "online" not in lines[-1]


def test_two_phases_of_a_million_steps_fit_a_terminal(tmp_path):
    paths = [make_two_phases(tmp_path, seed, success=()) for seed in (0, 1)]
    for path in paths:
        Run.open(path).log(400, {"evaluation/success": 0.5})
        limits = {"success": (0.9, 0.8, 1.0), "episode.return": (-108.5, -117.2, -100.1)}
        row = {
            f"evaluation/{name}{end}": value
            for name, values in limits.items()
            for end, value in zip(("", ".low", ".high"), values, strict=True)
        }
        Run.open(path).log(2_000_000, {**row, "evaluation/episode.length": 108.0})
    console = rich.console.Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(paths))
    text = console.export_text()
    assert "…" not in text
    assert "2,000,000    0.50  0.90 [0.80, 1.00]  -108.5 [-117.2, -100.1]     108" in text


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


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_picture_of_two_phases(tmp_path, monkeypatch, seeds):
    paths = [make_two_phases(tmp_path, seed, success=(0.9, 1.0, 1.0, 1.0), frozen=True) for seed in seeds]
    _, figure = axes_labels(monkeypatch, paths, tmp_path / "report.png")
    assert {axes.get_xlabel() for axes in figure.axes} == {"updates, then environment steps"}
    for axes in figure.axes:
        assert [400, 400] in [list(line.get_xdata()) for line in axes.get_lines()]
    main = figure.axes[0]
    lines = {line.get_label(): line for line in main.get_lines()}
    evaluated = lines["mean over episodes" if len(seeds) == 1 else "mean over 3 seeds"]
    assert evaluated.get_xdata().tolist() == [200, 400, 600, 800]
    exploration = lines["while training"]
    np.testing.assert_allclose(exploration.get_ydata(), 0.25 + np.mean(seeds) / 4)
    assert len(exploration.get_xdata()) > 10
    assert exploration.get_xdata().min() > 400
    assert exploration.get_linewidth() < evaluated.get_linewidth()
    assert exploration.get_zorder() < evaluated.get_zorder()
    flow = next(line for line in figure.axes[-1].get_lines() if line.get_label() == "flow")
    assert flow.get_xdata().max() == 400


def test_words_at_the_switch_overlap_nothing(tmp_path, monkeypatch):
    paths = [make_two_phases(tmp_path, seed, success=(0.9, 1.0, 1.0, 1.0)) for seed in (0, 1, 2)]
    _, figure = axes_labels(monkeypatch, paths, tmp_path / "report.png")
    main = figure.axes[0]
    texts = {text.get_text(): text for text in main.texts}
    assert texts.keys() == {"offline", "online", "1.00"}
    boxes = {name: text.get_window_extent() for name, text in texts.items()}
    switch, top = main.transData.transform((400, 1.0))
    assert boxes["offline"].x1 < switch < boxes["online"].x0
    assert min(boxes["offline"].y0, boxes["online"].y0) > top
    boxes |= {"legend": main.get_legend().get_window_extent()}
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    assert boxes["legend"].y0 >= main.get_window_extent().y1


@pytest.mark.parametrize("online", [0, 10])
def test_switch_is_marked_once_it_came(tmp_path, monkeypatch, online):
    path = make_two_phases(tmp_path, 0, online=online, success=(0.2, 0.5))
    _, figure = axes_labels(monkeypatch, [path], tmp_path / "report.png")
    assert ("online" in [text.get_text() for text in figure.axes[0].texts]) == (online > 0)
    assert (figure.axes[0].get_xlabel() == "gradient updates") == (online == 0)


def test_return_while_training_where_there_is_no_success(tmp_path, monkeypatch):
    path = make_two_phases(tmp_path, 0, success=())
    Run.open(path).log(800, {"evaluation/episode.return": -40.0})
    labels, figure = axes_labels(monkeypatch, [path], tmp_path / "report.png")
    assert labels[0] == "return (undiscounted)"
    exploration = next(line for line in figure.axes[0].get_lines() if line.get_label() == "while training")
    assert set(exploration.get_ydata()) == {-50.0}


def test_runs_that_went_online_at_different_steps(tmp_path):
    paths = [make_two_phases(tmp_path, 0), make_two_phases(tmp_path, 1, switch=440), make_run(tmp_path, 2)]
    with pytest.raises(ReportError, match=r"\(seed 0 at step 400; seed 1 at step 440; seed 2 never\); draw one"):
        learning_curve(paths, tmp_path / "report.png")


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
