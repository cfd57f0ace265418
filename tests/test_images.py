"""Encoders for images: what they compute, which images they take, and agents that have one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from deflow import Spec, agent_config, task_settings
from deflow.deployment import Policy, export
from deflow.encoders import Identity, ImpalaConfig, ImpalaSmallConfig, StandardizeConfig
from deflow.environments import Environment, import_file
from deflow.errors import ExportError
from deflow.evaluation import Evaluator
from deflow.testing import IMAGES, SPEC, example_context, example_data, one_update
from deflow.training import Learner, train_offline
from deflow.types import build

FILE = Path(__file__).with_name("image_environment.py")
KEY = jax.random.key(0)
TINY = ImpalaSmallConfig(stacks=(2, 3), features=5)


def encoder_of(config, shape=IMAGES.observation_shape):
    return build(config, example_context(Spec(shape, 2, "uint8")), key=KEY)


def convolved(layer, image):
    weight, bias = np.asarray(layer.weight, np.float64), np.asarray(layer.bias, np.float64)
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[row : row + height, column : column + width] @ weight[row, column]
        for row in range(3)
        for column in range(3)
    )


def pooled(image):
    """The maximum over 3 x 3 with stride 2; what lies outside counts nowhere, and half of it is before the image."""
    height, width, channels = image.shape
    before = [size % 2 for size in (height, width)]
    result = np.empty(((height + 1) // 2, (width + 1) // 2, channels))
    for row, column in np.ndindex(result.shape[:2]):
        top, left = 2 * row - before[0], 2 * column - before[1]
        result[row, column] = image[max(top, 0) : top + 3, max(left, 0) : left + 3].max(axis=(0, 1))
    return result


def by_numpy(encoder, observation):
    image = observation.astype(np.float64) / 255
    for stack in encoder.stacks:
        image = pooled(convolved(stack.convolution, image))
        for block in stack.blocks:
            image = image + convolved(block.second, np.maximum(convolved(block.first, np.maximum(image, 0)), 0))
    x = np.maximum(image, 0).ravel() @ np.asarray(encoder.dense.weight, np.float64).T + encoder.dense.bias
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("config", [TINY, ImpalaConfig(stacks=(2, 3), features=5)], ids=["one block", "two blocks"])
@pytest.mark.parametrize("shape", [(16, 16, 3), (21, 10, 9)], ids=str)
def test_against_numpy(config, shape):
    encoder = reference.perturbed(encoder_of(config, shape))
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_allclose(encoder(jnp.asarray(image)), by_numpy(encoder, image), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "shape", "flat"),
    [
        (ImpalaSmallConfig(), (64, 64, 9), 2048),
        (ImpalaSmallConfig(), (84, 84, 3), 11 * 11 * 32),
        (ImpalaConfig(), (64, 64, 9), 2048),
    ],
    ids=["small", "84 x 84", "impala"],
)
def test_sizes(config, shape, flat):
    """Parameters, and where they begin: uniform within what variance scaling says, biases at zero."""
    encoder = encoder_of(config, shape)
    sizes = list(zip((shape[-1], 16, 32), (16, 32, 32), strict=True))
    layer = lambda inputs, outputs: 9 * inputs * outputs + outputs  # noqa: E731
    expected = sum(layer(one, other) + 2 * config.blocks * layer(other, other) for one, other in sizes)
    expected += 512 * flat + 512
    assert sum(leaf.size for leaf in jax.tree.leaves(encoder)) == expected
    first = encoder.stacks[0].convolution
    limit = np.sqrt(6 / (9 * (shape[-1] + 16)))
    assert 0.9 * limit < np.abs(first.weight).max() <= limit
    assert not np.any(first.bias)


def test_bytes_stay_bytes_until_the_encoder():
    """An agent acts on uint8 alone, and its observations are no float32 anywhere before the first division."""
    agent = agent_config(encoder=TINY, width=8, depth=1).build(IMAGES, example_data(IMAGES), key=KEY)
    image = example_data(IMAGES).observation[0]
    assert agent(image, key=KEY).shape == (2,)
    assert agent(image[None], key=KEY).shape == (1, 2)
    with pytest.raises(ValueError, match="acts on observations of type uint8, got float32"):
        agent(image.astype(np.float32), key=KEY)


@pytest.mark.parametrize(
    ("config", "spec", "says"),
    [
        (TINY, SPEC, r"for images of shape \(height, width, channels\), got observations of shape \(3,\)"),
        (TINY, Spec((16, 16, 3), 2), r"for images of bytes \(uint8, 0 to 255\), got float32"),
        (ImpalaSmallConfig(), Spec((7, 64, 3), 2, "uint8"), r"at least 8 x 8 pixels, got the shape \(7, 64, 3\)"),
        (ImpalaSmallConfig(), Spec((3, 64, 64), 2, "uint8"), r"if channels come first, move them to the end"),
        (Identity(), IMAGES, r"is for states, got pixels of shape \(16, 16, 3\): choose .* such as 'impala-small'"),
        (StandardizeConfig(), IMAGES, r"is for states, got pixels of shape \(16, 16, 3\)"),
    ],
    ids=["states", "float", "small", "channels first", "identity", "standardize"],
)
def test_observations_of_another_kind(config, spec, says):
    with pytest.raises(ValueError, match=says):
        agent_config(encoder=config, width=8, depth=1).check(spec)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"stacks": ()}, "stacks must be numbers of channels"),
        ({"stacks": (16, 0)}, "stacks"),
        ({"blocks": -1}, "blocks"),
        ({"features": 0}, "features"),
    ],
)
def test_settings(settings, says):
    with pytest.raises(ValueError, match=f"encoder impala-small: {says}"):
        ImpalaSmallConfig(**settings)


def test_visual_tasks_have_it():
    names = ["visual-cube-single-play-singletask-task1-v0", "visual-puzzle-4x4-play-singletask-v0"]
    names += ["visual-antmaze-large-navigate-singletask-v0", "visual-cube-triple-play-singletask-v0"]
    for name in names:
        assert agent_config(settings=task_settings(name)).encoder == ImpalaSmallConfig()
    assert agent_config(settings=task_settings("cube-single-play-singletask-v0")).encoder == Identity()


def test_updates_do_not_depend_on_the_dispatch():
    """On CPUs each is a dispatch of its own, and the metrics are still the means over those asked for."""
    spec, ends = IMAGES, []
    data = example_data(spec, 32)
    for each in (1, 3):
        learner = Learner.create(agent_config(encoder=TINY, width=8, depth=1), spec, data, key=KEY)
        rows = list(train_offline(learner, data, steps=3, batch_size=4, updates_per_dispatch=each, key=KEY))
        ends.append((rows[-1][1].agent, np.mean([float(metrics["loss"]) for _, _, metrics in rows])))
    for one, other in zip(*(jax.tree.leaves(agent) for agent, _ in ends), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-6)


def test_played_and_exported(tmp_path):
    """Its workers play an environment of one's own that is seen; of a file, what cannot hold it says so."""
    import_file(FILE)
    environment = Environment("seen/SmallReach-v0")
    spec = environment.spec()
    assert (spec.observation_shape, spec.observation_dtype) == ((16, 16, 3), "uint8")
    agent = agent_config(encoder=TINY, width=8, depth=1).build(spec, example_data(spec), key=KEY)
    with Evaluator(environment, workers=1) as evaluator:
        result = evaluator(agent, episodes=2, seed=0)
    assert all(result.lengths > 0)
    with pytest.raises(ExportError, match=r"no NumPy code for the primitive 'conv_general_dilated'.*choose the format"):
        export(Policy(agent), tmp_path / "policy.npz")


def test_an_update():
    """Of an algorithm with candidates, which the critic ranks, and a state value."""
    one_update("ifql", encoder=TINY)
