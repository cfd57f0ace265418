"""Parts that are given to an agent: names, classes and objects, the task's settings, and what is no part."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SPEC, small

import deflow
from deflow import agent_config, critics, refiners, solvers, task_settings, trust_regions
from deflow.agent import KINDS, algorithms
from deflow.agent.compatibility import check_composition
from deflow.environments import maker_of
from deflow.errors import DataError, RegistrationError, SpaceError
from deflow.testing import example_data
from deflow.training.learner import checked_rate
from deflow.types import AbstractPart

ANT = task_settings("antmaze-large-navigate-singletask-task1-v0")  # aggregation min, bound 0.01
PUZZLE = task_settings("puzzle-4x4-play-singletask-task4-v0")  # rewards from -16
GIANT = task_settings("antmaze-giant-navigate-singletask-task1-v0")  # flow_aggregation min
CUBE = task_settings("cube-single-play-singletask-task2-v0")  # flow_depth 2


# --- settings reach what is given, and what is given wins


@pytest.mark.parametrize("row", ["deflow", "fql", "bfn", "ifql"])
@pytest.mark.parametrize("given", ["categorical", critics.CategoricalCriticConfig, critics.CategoricalCriticConfig()])
def test_a_critic_given_by_hand_has_the_tasks_settings(row, given):
    assert agent_config(row, settings=ANT, critic=given).critic == critics.CategoricalCriticConfig(
        aggregation="min", reward_min=-1.0
    )
    assert agent_config(row, settings=PUZZLE, critic=given).critic == critics.CategoricalCriticConfig(
        aggregation="mean", reward_min=-16.0
    )


def test_what_is_given_wins():
    given = critics.CategoricalCriticConfig(aggregation="mean", reward_min=-3.0)
    assert agent_config("deflow", settings=ANT, critic=given).critic == given
    region = trust_regions.MeanSquare(0.5)
    assert agent_config("deflow", settings=ANT, trust_region=region).trust_region == region


def test_settings_under_other_names_and_those_that_a_part_does_not_take():
    flow = agent_config("deflow", settings=GIANT, critic="flow").critic
    assert (flow.aggregation, flow.depth) == ("min", 4)
    assert agent_config("deflow", settings=CUBE, critic="flow").critic.depth == 2
    assert agent_config("deflow-projected", settings=ANT, trust_region="mean-square").trust_region.bound == 0.01
    assert agent_config("deflow", settings=CUBE, critic="expectile").critic.aggregation == "min"  # IQL's own
    assert agent_config("deflow", settings=ANT, trust_region="ball").trust_region == trust_regions.Ball()


class Patient(AbstractPart):
    """A part of another package's: a field that is None and has a setting's name takes it."""

    discount: float | None = None
    reward_min: float | None = -7.0
    steps: int = 3


def test_parts_of_other_packages_take_settings_by_name():
    part = algorithms.with_settings(Patient(), GIANT, fresh=True)
    assert (part.discount, part.reward_min, part.steps) == (0.995, -7.0, 3)


def test_sizes_reach_given_parts_that_have_none_of_their_own():
    config = agent_config(width=16, depth=2, critic=critics.EnsembleCriticConfig(members=3), refiner="one-step")
    assert (config.critic.width, config.critic.depth, config.critic.members) == (16, 2, 3)
    assert (config.refiner.width, config.refiner.depth) == (16, 2)
    assert agent_config(width=16, critic=critics.EnsembleCriticConfig(width=4)).critic.width == 4


def test_without_a_task_a_critic_takes_the_mean_of_rewards_from_minus_one():
    critic = small(critics.CategoricalCriticConfig()).build(deflow.testing.example_context(), key=jax.random.key(0))
    assert critic.aggregation == "mean"
    np.testing.assert_array_equal(critic.rewards.value, [-1, 0])


# --- names, classes, and what is no part


@pytest.mark.parametrize("given", ["heun", solvers.Heun, solvers.Heun()])
def test_a_part_is_a_name_a_class_or_an_object(given):
    assert agent_config(solver=given).solver == solvers.Heun()


WRONG = {
    "agent_config(solver='huen')": "UnknownNameError: Unknown solver 'huen'. Did you mean 'heun'",
    "agent_config(solver=trust_regions.Ball(0.1))": "TypeError: The solver must be one of .*'heun'.* got Ball",
    "agent_config(critic=None)": "TypeError: The critic must be one of .*'ensemble'.* got None",
    "agent_config(critic=3)": "TypeError: The critic must be one of .* got 3",
    "agent_config(trust_region=trust_regions.PerState)": "TypeError: PerState is made by its .*PerStateConfig",
    "agent_config(width=64.0)": "ValueError: .*width must be a whole number, got 64.0",
    "agent_config(candidates=2.0)": "ValueError: .*candidates must be a whole number, got 2.0",
    "agent_config(discount='0.9')": "ValueError: .*discount must be a number, got '0.9'",
    "agent_config(normalize_value=1)": "ValueError: .*normalize_value must be True or False, got 1",
    "agent_config(critc='flow')": "TypeError: Unknown argument of agent_config 'critc'. Did you mean 'critic'",
    "agent_config('deflw')": "UnknownNameError: Unknown algorithm 'deflw'. Did you mean 'deflow'",
    "solvers.Heun(steps=2.5)": "ValueError: Heun: steps must be a whole number, got 2.5",
    "solvers.Heun(steps=True)": "ValueError: Heun: steps must be a whole number, got True",
    "solvers.Heun(steps='5')": "ValueError: Heun: steps must be a whole number, got '5'",
    "trust_regions.Ball(bound='small')": "ValueError: Ball: bound must be a number or 'auto', got 'small'",
    "critics.EnsembleCriticConfig(aggregation='max')": "ValueError: .*aggregation must be .*mean.* got 'max'",
    "constraints.Penalty(weight=None)": "ValueError: Penalty: weight must be a number, got None",
    "Learner.create(config, SPEC, key=0)": "TypeError: key must be made by jax.random.key.*got 0",
    "Learner.create(config, SPEC, key=jax.random.PRNGKey(0))": "TypeError: key must be .* old-style",
    "Learner.create(config, SPEC, key=None)": "TypeError: key must be made by .*got None",
    "next(train_offline(learner, data, steps=1, key=0))": "TypeError: key must be made by .*got 0",
    "next(train_offline(learner, data, steps=5.0, key=key))": "ValueError: .*steps must be a whole number, got 5.0",
}
"""What a user might type -> what it is answered with."""

SCRIPT = """
import json, sys
import jax, numpy as np
from deflow import *
from deflow import constraints, critics, solvers, trust_regions
from deflow.testing import SPEC, example_data
assert solvers.Heun(steps=np.int64(3)).steps == 3 and trust_regions.Ball(bound=np.float32(0.5)).bound == 0.5
config, key, data = agent_config(width=4, depth=1), jax.random.key(0), example_data()
learner = Learner.create(config, SPEC, data, key=key)
answers = {}
for line in json.loads(sys.argv[1]):
    try:
        answers[line] = f"accepted: {eval(line)!r}"
    except Exception as error:
        answers[line] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


def test_what_is_wrong_is_refused_in_one_sentence_where_it_is_given():
    """In a program of its own: the tests' type checks would come first here."""
    outcome = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(WRONG))],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(deflow.__file__).parents[1])},
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    for line, answer in json.loads(outcome.stdout).items():
        assert re.match(WRONG[line], answer), (line, answer)
        assert "\n" not in answer


def test_environments_and_sources_in_other_words(tmp_path):
    assert maker_of("Pendulum-v1") == deflow.Environment("Pendulum-v1")
    with pytest.raises(SpaceError, match=r"give its id \(Pendulum-v1\)"):
        maker_of(gymnasium.make("Pendulum-v1"))
    with pytest.raises(SpaceError, match="must be a task, an id, or an object with make"):
        maker_of(3)
    with pytest.raises(DataError, match=r"The data .* does not exist"):
        deflow.load_task("Pendulum-v1", tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"The source must be .* got the class Official"):
        deflow.load_task("Pendulum-v1", deflow.Official)


# --- compositions that mean nothing

REFINERS = {name: small(KINDS["refiner"][name]()) for name in KINDS["refiner"]}
STILL = {"none", "through-solver"}
ASKS = {"value-gradient", "iterated"}  # refiners that ask the region themselves


UNLEARNED = {"value-gradient"}


def allowed(refiner, region, constraint):
    """Said in words: what displaces nothing has neither; a constraint has a region, and something to act on; a region
    is asked by somebody."""
    if refiner in STILL:
        return region == constraint == "none"
    if region == "anchored":  # which has no projection
        return constraint not in ("none", "projection") and refiner not in ASKS
    if constraint != "none":  # all but projection act on what is learned
        return region != "none" and (constraint == "projection" or refiner not in UNLEARNED)
    return region == "none" or refiner in ASKS


@pytest.mark.parametrize("refiner", list(REFINERS))
def test_all_pairs_of_refiner_region_and_constraint(refiner):
    """Every registered region with every constraint, around one refiner."""
    data = example_data(SPEC)
    whole = agent_config(width=4, depth=1, solver="euler", refiner="residual").build(SPEC, data, key=jax.random.key(0))
    context = deflow.testing.example_context(data=data)

    def built(choice):
        return deflow.types.build(choice, context, key=jax.random.key(0))

    agents = {
        (region, constraint): (built(KINDS["trust_region"][region]()), built(KINDS["constraint"][constraint]()))
        for region, constraint in itertools.product(KINDS["trust_region"], KINDS["constraint"])
    }
    for (region, constraint), (region_part, constraint_part) in agents.items():
        agent = deflow.Agent(
            **{
                **{name: getattr(whole, name) for name in whole.__dataclass_fields__},
                "refiner": built(REFINERS[refiner]),
                "trust_region": region_part,
                "constraint": constraint_part,
            }
        )
        if allowed(refiner, region, constraint):
            check_composition(agent)
        else:
            with pytest.raises(ValueError, match=r"(would have no effect|has no projection)"):
                check_composition(agent)


def test_given_sizes_of_an_inner_part_win_over_sizes_for_all():
    inner = deflow.refiners.ResidualRefinerConfig(width=64)
    assert agent_config(width=16, refiner=deflow.refiners.IteratedConfig(inner=inner)).refiner.inner.width == 64
    assert agent_config(width=16, refiner="iterated").refiner.inner.width == 16


NUMPY_NUMBERS = """
import jax, numpy as np
import deflow
from deflow.testing import SPEC, example_data

key = jax.random.key(0)
for number in (np.float64(0.2), np.float32(0.25), np.int64(1)):
    parts = {"trust_region": deflow.trust_regions.Ball(number), "constraint": deflow.constraints.Penalty(number)}
    config = deflow.agent_config(width=4, depth=1, flow_weight=number, discount=np.float64(0.9), **parts)
    assert {type(config.flow_weight), type(config.trust_region.bound), type(config.constraint.weight)} <= {int, float}
    learner = deflow.Learner.create(config, SPEC, example_data(SPEC), learning_rate=np.float32(0.01), key=key)
    *_, (_, after, _) = deflow.train_offline(learner, example_data(SPEC), steps=3, batch_size=4, key=key)
    assert after.agent.flow_weight == number and after.agent.constraint.weight == number
assert deflow.solvers.Heun(steps=np.int64(2)).steps == 2
assert deflow.agent_config(normalize_value=np.bool_(False)).normalize_value is False
"""


def test_numpy_numbers_become_pythons_and_are_not_trained():
    """Outside of the tests' own check of annotations."""
    done = subprocess.run([sys.executable, "-c", NUMPY_NUMBERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("1e-3", "learning_rate must be a number, got '1e-3'"),
        (np.inf, "positive and finite, got inf"),
        (True, "must be a number, got True"),
        (None, "must be a number, got None"),
    ],
)
def test_learning_rates_are_checked(rate, words):
    with pytest.raises(ValueError, match=words):
        checked_rate(rate)


def test_settings_are_a_tasks():
    with pytest.raises(TypeError, match=r"settings must be deflow.task_settings\(name\), got 'cube"):
        agent_config(settings="cube-single-play-v0")


def test_target_candidates_without_a_target_action():
    config = agent_config("ifql", width=4, depth=1, target_candidates=4)
    with pytest.raises(ValueError, match=r"target_candidates=4 has no effect: .*'ExpectileCritic'"):
        config.build(SPEC, example_data(SPEC), key=jax.random.key(0))


def test_a_redefined_class_is_itself(registered):
    """As in a notebook whose cell runs twice: parts of the first class are known by the second's name."""
    classes = []
    for factor in (0.5, 0.25):

        class Jump(solvers.AbstractSolver):
            factor: float = 1.0

            def __call__(self, velocity, noise):
                return noise + self.factor * velocity(jnp.zeros(()), noise)

        Jump.__qualname__ = "Jump"
        classes.append(registered(solvers.registry, "jump-for-this-test", Jump))
        assert factor < 1
    assert classes[0] is not classes[1]
    assert solvers.registry.name_of(classes[0](0.5)) == "jump-for-this-test"


def test_every_built_in_refiner_is_in_the_table():
    assert STILL | ASKS | {"residual", "one-step"} == set(refiners.registry)


class Branching(deflow.constraints.AbstractSoftConstraint):
    """A constraint with Python's max, which JAX cannot trace."""

    weight: float = 1.0

    def loss(self, size, bound):
        return self.weight * max(size - bound, 0.0)

    def multiplier(self):
        return jnp.asarray(self.weight)

    def advance(self, size, bound):
        return self


class Forgetful(Branching):
    """A loss without a return."""

    def loss(self, size, bound):
        self.weight * jax.nn.relu(size - bound)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Branching(), r"'Branching' \(line \d+ of .*test_given_parts.py: .*max\(size.*\) cannot be traced by JAX"),
        (Forgetful(), r"Forgetful must return a loss of shape \(\), got nothing"),
    ],
)
def test_a_part_that_cannot_be_traced_is_named(part, words):
    with pytest.raises(ValueError, match=words):
        agent_config(width=4, depth=1, constraint=part).build(SPEC, example_data(SPEC), key=jax.random.key(0))


def test_a_field_without_a_default_is_refused_where_the_part_is_registered():
    with pytest.raises(RegistrationError, match=r"has fields without a default \(steps\): give each one"):

        @deflow.solvers.register("needy")
        class Needy(deflow.solvers.AbstractSolver):
            steps: int

            def __call__(self, velocity, noise):
                return noise


MISPLACED = [
    ("deflow.Learner.create('deflow', SPEC, key=KEY)", "config must be deflow.agent_config(...), got 'deflow'"),
    (
        "deflow.Learner.create(config, SPEC, task, key=KEY)",
        "data must be transitions, such as task.train, got Thing",
    ),
    ("list(deflow.train_offline(config, task, steps=1, key=KEY))", "learner must be a Learner, got AgentConfig"),
    ("list(deflow.train_offline(learner, task, steps=1, key=KEY))", "data must be transitions, such as task.train"),
    ("deflow.evaluate(learner, None)", "A Learner is no policy: give learner.agent"),
    ("deflow.refiners.IteratedConfig(inner='value-gradient')", "inner must be a refiner such as ValueGradient()"),
    ("learner.seed(2)", "This learner has 1 seeds, counted from 0: there is no seed 2"),
    ("deflow.create_run('runs', thing, config, both, seed=0)", "this learner has 2: make one run for each"),
    ("deflow.create_run('runs', thing, other, learner, seed=0)", "The configuration is not the learner's"),
]
"""Calls, and what is said of them."""


def test_arguments_in_each_others_place_are_named(tmp_path):
    """In a process without the tests' own check of annotations."""
    program = f"""
import json, os, types, jax, deflow
from deflow.testing import SPEC, example_data
class Thing: pass
KEY, task = jax.random.key(0), Thing()
config, other = deflow.agent_config(width=4, depth=1), deflow.agent_config("fql", width=4, depth=1)
learner = deflow.Learner.create(config, SPEC, example_data(SPEC), key=KEY)
both = deflow.Learner.create(config, SPEC, example_data(SPEC), key=jax.random.split(KEY))
thing = types.SimpleNamespace(spec=SPEC, name="e")
for call in {[call for call, _ in MISPLACED]!r}:
    try:
        eval(call)
        print("nothing was said")
    except Exception as error:
        print(json.dumps(str(error)))
    assert not os.path.exists("runs"), call
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (call, words), said in zip(MISPLACED, done.stdout.splitlines(), strict=True):
        assert words in json.loads(said), call
