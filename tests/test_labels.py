"""Labels of compared runs: which differences are named, within a task and between tasks."""

import pytest
from test_comparison import agent, lines, make_run

from deflow import ALGORITHMS, agent_config, task_settings
from deflow.agent import describe_agent
from deflow.critics import FlowCriticConfig
from deflow.report import compare, find_runs, read_runs, write_archive


def test_settings_that_differ_have_lines_and_names_of_their_own(tmp_path):
    for seed in range(2):
        make_run(tmp_path, seed, [0.5])
    make_run(tmp_path, 2, [0.6], parts=agent(critic={"members": 10}))
    make_run(tmp_path, 3, [0.7], parts=agent(solver="heun", discount=0.9))
    assert [(line.label, len(line.runs)) for line in lines(tmp_path)] == [
        ("deflow (solver heun, discount 0.9)", 1),
        ("deflow (critic.members 10)", 1),
        ("deflow", 2),
    ]


def test_where_no_value_is_usual_each_is_named(tmp_path):
    make_run(tmp_path, 0, [0.5])
    make_run(tmp_path, 1, [0.6], parts=agent(solver="heun"))
    assert [line.label for line in lines(tmp_path)] == ["deflow (solver heun)", "deflow (solver euler)"]


def test_what_belongs_to_the_task_is_no_difference_between_tasks(tmp_path):
    """Published or tuned; the usual value of each task is left out."""
    make_run(tmp_path, 0, [0.5], data={"source": "official", "rows": 9})
    tuned = agent(trust_region={"bound": 0.02}, critic={"aggregation": "min"}, discount=0.995)
    maze = {"task": "maze-v0", "data": {"source": "official", "rows": 5}, "rewards": {"scale": 1.0, "shift": -1.0}}
    for seed in range(2):
        make_run(tmp_path, seed, [0.5], parts=tuned, **maze)
    assert [line.label for line in lines(tmp_path)] == ["deflow", "deflow"]
    make_run(tmp_path, 2, [0.4], parts=agent(**{**tuned, "trust_region": {"bound": 0.1}, "critic": {}}), **maze)
    comparison = compare(read_runs(find_runs([tmp_path])))
    assert [line.label for line in comparison.lines] == ["deflow", "deflow", "deflow (trust-region.bound 0.1)"]
    assert [line.task for line in comparison.over_tasks] == ["all 2 tasks", "1 of 2 tasks"]


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ("learning-rate", {"learning_rate": 1e-3}),
        ("schedule", {"options": {"schedule": "cosine", "proposals": 8, "batch_size": 256}}),
        ("batch-size", {"options": {"schedule": "constant", "proposals": 8, "batch_size": 512}}),
        ("proposals", {"options": {"schedule": "constant", "proposals": 4, "batch_size": 256}}),
        ("flow", {"behaviour": None}),
        ("critic.width", {"parts": agent(critic={"width": 256})}),
        ("critic.members", {"parts": agent(critic={"members": 10})}),
        ("n-step", {"parts": agent(n_step=3)}),
        ("chunk", {"parts": agent(chunk=5)}),
        ("solver", {"parts": agent(solver="heun")}),
        ("solver.steps", {"parts": agent(solver={"steps": 5})}),
        ("online-from", {"online_from": 50}),
    ],
)
def test_how_a_run_was_trained_is_a_difference_between_tasks_too(tmp_path, named, changes):
    usual = {
        "learning_rate": 3e-4,
        "options": {"schedule": "constant", "proposals": 8, "batch_size": 256},
        "behaviour": {"own": False, "runs": ["bc"]},
        "parts": agent(critic={"width": 512}, n_step=1, chunk=1),
    }
    if "parts" in changes:
        for name, part in usual["parts"].items():
            changes["parts"].setdefault(name, part)
        changes["parts"]["critic"]["fields"] = usual["parts"]["critic"]["fields"] | (
            changes["parts"]["critic"]["fields"] if named.startswith("critic") else {}
        )
        changes["parts"]["critic"]["fields"].setdefault("width", 512)
    make_run(tmp_path, 0, [0.5], **usual)
    make_run(tmp_path, 0, [0.5], task="maze-v0", **usual | changes)
    comparison = compare(read_runs(find_runs([tmp_path])))
    assert all(line.label.startswith(f"deflow ({named} ") for line in comparison.lines), comparison.lines
    assert {line.task for line in comparison.over_tasks} == {"1 of 2 tasks"}


TASKS = (
    *("antmaze-large-navigate-singletask-task1-v0", "antmaze-giant-navigate-singletask-task1-v0"),
    *(
        "cube-single-play-singletask-task1-v0",
        "scene-play-singletask-task1-v0",
        "visual-scene-play-singletask-task1-v0",
    ),
    *("puzzle-3x3-play-singletask-task4-v0", "pen-human-v1", "antmaze-umaze-v2", "own/Task-v0"),
)
"""Tasks of which each two have other settings; the last one has none that were published."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_published_settings_of_all_tasks_are_one_row(tmp_path, algorithm):
    """As its recipe would make them, also where the critic was chosen by hand."""
    for task in TASKS:
        settings = task_settings(task)
        for name, parts in ((algorithm, {}), (f"{algorithm}-categorical", {"critic": "categorical"})):
            config = agent_config(algorithm, settings=settings, **parts)
            batch = settings.flow_batch_size if isinstance(config.critic, FlowCriticConfig) else 256
            described, options = describe_agent(config), {"batch_size": batch}
            make_run(tmp_path, 0, [0.5], algorithm=name, task=task, parts=described, options=options)
    over = compare(read_runs(find_runs([tmp_path]))).over_tasks
    assert {(line.task, line.label) for line in over} == {
        (f"all {len(TASKS)} tasks", name) for name in (algorithm, f"{algorithm}-categorical")
    }


def test_a_label_means_the_same_on_every_task(tmp_path):
    """On each task another solver is the more frequent one."""
    for task, names in {"cube-v0": ["euler", "euler", "heun"], "maze-v0": ["heun", "heun", "euler", "euler"]}.items():
        for seed, name in enumerate(names):
            make_run(tmp_path, seed, [0.5 + 0.1 * (name == "heun")], task=task, parts=agent(solver=name))
    found = {
        (line.task, line.label, run.config["agent"]["solver"]["name"]) for line in lines(tmp_path) for run in line.runs
    }
    assert {(label, solver) for _, label, solver in found} == {("deflow", "euler"), ("deflow (solver heun)", "heun")}


def test_data_options_and_the_switch_count_as_settings(tmp_path):
    for seed in range(2):
        make_run(tmp_path, seed, [0.5], options={"batch_size": 256, "steps": 9}, data={"source": "official", "rows": 9})
    make_run(tmp_path, 2, [0.6], options={"batch_size": 512, "steps": 8}, data={"source": "official", "rows": 9})
    make_run(tmp_path, 3, [0.7], data={"source": "collected", "rows": 5, "sha256": "ab"}, online_from=50)
    assert [line.label for line in lines(tmp_path)] == [
        "deflow (online-from 50, data collected 5 ab)",
        "deflow (batch-size 512)",
        "deflow",
    ]


def test_other_rewards_and_other_columns_are_other_lines(tmp_path):
    data = {"source": "user", "rows": 9, "sha256": "abc", "columns": {"reward": "paid"}}
    make_run(tmp_path, 0, [0.5], data=data, rewards={"scale": 1.0, "shift": 0.0})
    make_run(tmp_path, 1, [0.6], data=data, rewards={"scale": 0.1, "shift": 0.0})
    make_run(tmp_path, 2, [0.7], data={**data, "columns": {}}, rewards={"scale": 1.0, "shift": 0.0})
    assert len(lines(tmp_path)) == 3


def test_flows_of_different_lengths_are_other_lines(tmp_path):
    """Also where a flow is another run's: runs that have it say how long it was trained."""
    options = {"seeds": [0, 1], "proposals": 8, "field_steps": 500}
    for task, lengths in {"cube-v0": [60, 120], "maze-v0": [120]}.items():
        for length in lengths:
            behaviour = {"own": False, "runs": ["bc0", "bc1"], "steps": [length, length]}
            for seed in (0, 1):
                make_run(tmp_path, seed, [0.001 * length], task=task, behaviour=behaviour, options=options)
    make_run(tmp_path, 1, [0.5], behaviour={"own": True, "runs": ["bc0", "bc1"]}, options=options)
    runs = read_runs(find_runs([tmp_path]))
    assert [(line.task, line.label, len(line.runs)) for line in compare(runs).lines] == [
        ("cube-v0", "deflow (field-steps 500)", 1),
        ("cube-v0", "deflow", 2),
        ("cube-v0", "deflow (field-steps 60)", 2),
        ("maze-v0", "deflow", 2),
    ]
    runs = write_archive(runs, tmp_path / "results")
    assert "deflow (field-steps 60)" in {line.label for line in compare(read_runs(runs)).lines}


def test_of_a_part_that_is_not_installed_here_what_is_named_like_a_setting_belongs_to_the_task(tmp_path):
    for task, changes in {
        "cube-v0": {"aggregation": "min", "width": 256},
        "maze-v0": {"aggregation": "mean", "width": 256},
        "puzzle-v0": {"aggregation": "mean", "width": 512},
    }.items():
        parts = agent(critic=changes)
        parts["critic"]["name"] = "somebodys"
        make_run(tmp_path, 0, [0.5], task=task, parts=parts)
    assert [line.label for line in lines(tmp_path)] == ["deflow", "deflow", "deflow (critic.width 512)"]
