"""Archives of results: reports from them are those of the runs, and they name no place of the machine."""

import json
import os
import shutil

import pytest
from test_comparison import agent, make_run

from deflow.errors import ReportError
from deflow.report import compare, comparison_figure, find_runs, read_runs, write_archive
from deflow.report.archive import portable_command
from deflow.report.labels import facts_of


def described(path, **more):
    """A run that says where it lies and how it was made."""
    where = str(path / "..")
    command = (
        f"/opt/env/bin/python3 {where}/recipes/offline.py fql --seeds 1 --data-dir {where} --behaviour {where}/a/b/c"
    )
    file = path / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "command": command, "versions": {"jax": "1"}}))
    return path


@pytest.fixture
def runs(tmp_path):
    """Two algorithms, one of them in two settings, with a behaviour that two seeds share."""
    flow = str(tmp_path / "cube-v0" / "flow-bc" / "seed0-5")
    data = {"source": "collected", "rows": 10, "sha256": "abc", "path": str(tmp_path), "validation_path": str(tmp_path)}
    shared = {"behaviour": {"own": False, "runs": [flow]}, "data": data, "options": {"proposals": 8, "seeds": [1, 2]}}
    shared["options"]["output_dir"] = str(tmp_path)
    made = [make_run(tmp_path / "one", seed, [0.1, seed / 7], **shared) for seed in (1, 2)]
    made.append(make_run(tmp_path / "one", 1, [0.5], parts=agent(critic={"members": 10})))
    made.append(make_run(tmp_path / "one", 3, [0.25, float("nan")], algorithm="fql", online_from=100))
    return [described(path) for path in made]


def test_a_report_from_an_archive_is_that_of_the_runs(runs, tmp_path):
    of_runs = compare(read_runs(runs))
    files = write_archive(read_runs(runs), tmp_path / "results")
    assert all(file.stat().st_size < 4000 for file in files)
    kept = read_runs(find_runs([tmp_path / "results"]))
    of_archive = compare(kept)
    for one, other in zip(of_archive.lines, of_runs.lines, strict=True):
        assert (one.task, one.label, one.steps) == (other.task, other.label, other.steps)
        numbers = [(*line.mean, *line.iqm, line.returns) for line in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-5, nan_ok=True)
    assert [run.online_from for run in kept] == [run.online_from for run in read_runs(runs)]
    assert [run.commit for run in kept] == [run.commit for run in read_runs(runs)]
    assert any(
        "Seeds 1 and 2 of deflow on cube-v0 share the flow of cube-v0/flow-bc/seed0-5" in s for s in of_archive.notes
    )
    comparison_figure(of_archive, tmp_path / "picture.png")
    assert find_runs([files[0]]) == [files[0]]
    assert not write_archive(kept, tmp_path / "again"), "what is archived already stays where it is"


def test_an_archive_names_no_place_of_the_machine(runs, tmp_path):
    for file in write_archive(read_runs(runs), tmp_path / "results"):
        text = file.read_text()
        assert str(tmp_path) not in text
        assert "/opt" not in text
        assert '"versions": {"jax": "1"}' in text


def test_the_command_is_what_somebody_else_would_type():
    flags = "--data-dir /data --seeds 1 2 --behaviour /r/env/flow-bc/seed1"
    flags += " --data_dir /home/me --output-dir=/home/me --data /home/me/own.npz --env=Pendulum-v1"
    command = f"/usr/bin/python3.11 /home/me/deflow/recipes/offline.py fql {flags}"
    assert portable_command(command) == (
        "python recipes/offline.py fql --seeds 1 2 --behaviour env/flow-bc/seed1 --data own.npz --env=Pendulum-v1"
    )
    assert portable_command(f"/v/bin/python /v/bin/deflow offline fql {flags}").startswith("deflow offline fql --seeds")
    assert portable_command("/v/bin/python3 -m deflow report runs") == "python -m deflow report runs"


def test_what_is_damaged_or_too_new_is_refused(runs, tmp_path):
    (file, *_) = write_archive(read_runs(runs), tmp_path / "results")
    text = file.read_text()
    file.write_text(text.replace("version 1", "version 2"))
    with pytest.raises(ReportError, match="was written by a later version of deflow"):
        read_runs([file])
    file.write_text(text[: len(text) // 2])
    with pytest.raises(ReportError, match="is damaged"):
        read_runs([file])
    for damaged in (text.replace('"config": {', '"config": null, "x": {'), text.replace("\n1,", "\n1,,", 1), ""):
        file.write_text(damaged)
        with pytest.raises(ReportError, match="is damaged"):
            read_runs([file])
    file.write_bytes(text.encode() + b"\xff")
    with pytest.raises(ReportError, match="is damaged"):
        read_runs([file])
    with pytest.raises(ReportError, match="neither a run's folder nor an archive"):
        find_runs([__file__])
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other" / "y.csv")
    (tmp_path / "other" / "x.csv").write_text("step\n1\n")
    with pytest.raises(ReportError, match="There is no run in it"):
        find_runs([tmp_path / "other"])


def test_runs_with_other_settings_and_seeds_that_are_gone_are_not_lost(tmp_path):
    """Two commands in the same second, and a run whose folder was removed since it was archived."""
    made = [make_run(tmp_path / "a", 0, [0.9], learning_rate=1), make_run(tmp_path / "b", 0, [0.1], learning_rate=2)]
    assert made[0].name == made[1].name
    assert len(write_archive(read_runs(made), tmp_path / "results")) == 2
    assert [line.mean.value for line in compare(read_runs(find_runs([tmp_path / "results"]))).lines] == [0.9, 0.1]
    folder = tmp_path / "pair" / "cube-v0" / "deflow"
    pair = [make_run(tmp_path / "pair", seed, [0.5]).rename(folder / f"seed{seed}-now") for seed in (0, 1)]
    environment = (pair[0] / "environment.json").read_text()
    (pair[1] / "environment.json").write_text(environment)  # the same commit
    (file,) = write_archive(read_runs(pair), tmp_path / "kept")
    before = file.read_text()
    with pytest.raises(ReportError, match=r"has the seeds \[1\], too, whose runs were not given"):
        write_archive(read_runs(pair[:1]), tmp_path / "kept")
    assert file.read_text() == before
    twins = [make_run(tmp_path / "twins", 0, [0.5]).rename(tmp_path / "twins" / name) for name in ("a-now", "b-now")]
    with pytest.raises(ReportError, match="the same settings and time, and a seed in common"):
        write_archive(read_runs(twins), tmp_path / "kept")


def test_an_archive_knows_all_that_labels_tell_apart(tmp_path):
    changed = {
        "rewards": {"scale": 0.1, "shift": -1.0},
        "action_bounds": {"low": [-2.0], "high": [2.0], "origin": "data"},
        "spec": {"frame_stack": 3, "observation_shape": [4]},
        "environment": {"name": "cube-v0", "success_timing": "post", "arguments": {"size": 2}},
        "behaviour": {"own": True, "runs": ["/x/cube-v0/flow-bc/seed0-now"]},
        "options": {"proposals": 8, "field_steps": 9, "field_learning_rate": 0.1, "schedule": "cosine", "seeds": [0]},
    }
    runs = read_runs([make_run(tmp_path, 0, [0.5], **changed)])
    (archived,) = read_runs(write_archive(runs, tmp_path / "results"))
    assert facts_of(archived) == facts_of(runs[0])


# --- the same run twice


def test_a_run_and_its_archive_count_once(tmp_path):
    folder = tmp_path / "runs" / "seen_Reach-v0" / "deflow-best"
    for seed in (0, 1):
        path = make_run(tmp_path / "runs", seed, [1 / 3, seed / 7], task="seen/Reach-v0", algorithm="deflow-best")
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / f"seed{seed}-20260101-120000")
    write_archive(read_runs(find_runs([tmp_path / "runs"])), tmp_path / "results")
    for path in folder.iterdir():  # they went on since, and have a copy
        with (path / "eval.csv").open("a") as table:
            table.write("300,0.75,-25\n")
    shutil.copytree(tmp_path / "runs", tmp_path / "copies")
    given = [tmp_path / name for name in ("results", "runs", "copies")]
    comparison = compare(read_runs(find_runs(given)))
    (line,) = comparison.lines
    assert [(run.seed, run.path.is_dir()) for run in line.runs] == [(0, True), (1, True)]
    assert (line.steps, line.mean.value) == (300, 0.75)
    assert comparison.notes == (
        "Of the 6 runs given, 4 repeat others, as an archive does that of a run whose folder is given, too: each run "
        "counts once.",
    )
    of_archive = compare(read_runs(find_runs(given[:1])))
    assert not of_archive.notes
    assert [len(line.runs) for line in of_archive.lines] == [2]


@pytest.mark.parametrize(
    "other", [{"success": [0.1, 0.6]}, {"commit": "c1"}, {"learning_rate": 1}, {"time": "20260101-120001"}]
)
def test_other_runs_of_a_seed_are_no_copies(tmp_path, other):
    def run(folder, success=(0.1, 0.5), time="20260101-120000", **more):
        path = make_run(tmp_path / folder, 0, list(success), **more)
        return path.rename(path.parent / f"seed0-{time}")

    write_archive(read_runs([run("one")]), tmp_path / "results")
    found = read_runs(find_runs([tmp_path / "results"])) + read_runs([run("two", **other)])
    comparison = compare(found)
    assert sum(len(line.runs) for line in comparison.lines) == 2
    if "learning_rate" not in other:
        (note,) = comparison.notes
        assert note.startswith("Seed 0 of deflow on cube-v0 appears 2 times")


def test_runs_of_two_lengths_that_began_in_the_same_second_are_no_copies(tmp_path):
    """As a sweep begins them: neither has the other's evaluation."""
    paths = [make_run(tmp_path / name, 0, [0.5]) for name in ("short", "long")]
    table = paths[1] / "eval.csv"
    table.write_text(table.read_text().replace("\n100,", "\n900,"))
    comparison = compare(read_runs(paths))
    assert sorted(line.steps for line in comparison.lines) == [100, 900]
    assert not comparison.notes
    for number, (steps, success) in enumerate(
        ((100, [0.5]), (200, [0.5, 0.7]))
    ):  # nor if the longer one has the other's
        paths[number] = make_run(tmp_path / str(steps), 0, success, options={"steps": steps})
    assert sorted(line.steps for line in compare(read_runs(paths)).lines) == [100, 200]
