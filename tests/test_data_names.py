"""Names: task -> environment and dataset, as OGBench itself maps them."""

import gymnasium
import ogbench
import pytest

from deflow.environments import parse_task_name, task_names
from deflow.errors import DataError, UnknownTaskError

FAMILIES = ("pointmaze", "antmaze", "humanoidmaze", "antsoccer", "cube", "scene", "puzzle")


def test_every_state_family_has_tasks_and_no_pixels_slip_in():
    names = task_names()
    assert all(any(name.startswith(family) for name in names) for family in FAMILIES)
    assert not any(name.startswith("visual") for name in names)
    assert {"cube-single-play-singletask-task2-v0", "antmaze-large-navigate-singletask-v0"} <= set(names)
    assert "visual-cube-single-play-singletask-v0" in task_names(pixels=True)


@pytest.mark.parametrize("name", ["cube-double-play-singletask-task3-v0", "antmaze-large-stitch-singletask-v0"])
def test_names_are_mapped_as_ogbench_maps_them(name, monkeypatch):
    seen = []
    monkeypatch.setattr(ogbench.utils, "download_datasets", lambda names, folder: seen.extend(names))
    monkeypatch.setattr(gymnasium, "make", lambda identifier, **_: seen.append(identifier))
    with pytest.raises(FileNotFoundError):  # its files are nowhere: it comes as far as reading them
        ogbench.make_env_and_datasets(name, dataset_dir="/nowhere")
    task = parse_task_name(name)
    assert task is not None
    assert [task.environment_id, task.dataset] == seen


def test_every_name_leads_to_registered_environments():
    for name in task_names(pixels=True):
        task = parse_task_name(name)
        assert task is not None
        assert task.environment_id in gymnasium.registry
        assert task.base_id in gymnasium.registry
        assert task.family in FAMILIES


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("cube-single-play-singletask-taks2-v0", "cube-single-play-singletask-task2-v0"),
        ("antmaze-large-navigat-singletask-v0", "antmaze-large-navigate-singletask-v0"),
        ("pendulum-v1", "Pendulum-v1"),
    ],
)
def test_an_unknown_name_gives_the_nearest_one(wrong, near):
    with pytest.raises(UnknownTaskError) as caught:
        parse_task_name(wrong)
    assert wrong in str(caught.value)
    assert near in str(caught.value)
    assert "--list" in str(caught.value)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize("wrong", ["", "x" * 50, "NoSuchEnvironment-v0", "no_such_module:Env-v0", "HalfCheetah-v2000"])
def test_nonsense_is_refused_in_one_line(wrong):
    with pytest.raises(UnknownTaskError) as caught:
        parse_task_name(wrong)
    assert "\n" not in str(caught.value)


def test_another_gymnasium_id_is_no_ogbench_task():
    assert parse_task_name("Pendulum-v1") is None
