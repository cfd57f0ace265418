"""Critics: the laws; histograms, aggregations, losses and the target's rate by hand."""

import dataclasses
import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jaxtyping import TypeCheckError
from scipy.stats import norm
from small import SPEC, cases, small

from deflow import solvers
from deflow.critics import (
    AbstractCritic,
    CategoricalCritic,
    CategoricalCriticConfig,
    EnsembleCritic,
    EnsembleCriticConfig,
    ExpectileCriticConfig,
    FlowCriticConfig,
    NoCritic,
    NoiseConditionedCriticConfig,
    Origin,
    aggregate,
    check_aggregation,
)
from deflow.critics.histogram import histogram
from deflow.critics.returns import reward_range
from deflow.errors import LawError
from deflow.testing import check_critic, example_context, example_data
from deflow.types import Fixed


@pytest.mark.parametrize("critic", **cases("critic"))
def test_laws(critic):
    check_critic(critic)


def test_laws_of_another_aggregation():
    check_critic(EnsembleCriticConfig(members=3, aggregation="mean-std", width=8, depth=1))


def ensemble(**values) -> EnsembleCritic:
    return small(EnsembleCriticConfig(**values)).build(example_context(), key=jax.random.key(0))


def test_members_are_independent_and_the_target_is_a_copy():
    critic = ensemble(members=3)
    first = np.asarray(critic.members.network.layers[0].weight)
    assert first.shape == (3, 8, 5)
    assert not np.allclose(first[0], first[1])
    assert eqx.tree_equal(critic.members, critic.target.value)
    assert critic.members.network.norms[0].weight.shape == (3, 8)
    assert critic.next_actions == 1


def test_values_against_reference():
    critic = reference.perturbed(ensemble(members=3, aggregation="min"))
    o, a = example_data(SPEC, 4).observation, example_data(SPEC, 4).action
    networks = [reference.arrays(critic.members.network, member) for member in range(3)]
    expected = reference.values(networks, o, a)
    np.testing.assert_allclose(jax.vmap(critic.value)(o, a), expected.mean(0), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(critic.score)(o, a), expected.min(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "number"),
    [("mean", 2.0), ("min", -1.0), ("mean-std", 2.0 - 0.5 * np.std([-1.0, 3.0, 4.0]))],
)
def test_aggregations(aggregation, number):
    assert aggregate(jnp.asarray([-1.0, 3.0, 4.0]), aggregation, 0.5) == pytest.approx(number)


def test_equal_members_have_a_finite_slope():
    slope = jax.grad(lambda values: aggregate(values, "mean-std", 0.5))(jnp.asarray([1.0, 1.0]))
    assert slope.tolist() == [0.5, 0.5]


def says(numbers, part):
    """The part (a stack of networks, or one) with its last bias these numbers and all else 0: what it always says."""
    part = jax.tree.map(jnp.zeros_like, part)
    bias = jnp.asarray(numbers, jnp.float32).reshape(part.network.layers[-1].bias.shape)
    return eqx.tree_at(lambda part: part.network.layers[-1].bias, part, bias)


def test_loss_by_hand():
    """Networks that say their last bias: Q = (1, 3), target (5, 2), r = 0.5, discount 0.9."""
    critic, row = ensemble(aggregation="min"), example_data(SPEC, 8).on_device()[1]
    critic = dataclasses.replace(critic, members=says([1.0, 3.0], critic.members))
    critic = dataclasses.replace(critic, target=Fixed(says([5.0, 2.0], critic.members)))
    for mask, aggregation, target in ((1.0, "min", 2.3), (0.0, "min", 0.5), (1.0, "mean", 3.65)):
        transition = dataclasses.replace(row, reward=jnp.asarray(0.5), mask=jnp.asarray(mask))
        part = dataclasses.replace(critic, aggregation=aggregation)
        loss, metrics = part.loss(transition, jnp.zeros((1, 2)), key=jax.random.key(0))
        assert loss == pytest.approx(((1 - target) ** 2 + (3 - target) ** 2) / 2)
        assert metrics["critic_target"] == pytest.approx(target)
        assert metrics["critic_value"] == pytest.approx(2.0)


def test_target_rate_by_hand():
    """From 0 toward 8 at a rate of a quarter: 2, then 3.5."""
    critic = ensemble(target_rate=0.25)
    weights = [jax.tree.map(lambda leaf, to=to: jnp.full_like(leaf, to), critic.members) for to in (0.0, 8.0)]
    critic = dataclasses.replace(critic, members=weights[1], target=Fixed(weights[0]))
    for expected in (2.0, 3.5):
        critic = critic.advance()
        assert all(np.all(leaf == expected) for leaf in jax.tree.leaves(critic.target.value))
        assert all(np.all(leaf == 8.0) for leaf in jax.tree.leaves(critic.members))


# --- histograms and ranges


EDGES = np.linspace(-10, 2, 25)  # bins of width 0.5


@pytest.mark.parametrize("deviation", [0.375, 8.0])
def test_histogram_against_scipy(deviation):
    """The Gaussian's mass between the edges, in shares; also of a number outside, whose mass is mostly cut off."""
    for number in (-3.3, 0.0, 1.9, 2.6, -10.4):
        mass = np.diff(norm.cdf(EDGES, loc=number, scale=deviation))
        shares = histogram(jnp.asarray(number), jnp.asarray(EDGES, jnp.float32), jnp.asarray(deviation))
        np.testing.assert_allclose(shares, mass / mass.sum(), rtol=1e-4, atol=1e-5)
        assert np.sum(shares) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("number", [-7.0, -3.3, -0.11, 0.2])
def test_histogram_keeps_the_mean(number):
    """Blurred by 0.75 bin widths, three deviations inside the range: the bins' centres average to the number."""
    shares = histogram(jnp.asarray(number), jnp.asarray(EDGES, jnp.float32), jnp.asarray(0.375))
    assert np.asarray(shares, np.float64) @ ((EDGES[1:] + EDGES[:-1]) / 2) == pytest.approx(number, abs=0.002)


@pytest.mark.parametrize("number", [-1e6, -40.0, 30.0, 1e6])
def test_histogram_of_a_number_far_outside_is_finite(number):
    shares = np.asarray(histogram(jnp.asarray(number), jnp.asarray(EDGES, jnp.float32), jnp.asarray(0.375)))
    assert np.isfinite(shares).all()
    assert (shares >= 0).all()
    assert shares.sum() <= 1 + 1e-6


@pytest.mark.parametrize("config", [CategoricalCriticConfig, FlowCriticConfig])
def test_rewards_of_the_data_widen_the_range(config):
    """Those outside do; known bounds beyond the data stay."""
    data, part = example_data(SPEC), small(config(reward_min=-3.0, reward_max=0.25))
    assert -3 < data.reward.min() < 0.25 < data.reward.max()
    critic = part.build(example_context(data=data), key=jax.random.key(0))
    np.testing.assert_array_equal(critic.rewards.value, np.float32([-3.0, data.reward.max()]))
    critic = part.build(example_context(), key=jax.random.key(0))
    np.testing.assert_array_equal(critic.rewards.value, [-3.0, 0.25])
    lower = dataclasses.replace(data, reward=data.reward - 5)
    widened = reward_range(example_context(data=lower), -3.0, 0.25).value
    np.testing.assert_array_equal(widened, np.float32([lower.reward.min(), 0.25]))


# --- categorical


def categorical(**values) -> CategoricalCritic:
    config = CategoricalCriticConfig(width=4, depth=1, **values)
    return config.build(example_context(), key=jax.random.key(0))


def test_categorical_bins_cover_the_returns_with_a_margin():
    """[-1, 0] / (1 - 0.9) = [-10, 0], and 3 deviations of 0.75 bin widths on either side: 20 - 4.5 widths are 10."""
    edges, width = np.asarray(categorical(bins=20).edges()), 10 / 15.5
    np.testing.assert_allclose(edges, np.arange(21) * width - 10 - 2.25 * width, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("end", [-10.0, 0.0])
def test_categorical_target_at_the_end_keeps_its_mean(end):
    """Within a hundredth of a bin: the margin is there for that."""
    edges = categorical().edges()
    assert len(edges) == 102
    width = float(edges[1] - edges[0])
    shares = np.asarray(histogram(jnp.asarray(end), edges, jnp.asarray(0.75 * width)), np.float64)
    assert abs(shares @ np.asarray((edges[1:] + edges[:-1]) / 2, np.float64) - end) < 0.01 * width


def test_categorical_by_hand():
    """Four bins with deviation half a bin: widths of 10, so edges -25, -15, -5, 5, 15 and centres -20, -10, 0, 10."""
    critic = categorical(bins=4, smoothing=0.5, aggregation="min")
    shares = np.asarray([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])  # of mean 0 and -10
    ahead = np.asarray([[0.25, 0.25, 0.25, 0.25], [0.1, 0.1, 0.7, 0.1]])  # of mean -5 and -2
    critic = dataclasses.replace(critic, members=says(np.log(shares), critic.members))
    critic = dataclasses.replace(critic, target=Fixed(says(np.log(ahead) + 7, critic.members)))
    row = example_data(SPEC, 8).on_device()[1]
    assert critic.value(row.observation, row.action) == pytest.approx(-5, abs=1e-4)
    assert critic.score(row.observation, row.action) == pytest.approx(-10, abs=1e-4)
    edges = np.asarray([-25, -15, -5, 5, 15])
    # -0.5 + 0.9 * -5; nothing follows; below the range, whose end stands for it; and above.
    for reward, mask, target in ((-0.5, 1.0, -5.0), (-0.5, 0.0, -0.5), (-8.0, 1.0, -10.0), (3.0, 0.0, 0.0)):
        transition = dataclasses.replace(row, reward=jnp.asarray(reward), mask=jnp.asarray(mask))
        loss, metrics = critic.loss(transition, jnp.zeros((1, 2)), key=jax.random.key(0))
        assert metrics["critic_target"] == pytest.approx(target, abs=1e-4)
        wanted = np.diff(norm.cdf(edges, loc=target, scale=5))
        wanted = wanted / wanted.sum()
        assert loss == pytest.approx(-(wanted * np.log(shares)).sum(1).mean(), rel=1e-4)
        assert metrics["critic_value"] == pytest.approx(-5, abs=1e-4)


# --- expectile and flow


def test_expectile_by_hand():
    """Q = (1, 3), targets (5, 2) of which the smaller counts; V = 1 is below by 1, V = 4 above by 2."""
    config = ExpectileCriticConfig(width=4, depth=1, expectile=0.9)
    critic = config.build(example_context(), key=jax.random.key(0))
    assert critic.next_actions == 0
    row = example_data(SPEC, 8).on_device()[1]
    transition = dataclasses.replace(row, reward=jnp.asarray(0.5), mask=jnp.asarray(1.0))
    critic = dataclasses.replace(critic, members=says([1.0, 3.0], critic.members))
    critic = dataclasses.replace(critic, target=Fixed(says([5.0, 2.0], critic.members)))
    for state_value, expectile_loss in ((1.0, 0.9 * 1), (4.0, 0.1 * 4)):
        part = dataclasses.replace(critic, state_value=says([state_value], critic.state_value))
        loss, metrics = part.loss(transition, jnp.zeros((0, 2)), key=jax.random.key(0))
        target = 0.5 + 0.9 * state_value
        assert metrics["state_value_loss"] == pytest.approx(expectile_loss)
        assert metrics["critic_target"] == pytest.approx(target)
        assert loss == pytest.approx(expectile_loss + (1 - target) ** 2 + (3 - target) ** 2)


def test_flow_critic_takes_the_agents_solver_with_steps_of_its_own():
    for solver, own in ((solvers.Heun(steps=2), solvers.Heun(steps=5)), (solvers.Tsit5(), solvers.Tsit5())):
        context = dataclasses.replace(example_context(), solver=solver)
        critic = FlowCriticConfig(width=4, depth=1, steps=5).build(context, key=jax.random.key(0))
        assert critic.solver == own
        assert critic.next_actions == 8


MEMBERS = [EnsembleCriticConfig, ExpectileCriticConfig, CategoricalCriticConfig, FlowCriticConfig]


@pytest.mark.parametrize("config", MEMBERS)
def test_value_is_the_mean_and_score_the_aggregation(config):
    """Of three members, for the critics that have several: the refiner climbs one, the other ranks candidates."""
    critic = config(members=3, width=4, depth=1, aggregation="mean-std", deviations=2.0)
    critic = critic.build(example_context(), key=jax.random.key(0))
    critic = dataclasses.replace(critic, members=reference.perturbed(critic.members, scale=1.0))
    o, a = example_data(SPEC, 4).observation, example_data(SPEC, 4).action
    outputs = [
        reference.mlp(reference.arrays(critic.members.network, member), np.concatenate([o, a], 1))
        for member in range(3)
    ]
    values = np.stack(outputs)[..., 0]
    if config is CategoricalCriticConfig:
        shares = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
        width = 10 / (101 - 4.5)
        values = shares @ (np.arange(101) * width - 50 * width - 5)
    value, score = (jax.jit(jax.vmap(function))(o, a) for function in (critic.value, critic.score))
    np.testing.assert_allclose(value, values.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(score, values.mean(0) - 2 * values.std(0), rtol=1e-4, atol=1e-5)
    assert np.all(values.std(0) > 1e-2)


# --- noise-conditioned


def test_noise_conditioned_by_hand():
    """Q = (1, 3), its target (5, 2), Z = (4, 3), r = 0.5, discount 0.9; two coordinates of size 0.25 at weight 2."""
    config = NoiseConditionedCriticConfig(width=4, depth=1, expectile=0.9, penalty=2.0)
    critic, row = config.build(example_context(), key=jax.random.key(0)), example_data(SPEC, 8).on_device()[1]
    critic = dataclasses.replace(critic, members=says([1.0, 3.0], critic.members))
    critic = dataclasses.replace(critic, target=Fixed(says([5.0, 2.0], critic.members)))
    critic = dataclasses.replace(critic, upper=says([4.0, 3.0], critic.upper))
    origin = Origin(jnp.ones((1, 2)), jnp.asarray([0.25]))
    for mask, target in ((1.0, 0.5 + 0.9 * (3.5 - 2 * 2 * 0.25)), (0.0, 0.5)):
        transition = dataclasses.replace(row, reward=jnp.asarray(0.5), mask=jnp.asarray(mask))
        loss, metrics = critic.inquiring_loss(transition, jnp.zeros((1, 2)), origin, key=jax.random.key(0))
        upper_loss = (0.1 * (3.5 - 4) ** 2 + 0.9 * (3.5 - 3) ** 2) / 2
        assert metrics["critic_target"] == pytest.approx(target)
        assert metrics["critic_upper_loss"] == pytest.approx(upper_loss)
        assert loss == pytest.approx(((1 - target) ** 2 + (3 - target) ** 2) / 2 + upper_loss)
    assert critic.value(row.observation, row.action) == pytest.approx((1 + 3) / 2 + (4 + 3) / 2)


def test_values_that_nothing_is_drawn_for_are_those_of_the_noise_0():
    critic = NoiseConditionedCriticConfig(width=4, depth=1).build(example_context(), key=jax.random.key(0))
    critic = reference.perturbed(critic)
    o, a = example_data(SPEC, 4).observation, example_data(SPEC, 4).action
    networks, upper = (
        [reference.arrays(part.network, member) for member in range(2)] for part in (critic.members, critic.upper)
    )
    sums = [reference.values(networks, o, np.concatenate([a, n * np.ones_like(a)], 1)) for n in (0.0, 1.0)]
    value = jax.vmap(critic.value)(o, a)
    np.testing.assert_allclose(value, (sums[0] + reference.values(upper, o, a)).mean(0), rtol=1e-4, atol=1e-5)
    assert np.all(np.abs(sums[0] - sums[1]).mean(0) > 1e-3)


# --- what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"target_rate": 0.0}, r"target_rate must be in \(0, 1\], got 0.0"),
        ({"target_rate": 1.1}, "target_rate must be in"),
        ({"deviations": -1.0}, "deviations must not be negative"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(ValueError, match=f"critic ensemble: {message}"):
        EnsembleCriticConfig(**values)


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (CategoricalCriticConfig, {"smoothing": 0.0}, "categorical: smoothing must be positive, got 0.0"),
        (CategoricalCriticConfig, {"bins": 4}, "categorical: bins must be more than 4.5 for its smoothing, got 4"),
        (CategoricalCriticConfig, {"reward_min": 0.0}, "categorical: reward_min must be below reward_max, got 0.0 and"),
        (CategoricalCriticConfig, {"target_rate": 2.0}, r"categorical: target_rate must be in \(0, 1\], got 2.0"),
        (FlowCriticConfig, {"reward_max": -2.0}, "flow: reward_min must be below reward_max, got -1.0 and -2.0"),
        (FlowCriticConfig, {"reward_min": -np.inf}, "flow: reward_min must be below"),
        (FlowCriticConfig, {"noises": 0}, "flow: noises must be at least 1, got 0"),
        (FlowCriticConfig, {"steps": 0}, "flow: steps must be at least 1, got 0"),
        (FlowCriticConfig, {"bins": 0}, "flow: bins must be at least 1, got 0"),
        (FlowCriticConfig, {"time_features": 0}, "flow: time_features must be at least 1, got 0"),
        (FlowCriticConfig, {"start": 0.0}, "flow: start must be positive, got 0.0"),
        (FlowCriticConfig, {"members": 0}, "flow: members must be at least 1, got 0"),
        (ExpectileCriticConfig, {"expectile": 1.0}, "expectile: expectile must be between 0 and 1, got 1.0"),
        (ExpectileCriticConfig, {"expectile": 0.0}, "expectile: expectile must be between 0 and 1, got 0.0"),
        (ExpectileCriticConfig, {"depth": 0}, "expectile: depth must be at least 1"),
        (NoiseConditionedCriticConfig, {"expectile": 1.0}, "noise-conditioned: expectile must be between 0 and 1, got"),
        (NoiseConditionedCriticConfig, {"penalty": -1.0}, "noise-conditioned: penalty must be at least 0 and finite"),
        (NoiseConditionedCriticConfig, {"members": 0}, "noise-conditioned: members must be at least 1, got 0"),
    ],
)
def test_others_refuse(config, values, message):
    with pytest.raises(ValueError, match=f"critic {message}"):
        config(**values)


@pytest.mark.parametrize("config", [CategoricalCriticConfig, FlowCriticConfig])
def test_refuses_returns_without_a_range(config):
    context = dataclasses.replace(example_context(), discount=1.0)
    with pytest.raises(ValueError, match=r"returns have a range only if discount is below 1, got 1\.0"):
        config(width=4, depth=1).build(context, key=jax.random.key(0))


def test_refuses_an_unknown_aggregation():
    """In the tests the types are checked first; `__wrapped__` is the function behind that."""
    with pytest.raises((ValueError, TypeCheckError), match="aggregation"):
        EnsembleCriticConfig(aggregation="median")
    with pytest.raises(ValueError, match="part: aggregation must be mean, min or mean-std, got 'median'"):
        inspect.unwrap(check_aggregation)("part", "median", 0.5)


def test_none_refuses_to_value():
    with pytest.raises(ValueError, match="choose a critic"):
        NoCritic().score(jnp.ones(3), jnp.ones(2))


class Leaks(AbstractCritic):
    """Its target is not held."""

    weight: jax.Array
    target: Fixed
    hold: bool
    next_actions: int = 1

    def value(self, observation, action):
        return self.weight * jnp.sum(action)

    def score(self, observation, action):
        return self.value(observation, action)

    def loss(self, transition, next_actions, *, key):
        target = self.target.value * jnp.sum(next_actions)
        target = jax.lax.stop_gradient(target) if self.hold else target
        return jnp.square(self.value(transition.observation, transition.action) - target), {}

    def advance(self):
        return self


def test_laws_catch():
    check_critic(Leaks(jnp.ones(()), Fixed(jnp.ones(())), True))
    with pytest.raises(LawError, match="gradient in the next actions"):
        check_critic(Leaks(jnp.ones(()), Fixed(jnp.ones(())), False))
