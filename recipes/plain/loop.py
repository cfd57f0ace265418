"""DeFlow and FQL as single-file research code writes them: the yardstick of `recipes/benchmark.py`.

Parameters are dictionaries, networks act on batches, the critic's two members are stacked on the leading axis, batches
are sampled with NumPy, and each update is one jitted call. DeFlow solves the flow's ODE at s', at s, and once more for
a metric; FQL solves it at s. Nothing here is deflow's: what the benchmark compares must not share its layout.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

Parameters = dict
Loss = Callable[[Parameters, Parameters, dict, jax.Array], tuple[jax.Array, dict]]

STEPS, BOUND, DISCOUNT, RATE, DISTILLATION = 10, 1e-3, 0.99, 0.005, 300.0


def network(key: jax.Array, inputs: int, outputs: int, width: int, depth: int, members: tuple[int, ...] = ()) -> list:
    """Layers (in, out), or (members, in, out)."""
    sizes = [inputs, *[width] * depth, outputs]
    layers = []
    for layer_key, rows, columns in zip(jax.random.split(key, depth + 1), sizes[:-1], sizes[1:], strict=True):
        limit, row = (6 / (rows + columns)) ** 0.5, (*members, *[1] * len(members), columns)
        kernel = jax.random.uniform(layer_key, (*members, rows, columns), minval=-limit, maxval=limit)
        layers.append({"kernel": kernel, "bias": jnp.zeros(row)})
        if members and len(layers) <= depth:
            layers[-1] |= {"scale": jnp.ones(row), "offset": jnp.zeros(row)}
    return layers


def apply(layers: list, *inputs: jax.Array) -> jax.Array:
    """The network's outputs for a batch of inputs; LayerNorm follows each hidden layer that has a scale."""
    x = jnp.concatenate(inputs, axis=-1)
    for layer in layers[:-1]:
        x = jax.nn.gelu(x @ layer["kernel"] + layer["bias"], approximate=True)
        if "scale" in layer:
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            x = (x - mean) * jax.lax.rsqrt(variance + 1e-6) * layer["scale"] + layer["offset"]
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def value(critic: list, observation: jax.Array, action: jax.Array) -> jax.Array:
    """Both members' values, of shape (2, B)."""
    return apply(critic, observation, action)[..., 0]


def solve(flow: list, observation: jax.Array, noise: jax.Array) -> jax.Array:
    """Euler's method from noise to clipped actions, without a gradient."""
    action = noise
    for step in range(STEPS):
        action = action + apply(flow, observation, action, jnp.full((len(action), 1), step / STEPS)) / STEPS
    return jax.lax.stop_gradient(jnp.clip(action, -1, 1))


def flow_matching(flow: list, batch: dict, key: jax.Array) -> jax.Array:
    """The behaviour's loss."""
    start_key, time_key = jax.random.split(key)
    start = jax.random.normal(start_key, batch["action"].shape)
    time = jax.random.uniform(time_key, (len(start), 1))
    velocity = apply(flow, batch["observation"], (1 - time) * start + time * batch["action"], time)
    return jnp.mean((velocity - (batch["action"] - start)) ** 2)


def temporal_difference(parameters: Parameters, target: Parameters, batch: dict, action: jax.Array) -> jax.Array:
    """The critic's loss, for the policy's actions at s'."""
    following = value(target["critic"], batch["next_observation"], jax.lax.stop_gradient(action)).mean(0)
    wanted = jax.lax.stop_gradient(batch["reward"] + DISCOUNT * batch["mask"] * following)
    return jnp.mean((value(parameters["critic"], batch["observation"], batch["action"]) - wanted) ** 2)


def deflow_loss(parameters: Parameters, target: Parameters, batch: dict, key: jax.Array) -> tuple[jax.Array, dict]:
    """DeFlow's four losses."""
    held = jax.lax.stop_gradient(parameters)
    keys = jax.random.split(key, 4)
    noise = [jax.random.normal(one, batch["action"].shape) for one in keys[:3]]

    def act(parts, observation, noise):
        proposal = solve(parts["flow"], observation, noise)
        moved = apply(parts["refiner"], observation, proposal)
        return jnp.clip(proposal + moved, -1, 1), moved

    critic_loss = temporal_difference(parameters, target, batch, act(held, batch["next_observation"], noise[0])[0])
    action, moved = act({"flow": held["flow"], "refiner": parameters["refiner"]}, batch["observation"], noise[1])
    values, size = value(held["critic"], batch["observation"], action).mean(0), jnp.mean(moved**2)
    multiplier = jnp.exp(held["log_multiplier"])
    refiner_loss = -values.mean() / jax.lax.stop_gradient(jnp.abs(values).mean()) + multiplier * size
    multiplier_loss = -parameters["log_multiplier"] * (jax.lax.stop_gradient(size) - BOUND)
    flow_loss = flow_matching(parameters["flow"], batch, keys[3])
    acted, _ = act(held, batch["observation"], noise[2])
    error = jnp.mean((acted - batch["action"]) ** 2)
    metrics = {"flow_loss": flow_loss, "critic_loss": critic_loss, "size": size, "error": error}
    return critic_loss + refiner_loss + multiplier_loss + flow_loss, metrics


def fql_loss(parameters: Parameters, target: Parameters, batch: dict, key: jax.Array) -> tuple[jax.Array, dict]:
    """FQL's three losses: the refiner is its one-step policy."""
    held = jax.lax.stop_gradient(parameters)
    keys = jax.random.split(key, 3)
    noise = [jax.random.normal(one, batch["action"].shape) for one in keys[:2]]
    following = jnp.clip(apply(held["refiner"], batch["next_observation"], noise[0]), -1, 1)
    critic_loss = temporal_difference(parameters, target, batch, following)
    flow_loss = flow_matching(parameters["flow"], batch, keys[2])
    action = apply(parameters["refiner"], batch["observation"], noise[1])
    distillation = jnp.mean((action - solve(held["flow"], batch["observation"], noise[1])) ** 2)
    values = value(held["critic"], batch["observation"], jnp.clip(action, -1, 1)).mean(0)
    metrics = {"flow_loss": flow_loss, "critic_loss": critic_loss, "distillation": distillation}
    return critic_loss + flow_loss + DISTILLATION * distillation - values.mean(), metrics


LOSSES: dict[str, Loss] = {"deflow": deflow_loss, "fql": fql_loss}


def plain_updates(
    algorithm: str, data: dict[str, np.ndarray], *, width: int, depth: int, batch_size: int
) -> Callable[[], dict[str, jax.Array]]:
    """A function that makes one update and returns its metrics.

    `data` has the columns observation, action, reward, mask and next_observation.
    """
    observation, action = data["observation"].shape[1], data["action"].shape[1]
    keys = jax.random.split(jax.random.key(0), 4)
    parameters: Parameters = {
        "flow": network(keys[0], observation + action + 1, action, width, depth),
        "refiner": network(keys[1], observation + action, action, width, depth),
        "critic": network(keys[2], observation + action, 1, width, depth, members=(2,)),
        "log_multiplier": jnp.ones(()),
    }
    target, optimizer, generator, key = parameters, optax.adam(3e-4), np.random.default_rng(0), keys[3]
    state = optimizer.init(parameters)

    @jax.jit
    def update(parameters, target, state, batch, key):
        gradients, metrics = jax.grad(LOSSES[algorithm], has_aux=True)(parameters, target, batch, key)
        updates, state = optimizer.update(gradients, state)
        parameters = jax.tree.map(jnp.add, parameters, updates)
        critic = jax.tree.map(lambda old, new: old + RATE * (new - old), target["critic"], parameters["critic"])
        return parameters, {**target, "critic": critic}, state, metrics

    def once() -> dict[str, jax.Array]:
        nonlocal parameters, target, state, key
        key, this = jax.random.split(key)
        rows = generator.integers(0, len(data["reward"]), batch_size)
        batch = {name: column[rows] for name, column in data.items()}
        parameters, target, state, metrics = update(parameters, target, state, batch, this)
        return jax.block_until_ready(metrics)

    return once


def plain_policy(
    observation: int, action: int, *, width: int, depth: int
) -> Callable[[np.ndarray, jax.Array], jax.Array]:
    """DeFlow's policy: a function from a batch of observations (B, O) and a key to actions (B, A)."""
    keys = jax.random.split(jax.random.key(0), 2)
    flow = network(keys[0], observation + action + 1, action, width, depth)
    refiner = network(keys[1], observation + action, action, width, depth)

    @jax.jit
    def act(flow, refiner, asked, key):
        proposal = solve(flow, asked, jax.random.normal(key, (len(asked), action)))
        return jnp.clip(proposal + apply(refiner, asked, proposal), -1, 1)

    return lambda asked, key: act(flow, refiner, asked, key)
