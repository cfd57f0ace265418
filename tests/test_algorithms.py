"""The table's rows, and the settings of each task (arXiv 2601.10471, as the reference's commands have them)."""

import equinox as eqx
import jax
import pytest
from small import SPEC

from deflow import ALGORITHMS, agent_config, constraints, critics, fields, refiners, solvers, task_settings
from deflow import trust_regions as regions
from deflow.registry import UnknownNameError
from deflow.settings import TaskSettings
from deflow.testing import example_data
from deflow.training import Learner


def test_deflow_is_the_papers():
    config = agent_config()
    assert config.field == fields.MLPFieldConfig(width=512, depth=4)
    assert config.solver == solvers.Euler(steps=10)
    assert config.refiner == refiners.ResidualRefinerConfig(width=512, depth=4)
    assert config.trust_region == regions.MeanSquare(bound=0.001)
    assert config.constraint == constraints.DualConstraintConfig(1.0)
    assert config.critic == critics.EnsembleCriticConfig(2, "mean", target_rate=0.005, width=512, depth=4)
    assert (config.discount, config.candidates, config.target_candidates) == (0.99, 1, 1)
    assert (config.normalize_value, config.flow_weight) == (True, 1.0)


def test_flow_bc_is_the_flow_alone():
    config = agent_config("flow-bc")
    assert config.field == agent_config().field
    assert config.refiner == refiners.NoRefiner()
    assert config.trust_region == regions.NoTrustRegion()
    assert config.constraint == constraints.NoConstraint()
    assert config.critic == critics.NoCritic()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_row_can_be_updated(name):
    """Traced on shapes: what an update needs is there, and it gives back what it was given."""
    config = agent_config(name, width=8, depth=1, solver=solvers.Euler(steps=1))
    batch, key = example_data(SPEC, 4).on_device(), jax.random.key(0)
    learner = eqx.filter_eval_shape(lambda: Learner.create(config, SPEC, batch, key=key))
    after, metrics = eqx.filter_eval_shape(lambda learner: learner.update(batch, key=key), learner)
    assert jax.tree.structure(after) == jax.tree.structure(learner)
    layouts = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(eqx.filter(tree, lambda x: hasattr(x, "dtype")))]
               for tree in (learner, after)]  # fmt: skip
    assert layouts[0] == layouts[1]
    assert {"loss", "flow_loss", "critic_loss"} <= set(metrics)
    assert ALGORITHMS[name].__doc__


def test_sizes_and_parts():
    config = agent_config(width=16, depth=2, solver=solvers.Heun(steps=5), discount=0.5)
    for part in (config.field, config.refiner, config.critic):
        assert (part.width, part.depth) == (16, 2)
    assert config.solver == solvers.Heun(steps=5)
    assert config.discount == 0.5
    given = critics.EnsembleCriticConfig(members=10, width=4, depth=1)
    assert agent_config(width=16, depth=2, critic=given).critic == given
    assert agent_config(width=16).field.depth == 4


def test_settings_of_a_task():
    settings = TaskSettings(0.995, "min", 0.01, 10)
    config = agent_config(settings=settings)
    assert config.discount == 0.995
    assert config.critic.aggregation == "min"
    assert config.trust_region.bound == 0.01
    assert agent_config(settings=settings, discount=0.9).discount == 0.9
    bare = agent_config("flow-bc", settings=settings)
    assert bare.discount == 0.995
    assert bare.critic == critics.NoCritic()


def test_unknown_algorithm():
    with pytest.raises(
        UnknownNameError, match=r"Unknown algorithm 'defow'. Did you mean 'deflow'\? Choose from: .*flow-bc"
    ):
        agent_config("defow")


PUBLISHED = {
    "antmaze-large-navigate-singletask-v0": (0.99, "min", 0.01, 1_000_000),
    "antmaze-large-navigate-singletask-task1-v0": (0.99, "min", 0.01, 1_000_000),
    "antmaze-giant-navigate-singletask-task5-v0": (0.995, "min", 0.01, 1_000_000),
    "humanoidmaze-medium-navigate-singletask-v0": (0.995, "mean", 0.001, 1_000_000),
    "humanoidmaze-large-navigate-singletask-v0": (0.995, "mean", 0.001, 1_000_000),
    "antsoccer-arena-navigate-singletask-task4-v0": (0.995, "mean", 0.01, 1_000_000),
    "cube-single-play-singletask-task2-v0": (0.99, "mean", 0.001, 1_000_000),
    "cube-double-play-singletask-v0": (0.99, "mean", 0.001, 1_000_000),
    "scene-play-singletask-v0": (0.99, "mean", 0.001, 1_000_000),
    "puzzle-3x3-play-singletask-task4-v0": (0.99, "mean", 0.005, 1_000_000),
    "puzzle-4x4-play-singletask-v0": (0.99, "mean", 0.005, 1_000_000),
    "visual-cube-single-play-singletask-v0": (0.99, "mean", 0.001, 500_000),
    "visual-scene-play-singletask-task1-v0": (0.99, "mean", 0.001, 500_000),
    "visual-puzzle-3x3-play-singletask-v0": (0.99, "mean", 0.0005, 500_000),
    "visual-puzzle-4x4-play-singletask-v0": (0.99, "mean", 0.0005, 500_000),
    "antmaze-umaze-v2": (0.99, "mean", 0.015, 500_000),
    "antmaze-large-diverse-v2": (0.99, "mean", 0.015, 500_000),
    "pen-human-v1": (0.99, "min", 0.01, 500_000),
    "door-cloned-v1": (0.99, "min", 0.001, 500_000),
    "hammer-expert-v1": (0.99, "min", 0.001, 500_000),
    "relocate-human-v1": (0.99, "min", 0.001, 500_000),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    settings = task_settings(name)
    assert (settings.discount, settings.aggregation, settings.bound, settings.steps) == PUBLISHED[name]
    assert settings.borrowed_from is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("pointmaze-medium-navigate-singletask-v0", "antmaze-large-navigate"),
        ("cube-triple-play-singletask-v0", "cube-double-play"),
        ("cube-single-noisy-singletask-v0", "cube-double-play"),
        ("humanoidmaze-giant-navigate-singletask-v0", "humanoidmaze-large-navigate"),
        ("antmaze-giant-explore-singletask-v0", "antmaze-giant-navigate"),
        ("puzzle-4x6-play-singletask-v0", "puzzle-4x4-play"),
        ("visual-cube-triple-play-singletask-v0", "visual-cube-double-play"),
        ("something-of-mine", "cube-single-play"),
    ],
)
def test_borrowed_settings_say_so(name, nearest):
    settings = task_settings(name)
    assert settings.borrowed_from == nearest
    published = task_settings(f"{nearest}-singletask-v0")
    assert (settings.discount, settings.aggregation, settings.bound, settings.steps) == (
        published.discount, published.aggregation, published.bound, published.steps
    )  # fmt: skip
