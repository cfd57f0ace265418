"""The table's rows, and the settings of each task (arXiv 2601.10471, as the reference's commands have them)."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SPEC

from deflow import ALGORITHMS, agent_config, constraints, critics, fields, refiners, solvers, task_settings
from deflow import trust_regions as regions
from deflow.agent import TaskSettings, resized, row_of
from deflow.errors import UnknownNameError
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


OWN = TaskSettings(
    0.97, "min", 0.02, 10, fql_weight=7.0, reward_min=-3.0, flow_aggregation="mean-std", flow_depth=3, fan_weight=40.0,
    fan_penalty=0.7,
)  # fmt: skip
"""Settings in which every number is a task's own."""

ENSEMBLE = critics.EnsembleCriticConfig(members=2, aggregation="min", target_rate=0.005, width=512, depth=4)
PESSIMISTIC = dataclasses.replace(ENSEMBLE, members=10, aggregation="mean-std", deviations=0.5)
RESIDUAL = refiners.ResidualRefinerConfig(width=512, depth=4)
NOTHING = (refiners.NoRefiner(), regions.NoTrustRegion(), constraints.NoConstraint())
CATEGORICAL = critics.CategoricalCriticConfig(
    members=2, aggregation="min", target_rate=0.005, width=512, depth=4, bins=101, smoothing=0.75,
    reward_min=-3.0, reward_max=0.0,
)  # fmt: skip
FLOW_CRITIC = critics.FlowCriticConfig(
    members=2, aggregation="mean-std", width=512, depth=3, noises=8, steps=8, bins=50, time_features=64, start=0.1,
    reward_min=-3.0, reward_max=0.0,
)  # fmt: skip

ROWS = {
    "deflow": (RESIDUAL, regions.MeanSquare(0.02), constraints.DualConstraintConfig(1.0, 1.0), ENSEMBLE),
    "deflow-best": (RESIDUAL, regions.MeanSquare(0.02), constraints.DualConstraintConfig(1.0, 1.0), CATEGORICAL),
    "deflow-flow-critic": (RESIDUAL, regions.MeanSquare(0.02), constraints.DualConstraintConfig(1.0, 1.0), FLOW_CRITIC),
    "deflow-pessimistic": (RESIDUAL, regions.MeanSquare(0.02), constraints.DualConstraintConfig(1.0, 1.0), PESSIMISTIC),
    "deflow-projected": (RESIDUAL, regions.MeanSquare(0.02), constraints.Projection(), ENSEMBLE),
    "deflow-chunked": (RESIDUAL, regions.MeanSquare(0.02), constraints.DualConstraintConfig(1.0, 1.0), ENSEMBLE),
    "fql": (refiners.OneStepRefinerConfig(512, 4), regions.MeanSquare(0.02), constraints.Penalty(7.0), ENSEMBLE),
    "fbrac": (refiners.ThroughSolver(), *NOTHING[1:], ENSEMBLE),
    "ifql": (*NOTHING, critics.ExpectileCriticConfig(members=2, aggregation="min", expectile=0.9, width=512, depth=4)),
    "bfn": (*NOTHING, ENSEMBLE),
    "qc": (*NOTHING, ENSEMBLE),
    "qc-fql": (refiners.OneStepRefinerConfig(512, 4), regions.MeanSquare(0.02), constraints.Penalty(100.0), ENSEMBLE),
    "fan": (
        refiners.OneStepRefinerConfig(512, 4),
        regions.Anchored(),
        constraints.Penalty(40.0),
        critics.NoiseConditionedCriticConfig(
            members=2, aggregation="mean", target_rate=0.005, width=512, depth=4, expectile=0.9, penalty=0.7
        ),
    ),
    "flow-bc": (*NOTHING, critics.NoCritic()),
}
"""Row -> refiner, trust region, constraint, critic."""

NUMBERS = {
    "deflow-best": {"n_step": 3},
    "fql": {"normalize_value": False},
    "fbrac": {"normalize_value": False, "flow_weight": 7.0},
    "ifql": {"candidates": 32},
    "bfn": {"candidates": 4, "target_candidates": 4},
    "deflow-chunked": {"chunk": 5},
    "qc": {"chunk": 5, "candidates": 32, "target_candidates": 32},
    "qc-fql": {"chunk": 5, "normalize_value": False},
    "fan": {"discount": 0.995, "normalize_value": False},
}
"""Row -> what else differs from: the task's discount, rewards of one step, one candidate, a normalised value, flow
matching of weight 1."""


@pytest.mark.parametrize("name", ALGORITHMS)
def test_rows(name):
    """Each row has its parts at the papers' sizes, and what else it needs; all have the same flow."""
    config = agent_config(name, settings=OWN)
    assert (config.refiner, config.trust_region, config.constraint, config.critic) == ROWS[name]
    found = {field: getattr(config, field) for field in ("n_step", "chunk", "candidates", "target_candidates")}
    found |= {name: getattr(config, name) for name in ("normalize_value", "flow_weight", "discount")}
    usual = {
        "n_step": 1,
        "chunk": 1,
        "candidates": 1,
        "target_candidates": 1,
        "normalize_value": True,
        "flow_weight": 1.0,
        "discount": 0.97,
    }
    assert found == usual | NUMBERS.get(name, {})
    assert (config.field, config.solver) == (fields.MLPFieldConfig(512, 4), solvers.Euler(steps=10))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_row_can_be_updated(name):
    """Traced on shapes: what an update needs is there, and it gives back what it was given."""
    config = agent_config(name, width=8, depth=1, solver=solvers.Euler(steps=1))
    data, key = dataclasses.replace(example_data(SPEC, 8), extras={"trajectory_end": np.zeros(8)}), jax.random.key(0)
    batch = config.build(SPEC, data, key=key).with_returns(data).on_device()
    learner = eqx.filter_eval_shape(lambda: Learner.create(config, SPEC, data, key=key))
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
    assert agent_config(width=16, depth=2, critic=given).critic == dataclasses.replace(given, aggregation="mean")
    assert agent_config(width=16).field.depth == 4


def test_sizes_reach_a_wrapped_part():
    """However deep it is wrapped; what has no sizes, and other values, stay."""
    part = refiners.IteratedConfig(refiners.IteratedConfig(refiners.ResidualRefinerConfig(), times=2), times=4)
    sized = resized(part, {"width": 16, "depth": 2})
    inner = refiners.IteratedConfig(refiners.ResidualRefinerConfig(width=16, depth=2), times=2)
    assert sized == refiners.IteratedConfig(inner, times=4)
    gradient = refiners.IteratedConfig(refiners.ValueGradient(rate=0.5))
    assert resized(gradient, {"width": 16, "depth": 2}) == gradient


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


FQL_WEIGHTS = {
    "antmaze-large-navigate-singletask-v0": 10,
    "antmaze-giant-navigate-singletask-v0": 10,
    "antsoccer-arena-navigate-singletask-v0": 10,
    "humanoidmaze-medium-navigate-singletask-v0": 30,
    "humanoidmaze-large-navigate-singletask-v0": 30,
    "cube-single-play-singletask-v0": 300,
    "cube-double-play-singletask-v0": 300,
    "scene-play-singletask-v0": 300,
    "puzzle-3x3-play-singletask-v0": 1000,
    "puzzle-4x4-play-singletask-v0": 1000,
    "visual-cube-single-play-singletask-v0": 300,
    "visual-cube-double-play-singletask-v0": 100,
    "visual-scene-play-singletask-v0": 100,
    "visual-puzzle-3x3-play-singletask-v0": 300,
    "visual-puzzle-4x4-play-singletask-v0": 300,
    "antmaze-umaze-v2": 10,
    "antmaze-medium-diverse-v2": 10,
    "antmaze-large-play-v2": 3,
    "pointmaze-medium-navigate-singletask-v0": 10,
    "cube-triple-play-singletask-v0": 300,
}


@pytest.mark.parametrize("name", FQL_WEIGHTS)
def test_fqls_weight(name):
    """As FQL publishes it (arXiv 2502.02538), and it is the row's multiplier."""
    settings = task_settings(name)
    assert settings.fql_weight == FQL_WEIGHTS[name]
    assert agent_config("fql", settings=settings).constraint.weight == FQL_WEIGHTS[name]


@pytest.mark.parametrize("name", ["pen-human-v1", "door-cloned-v1", "hammer-expert-v1", "relocate-human-v1"])
def test_fqls_weight_for_adroit(name):
    assert 3_000 <= task_settings(name).fql_weight <= 30_000


FAN = {
    "cube-single-play": (100, 3),
    "cube-double-play": (100, 0),
    "scene-play": (100, 3),
    "puzzle-3x3-play": (100, 3),
    "puzzle-4x4-play": (100, 3),
    "antsoccer-arena-navigate": (10, 0.1),
    "visual-cube-double-play": (100, 0),
    "antmaze-large-navigate": (10, 0.1),
    "humanoidmaze-medium-navigate": (10, 0.1),
}
"""Family -> FAN's two weights (arXiv 2605.01663); the last three have those of the nearest."""


@pytest.mark.parametrize("family", FAN)
def test_fans_weights(family):
    settings = task_settings(f"{family}-singletask-task1-v0")
    config = agent_config("fan", settings=settings)
    assert (config.constraint.weight, config.critic.penalty) == FAN[family]
    assert agent_config("fql", settings=settings, critic="noise-conditioned").critic.penalty == FAN[family][1]


FLOW_CRITICS = {
    "antmaze-large-navigate": ("mean", 4, 256, -1),
    "antmaze-giant-navigate": ("min", 4, 512, -1),
    "humanoidmaze-medium-navigate": ("mean", 4, 256, -1),
    "humanoidmaze-large-navigate": ("mean", 4, 512, -1),
    "antsoccer-arena-navigate": ("mean", 4, 256, -1),
    "cube-single-play": ("mean", 2, 256, -1),
    "cube-double-play": ("mean", 2, 256, -2),
    "scene-play": ("mean", 4, 256, -5),
    "puzzle-3x3-play": ("mean", 4, 256, -9),
    "puzzle-4x4-play": ("mean", 4, 256, -16),
    "visual-cube-double-play": ("mean", 2, 256, -2),
}
"""Family -> the flow critic's aggregation, layers and batch (arXiv 2509.06863), and OGBench's lowest reward."""


@pytest.mark.parametrize("family", FLOW_CRITICS)
def test_flow_critics_settings(family):
    settings = task_settings(f"{family}-singletask-task1-v0")
    aggregation, depth, batch_size, reward_min = FLOW_CRITICS[family]
    critic = agent_config("deflow-flow-critic", settings=settings).critic
    assert (critic.aggregation, critic.depth, critic.reward_min, critic.reward_max) == (
        aggregation, depth, reward_min, 0
    )  # fmt: skip
    assert settings.flow_batch_size == batch_size


@pytest.mark.parametrize(("actions", "chunk"), [(2, 1), (2, 3), (7, 1)])
def test_the_projected_ball(actions, chunk):
    """However many numbers an action has, no displacement has a larger mean square than DeFlow's have on average."""
    spec = dataclasses.replace(SPEC, action_size=actions)
    config = agent_config("deflow-projected", settings=OWN, width=8, depth=1, chunk=chunk)
    data = dataclasses.replace(example_data(spec, 8), extras={"trajectory_end": np.zeros(8)})
    agent = config.build(spec, data, key=jax.random.key(0))
    far = jnp.full(chunk * actions, 0.5)
    moved = agent.constraint.restrict(far, lambda move: agent.trust_region.project(move, jnp.zeros(3)))
    np.testing.assert_allclose(jnp.mean(moved**2), OWN.bound, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(moved), math.sqrt(chunk * actions * OWN.bound), rtol=1e-5)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_composition_is_called_by_its_row(name):
    """Whatever the task, the sizes and the solver; another part is another algorithm."""
    settings = task_settings("puzzle-4x4-play-singletask-task4-v0")
    assert row_of(agent_config(name, settings=settings, width=8, solver="heun", discount=0.5)) == name
    assert row_of(agent_config(name, discount=0.5, chunk=7, n_step=1)) == "custom"
    if name != "flow-bc":
        assert row_of(agent_config(name, critic="flow", target_candidates=5)) == "custom"
