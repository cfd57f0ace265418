"""Augmentations: their laws, what a random crop does, that acting knows none of them, and where each is the default."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import cases

import deflow
from deflow import agent_config, augmentations, task_settings
from deflow.agent import describe_agent, restore_agent
from deflow.augmentations import NoAugmentation, RandomCrop
from deflow.encoders import ImpalaSmallConfig
from deflow.errors import LawError
from deflow.testing import IMAGES, SPEC, check_augmentation, example_data

KEY = jax.random.key(0)
TINY = ImpalaSmallConfig(stacks=(2,), features=4)


@pytest.mark.parametrize("augmentation", **cases("augmentation"))
def test_laws(augmentation):
    check_augmentation(augmentation)


class Careless(augmentations.AbstractSampleAugmentation):
    def __call__(self, observation, *, key):
        return observation + jnp.sum(observation) * jax.random.uniform(key) * 1e38 * 1e38


class Unlike(augmentations.AbstractAugmentation):
    def of_batch(self, batch, *, key):
        return dataclasses.replace(batch, observation=batch.observation + 1)


@pytest.mark.parametrize(
    ("augmentation", "law"), [(Careless(), "must be finite"), (Unlike(), "the same must be done to s and s'")]
)
def test_what_breaks_a_law_is_found(augmentation, law):
    with pytest.raises(LawError, match=law):
        check_augmentation(augmentation)


class Smaller(augmentations.AbstractSampleAugmentation):
    def __call__(self, observation, *, key):
        return observation[..., :1]


class NoKey(augmentations.AbstractSampleAugmentation):
    def __call__(self, observation):
        return observation


class FewerRows(augmentations.AbstractAugmentation):
    def of_batch(self, batch, *, key):
        return batch[:1]


@pytest.mark.parametrize(
    ("augmentation", "says"),
    [
        (Smaller(), r"'Smaller' failed on a batch: Smaller makes float32 of shape \(1,\) .* keep its type and shape"),
        (NoKey(), r"'NoKey' failed on a batch: .*unexpected keyword argument 'key'"),
        (FewerRows(), r"'FewerRows' makes float32 of shape \(1, 3\) of a batch's observation, which is .* \(2, 3\)"),
    ],
)
def test_what_changes_a_batch_otherwise_is_refused(augmentation, says):
    with pytest.raises(ValueError, match=says):
        agent_config(augmentation=augmentation, width=8, depth=1).check(SPEC)


def cropped(image, padding, row, column):
    """By hand: the place that each pixel comes from, held at the edges."""
    height, width, _ = image.shape
    rows = np.clip(np.arange(height) + row - padding, 0, height - 1)
    columns = np.clip(np.arange(width) + column - padding, 0, width - 1)
    return image[rows[:, None], columns[None]]


def test_a_random_crop_against_numpy():
    """Every result is the image at one of the places, all channels alike, and every place is drawn."""
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 6), np.uint8)
    places = {cropped(image, 2, *place).tobytes(): place for place in np.ndindex(5, 5)}
    assert len(places) == 25
    crop = jax.jit(jax.vmap(lambda key: RandomCrop(padding=2)(image, key=key)))
    results = np.asarray(crop(jax.random.split(KEY, 400)))
    assert results.dtype == np.uint8
    assert {places[result.tobytes()] for result in results} == set(places.values())


def test_half_of_the_batches_as_a_whole_and_each_sample_at_its_own_place():
    batch = jax.tree.map(jnp.asarray, example_data(IMAGES, 8))
    apply = jax.jit(jax.vmap(lambda key: RandomCrop().of_batch(batch, key=key)))
    found = apply(jax.random.split(KEY, 200))
    moved = np.any(np.asarray(found.observation) != np.asarray(batch.observation)[None], axis=(2, 3, 4)).mean(axis=1)
    changed = moved > 0
    assert 0.4 < changed.mean() < 0.6  # 3 standard deviations
    assert moved[changed].mean() > 0.9  # all but those that are drawn at the middle
    assert np.array_equal(
        np.any(np.asarray(found.next_observation) != np.asarray(batch.next_observation)[None], axis=(1, 2, 3, 4)),
        changed,
    )
    image = np.asarray(batch.observation[0])
    places = {cropped(image, 3, *place).tobytes() for place in np.ndindex(7, 7)}
    first = {np.asarray(each)[0].tobytes() for each in found.observation[changed]}
    assert first <= places
    assert len(first) > 20


def test_the_loss_sees_it_and_acting_does_not():
    """An agent with it acts as one without, and its loss is the other's on the changed batch."""
    config = agent_config(encoder=TINY, width=8, depth=1)
    plain = config.build(IMAGES, example_data(IMAGES), key=KEY)
    crop = RandomCrop(probability=1.0)
    agent = dataclasses.replace(plain, augmentation=crop)
    batch = jax.tree.map(jnp.asarray, example_data(IMAGES, 8))
    np.testing.assert_array_equal(agent(batch.observation, key=KEY), plain(batch.observation, key=KEY))
    changed = crop.of_batch(batch, key=deflow.keys.named_key(KEY, "augmentation"))
    arrays, rest = eqx.partition((agent, plain), eqx.is_array)

    @jax.jit
    def losses(arrays, batch, changed):
        agent, plain = eqx.combine(arrays, rest)
        return [each.loss(given, key=KEY)[0] for each, given in ((agent, batch), (plain, changed), (plain, batch))]

    values = losses(arrays, batch, changed)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    assert abs(values[0] - values[2]) > 1e-6


def test_where_it_is_the_default():
    visual = agent_config(settings=task_settings("visual-cube-single-play-singletask-v0"))
    assert visual.augmentation == RandomCrop(padding=3, probability=0.5)
    for name in ("cube-single-play-singletask-v0", "Pendulum-v1", "visual"):
        assert agent_config(settings=task_settings(name)).augmentation == NoAugmentation()
    assert agent_config("fql", augmentation="random-crop").augmentation == RandomCrop()


def test_it_is_recorded_and_a_run_from_before_has_none():
    config = agent_config(augmentation=RandomCrop(padding=2))
    described = describe_agent(config)
    assert described["augmentation"]["fields"] == {"padding": 2, "probability": 0.5}
    assert restore_agent(described) == config
    del described["augmentation"]
    assert restore_agent(described).augmentation == NoAugmentation()


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"'random-crop' is for images of shape .*, got observations of shape \(3,\)"):
        agent_config(augmentation="random-crop", width=8, depth=1).check(SPEC)
    with pytest.raises(ValueError, match="padding must be at least 1 pixel, got 0"):
        RandomCrop(padding=0)
    with pytest.raises(ValueError, match="probability must be from 0 to 1, got 2"):
        RandomCrop(probability=2)
