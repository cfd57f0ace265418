"""Poor runs are stopped early by Ray Tune's ASHA: which, and when, by the published rule; and a sweep on a real Ray."""

import logging
import math
import re
import textwrap
import threading
import time

import numpy as np
import pytest
from in_process import recipe

import deflow
from deflow import cli, launchers
from deflow.errors import SweepError, UsageError
from deflow.launchers import Job, Record, Sweep
from deflow.launchers import competition as competitions
from deflow.launchers.competition import Competition, Rungs, _told_apart
from deflow.runs import Stopped
from deflow.runs.run import create_together

pytest.importorskip("ray")
pytest.importorskip("pandas")


# --- the rule


def by_hand(arrivals, *, length, first, factor):
    """Who is stopped at which step by asynchronous successive halving, in its stopping variant (Li et al. 2018,
    section 3; Ray Tune's documentation): a job's first result at or after the highest milestone that it has reached is
    added there, and must not be below the (1 - 1 / factor) quantile of those that were there before."""
    milestones = [first * factor**k for k in range(20) if first * factor**k <= length]
    there, stopped = {milestone: {} for milestone in milestones}, {}
    for name, step, score in arrivals:
        reached = [milestone for milestone in milestones if milestone <= step]
        if name in stopped or not reached or name in there[reached[-1]]:
            continue
        others = sorted(there[reached[-1]].values())
        there[reached[-1]][name] = score
        if others and step < length:
            place = (1 - 1 / factor) * (len(others) - 1)
            low, high = others[math.floor(place)], others[math.ceil(place)]
            if score < low + (high - low) * (place - math.floor(place)):
                stopped[name] = step
    return stopped


@pytest.mark.parametrize(("first", "factor"), [(100, 3), (100, 2), (250, 4), (5_000, 3)])
def test_tune_stops_whom_the_published_rule_stops(first, factor):
    generator = np.random.default_rng(first + factor)
    rungs, stopped, arrivals = Rungs(1_000, first, factor), {}, []
    steps = dict.fromkeys("abcdefghijkl", 0)
    while steps:
        name = generator.choice(list(steps))
        steps[name] += 50
        score = round(float(generator.normal(steps[name] / 1_000)), 2)
        arrivals.append((name, steps[name], score))
        if (needed := rungs.judge(name, steps[name], score)) is not None:
            assert score < float(needed) + 0.005
            stopped[name] = steps[name]
        if name in stopped or steps[name] == 1_000:
            del steps[name]
    assert stopped == by_hand(arrivals, length=1_000, first=first, factor=factor)
    assert bool(stopped) is (first < 1_000)


def test_numbers_are_told_apart():
    assert _told_apart(-8.951, -8.949) == ("-8.951", "-8.949")
    assert _told_apart(0.5, 0.75) == ("0.5", "0.75")
    assert _told_apart(1.0, 1.0) == ("1", "1")


def test_equal_scores_stop_nobody():
    rungs = Rungs(1_000, 0, 3.0)
    assert [rungs.judge(name, 100, 0.0) for name in "abcd"] == [None] * 4
    assert rungs.judge("e", 100, -0.1) == 0.0
    assert [rungs.judge("a", 1_000, score) for score in (0.5,)] == [None]
    assert rungs.judge("b", 1_000, 0.1) is None  # it has ended anyway


# --- which runs compete


def logged(sweep, job, *tables, steps=1_000, environment="lab/A-v0", column="evaluation/success", **config):
    """Runs of a job, one for each table of scores by step."""
    runs = create_together(
        sweep.place(job),
        environment=environment,
        algorithm="fql",
        seeds=range(len(tables)),
        config={"recipe": "offline", "options": {"steps": steps}, **config},
    )
    for run, table in zip(runs, tables, strict=True):
        for step, score in table.items():
            run.log(step, {column: score} if isinstance(score, float) else score)
    return runs


def made(folder, *names):
    sweep = Sweep.open(folder)
    sweep.write([Job(name, "offline", ()) for name in names])
    return sweep


@pytest.fixture(autouse=True)
def always_looking(monkeypatch):
    monkeypatch.setattr(competitions, "LOOK_EVERY", 0.0)


def stopped(competition, jobs):
    return {job.name: said for job, said in competition.poor(jobs).items()}


def test_new_rows_are_compared_within_a_task_and_a_length(tmp_path):
    sweep = made(tmp_path / "s", *"abcdef")
    competition = Competition(sweep)
    logged(sweep, "a", {100: 0.8})
    (bad,) = logged(sweep, "b", {50: 0.1, 100: 0.2})
    logged(sweep, "c", {100: 0.1}, environment="lab/B-v0")
    logged(sweep, "d", {100: 0.1}, steps=900)
    logged(sweep, "e", {200: 0.9})
    logged(sweep, "f", {99: 0.1})
    said = "its success of 0.2 at step 100 was below the 0.8 that it needed to go on."
    assert stopped(competition, sweep.jobs) == {"b": said}
    bad.log(150, {"evaluation/success": 0.0})
    assert stopped(competition, sweep.jobs) == {}  # it has been judged there
    bad.log(300, {"evaluation/success": 0.0})
    assert stopped(competition, sweep.jobs) == {}  # the first there


def test_the_last_evaluations_of_a_job_that_ended_count(tmp_path):
    sweep = made(tmp_path / "s", *"ab")
    competition = Competition(sweep)
    assert stopped(competition, sweep.jobs) == {}  # both run
    logged(sweep, "a", {100: 0.8, 900: 0.9, 1_000: 0.9})
    logged(sweep, "b", {100: 0.2})
    assert list(stopped(competition, sweep.jobs[1:])) == ["b"]


def test_a_job_that_others_need_is_not_judged(tmp_path):
    sweep = Sweep.open(tmp_path / "s")
    sweep.write([Job("flow", "offline", ()), *(Job(n, "offline", ("--behaviour", "{flow}")) for n in "ab")])
    competition = Competition(sweep)
    logged(sweep, "flow", {100: 0.9})
    assert stopped(competition, sweep.jobs) == {}
    logged(sweep, "a", {100: 0.3})
    assert stopped(competition, sweep.jobs) == {}  # nor does it compete
    logged(sweep, "b", {100: 0.2})
    logged(sweep, "flow", {100: 0.0})
    assert list(stopped(competition, sweep.jobs)) == ["b"]


def test_a_score_is_the_mean_over_seeds_once_all_have_it(tmp_path):
    sweep = made(tmp_path / "s", *"abcd")
    competition = Competition(sweep)
    logged(sweep, "a", {100: 0.5})
    _, second = logged(sweep, "b", {100: 0.2}, {})
    assert stopped(competition, sweep.jobs) == {}
    second.log(100, {"evaluation/success": 0.7})
    assert stopped(competition, sweep.jobs)["b"].startswith("its success of 0.45 at step 100")
    _, fourth = logged(sweep, "c", {100: 0.6}, {})
    Stopped(90, "not finite", None).write(fourth.path)
    logged(sweep, "d", {100: 0.1}, {100: math.nan})  # an evaluation that failed
    assert list(stopped(competition, sweep.jobs)) == ["d"]


def test_scores_may_be_chosen_and_estimates_compete_on_the_same_data(tmp_path):
    both = {"evaluation/success": 0.5, "evaluation/episode.return": 3.0}
    worse = {"evaluation/success": 0.6, "evaluation/episode.return": 2.0}
    for score, poor in (("", []), ("return", ["b"]), ("value", [])):
        sweep = made(tmp_path / f"s{score}", *"ab")
        competition = Competition(sweep, score=score)
        logged(sweep, "a", {100: both})
        logged(sweep, "b", {100: worse})
        assert list(stopped(competition, sweep.jobs)) == poor
    sweep = made(tmp_path / "estimated", *"abc")
    competition = Competition(sweep)
    for name, value, discount in (("a", 5.0, 0.99), ("b", 4.0, 0.9), ("c", 4.0, 0.99)):
        logged(sweep, name, {100: value}, column="estimate/value", agent={"discount": discount})
    assert stopped(competition, sweep.jobs) == {
        "c": "its value of 4 at step 100 was below the 5 that it needed to go on."
    }


def test_what_was_evaluated_before_counts_and_decides_nothing(tmp_path):
    sweep = made(tmp_path / "s", *"abc")
    logged(sweep, "b", {100: 0.5, 1_000: 0.9})
    (worse,) = logged(sweep, "c", {100: 0.1})
    Record("stopped early").write(sweep.place("c"))
    competition = Competition(sweep)
    worse.log(200, {"evaluation/success": 0.1})
    (new,) = logged(sweep, "a", {100: 0.37})  # two thirds between 0.1 and 0.5 is 0.367
    assert stopped(competition, sweep.jobs) == {}
    new.log(300, {"evaluation/success": 0.4})
    worse.log(300, {"evaluation/success": 0.3})
    assert list(stopped(competition, sweep.jobs)) == ["c"]


# --- asking for it


def test_a_launcher_that_cannot_says_so():
    assert isinstance(cli.launcher_of("ray", ["grace=1e3"], early_stop=True), launchers.RayAsha)
    assert cli.launcher_of("ray-asha", ["cpus=2"], early_stop=True) == launchers.RayAsha(cpus=2)
    assert isinstance(cli.launcher_of("ray", []), launchers.Ray)
    for name in ("local", "slurm"):
        with pytest.raises(UsageError, match=f"the launcher {name} stops no run early: give --launcher ray or"):
            cli.launcher_of(name, [], early_stop=True)
    with pytest.raises(UsageError, match="'grace'"):
        cli.launcher_of("ray", ["grace=5"])
    with pytest.raises(SweepError, match="reduction more than 1, got 0 and 1"):
        cli.launcher_of("ray", ["reduction=1"], early_stop=True)


# --- on Ray

ENVIRONMENT = """
import time
from pathlib import Path

import gymnasium
import numpy as np


class Meet(gymnasium.Env):
    \"\"\"The reward is how near an action is to 0.8. Whoever is far must wait, while a file is there; after its first
    episode everybody, while another one is.\"\"\"

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    poor = played = False

    def waits(self):
        return self.poor and Path({hold!r}).exists() or self.played and Path({pause!r}).exists()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        end = time.monotonic() + 300
        while self.waits() and time.monotonic() < end:
            time.sleep(0.05)
        return np.zeros(2, np.float32), {{}}

    def step(self, action):
        distance = float(abs(action[0] - 0.8))
        self.played = True
        self.poor = self.poor or distance > 0.7
        return np.zeros(2, np.float32), -distance, False, True, {{}}


gymnasium.register("lab/Meet-v0", entry_point=Meet)
"""


@pytest.fixture(scope="module")
def ray():
    """One Ray for all, in which one job runs at a time."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def sweep_command(ray, tmp_path_factory):
    folder = tmp_path_factory.mktemp("early")
    (folder / "meet.py").write_text(
        textwrap.dedent(ENVIRONMENT.format(hold=str(folder / "hold"), pause=str(folder / "pause")))
    )
    rows = 60
    ends = np.arange(rows) % 5 == 4
    actions = np.random.default_rng(0).uniform(0.79, 0.81, (rows, 1)).astype(np.float32)
    observations = np.random.default_rng(1).uniform(-0.1, 0.1, (rows, 2)).astype(np.float32)
    np.savez(
        folder / "data.npz",
        observations=observations,
        next_observations=np.roll(observations, -1, axis=0),
        actions=actions,
        rewards=np.zeros(rows),
        terminations=np.zeros(rows, bool),
        truncations=ends,
    )
    (folder / "hold").write_text("")
    common = [
        *("flow-bc", "--env", "lab/Meet-v0", "--data", folder / "data.npz", "--import", folder / "meet.py"),
        *("--steps", 400, "--eval-every", 100, "--log-every", 100, "--save-every", 1_000, "--episodes", 1),
        *("--batch-size", 16, "--workers", 1, "--field.width", 16, "--field.depth", 1),
    ]
    grid = ["--over", "learning-rate=0.03,1e-9", "--output-dir", folder / "s", "--launcher", "ray"]
    return folder, grid, ["--", *common]


def interrupted(folder):
    """The states of the jobs and whether the first has saved, after Ctrl-C while it trained."""
    sweep, interrupt, pause = Sweep.open(folder), threading.Event(), folder.parent / "pause"
    pause.write_text("")  # or it might be finished before it hears of it

    def press():
        end = time.monotonic() + 300
        while not ((runs := sweep.runs(GOOD)) and len(deflow.Run.open(runs[0]).read("eval")["step"])):
            assert time.monotonic() < end
            time.sleep(0.05)
        interrupt.set()

    thread = threading.Thread(target=press)
    thread.start()
    ended = {job.name for job, _ in launchers.RayAsha(memory=0.5).launch(sweep, sweep.jobs, interrupt)}
    thread.join()
    pause.unlink()
    return ended, [sweep.record(name).state for name in (GOOD, BAD)]


@pytest.fixture(scope="module")
def swept(sweep_command):
    folder, grid, common = sweep_command
    recipe("sweep", *grid, "--list-only", *common)
    assert interrupted(folder / "s") == ({GOOD, BAD}, ["interrupted", "to do"])
    return folder, recipe("sweep", *grid, "--early-stop", "--launch", "memory=0.5", *common)


GOOD, BAD = "learning-rate=0.03,seed=0", "learning-rate=1e-9,seed=0"


def rows(path):
    run = deflow.Run.open(path)
    return [
        {column: values for column, values in run.read(split).items() if "time" not in column}
        for split in ("train", "eval")
    ]


def test_a_poor_run_is_stopped_early(swept):
    folder, outcome = swept
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    sweep = Sweep.open(folder / "s")
    assert {job.name: sweep.record(job).state for job in sweep.jobs} == {GOOD: "finished", BAD: "stopped early"}
    (step,) = deflow.Run.open(sweep.runs(BAD)[0]).checkpoints.steps()
    assert 100 < step < 400
    said = sweep.record(BAD).said
    assert re.fullmatch(
        rf"At step {step}: its return of -[\d.]+ at step 100 was below the -[\d.]+ that it needed to go on\.", said
    )
    assert "by success, or else the return" in outcome.stdout
    assert f"1 of 2 runs finished, 1 stopped early.\n{BAD}: stopped early: {said}\n" in outcome.stdout
    assert "those that were stopped early go on" in outcome.stdout
    assert "Go on with:" not in outcome.stdout
    assert {path.name for path in (folder / "s").iterdir()} <= {"sweep.txt", ".sweep.lock", GOOD, BAD}
    assert "ray" not in outcome.stderr.lower()


def test_the_report_has_the_step_at_which_it_was_stopped(swept):
    folder, _ = swept
    comparison = deflow.report.compare(deflow.report.read_runs(deflow.report.find_runs([folder / "s"])))
    assert {line.steps for line in comparison.lines} == {100, 400}
    seen = recipe("watch", folder / "s", "--once").stdout
    assert "stopped early" in seen
    assert "Go on with" not in seen


def test_the_same_command_leaves_it_alone(swept, sweep_command):
    folder, grid, common = sweep_command
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("job.json")}
    outcome = recipe("sweep", *grid, "--early-stop", *common)
    assert outcome.returncode == 0, outcome.stderr
    assert "2 runs (1 finished, 1 stopped early)" in outcome.stdout
    assert "nothing is left to do" in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("job.json")} == before


def test_without_early_stop_it_goes_on_as_if_it_never_was(swept, sweep_command, tmp_path):
    folder, grid, common = sweep_command
    (folder / "hold").unlink()
    outcome = recipe("sweep", *grid, *common)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "2 of 2 runs finished.\n" in outcome.stdout
    sweep = Sweep.open(folder / "s")
    assert sweep.record(BAD).tries == 2
    (job,) = (job for job in sweep.jobs if job.name == BAD)
    assert recipe("offline", *job.arguments, "--output-dir", tmp_path).returncode == 0
    (whole,) = deflow.report.find_runs([tmp_path])
    np.testing.assert_equal(rows(*sweep.runs(BAD)), rows(whole))
