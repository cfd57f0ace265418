"""The agent's loss in NumPy, in float64, from the formulas of arXiv 2601.10471. It shares no code with deflow: only the
arrays are read out of it, and the same noise is given to both."""

import equinox as eqx
import jax
import numpy as np


def gelu(x):
    """The tanh approximation."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, scale, offset):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale + offset


def mlp(network, x):
    """`network` is what `arrays` gives; `x` has rows."""
    x = np.asarray(x, np.float64)
    for index, (weight, bias) in enumerate(network["layers"]):
        x = x @ weight.T + bias
        if index + 1 < len(network["layers"]):
            x = gelu(x)
            if network["norms"]:
                x = layer_norm(x, *network["norms"][index])
    return x


def arrays(network, member=...):
    """An MLP's arrays in float64; of one member, where they are stacked."""

    def read(array):
        return np.array(array, np.float64)[member]

    return {
        "layers": [(read(layer.weight), read(layer.bias)) for layer in network.layers],
        "norms": [(read(norm.weight), read(norm.bias)) for norm in network.norms],
    }


def parameters(agent):
    """All that the loss depends on."""
    members = range(agent.critic.members.network.layers[0].weight.shape[0])
    return {
        "field": arrays(agent.field.network),
        "refiner": arrays(agent.refiner.network),
        "critic": [arrays(agent.critic.members.network, member) for member in members],
        "target": [arrays(agent.critic.target.value.network, member) for member in members],
        "log_alpha": np.array(agent.constraint.log_multiplier, np.float64),
    }


def perturbed(tree, key=None, scale=0.3):
    """The same part with all its arrays moved at random: biases are not zero, norms not one, the target not the
    critic."""
    moving, rest = eqx.partition(tree, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(moving)
    seed = 0 if key is None else int(jax.random.randint(key, (), 0, 1000))
    random = np.random.default_rng(seed)
    leaves = [leaf + np.asarray(scale * random.standard_normal(leaf.shape), np.float32) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


def clip(a):
    return np.minimum(np.maximum(a, -1), 1)


def join(*columns):
    return np.concatenate(columns, axis=-1)


def propose(field, o, z, steps):
    """clip(Euler(v, z), -1, 1) at t = 0, 1/steps, ..."""
    x = np.asarray(z, np.float64)
    for index in range(steps):
        time = np.full((*x.shape[:-1], 1), index / steps)
        x = x + mlp(field, join(o, x, time)) / steps
    return clip(x)


def displace(refiner, o, base):
    return mlp(refiner, join(o, base))


def act(p, o, z, steps):
    base = propose(p["field"], o, z, steps)
    return clip(base + displace(p["refiner"], o, base))


def values(critic, o, a):
    """One row per member."""
    return np.stack([mlp(member, join(o, a))[..., 0] for member in critic])


def aggregate(q, aggregation, deviations=0.5):
    if aggregation == "mean-std":
        return q.mean(0) - deviations * q.std(0)
    return {"mean": q.mean(0), "min": q.min(0)}[aggregation]


def best(p, o, z, steps, aggregation):
    """The executed action of highest aggregated Q among z's candidates: z has shape (rows, candidates, A)."""
    chosen = []
    for observation, noises in zip(o, z, strict=True):
        rows = np.repeat(observation[None], len(noises), 0)
        actions = act(p, rows, noises, steps)
        scores = aggregate(values(p["critic"], rows, actions), aggregation)
        chosen.append(actions[np.argmax(scores)])
    return np.stack(chosen)


def terms(live, held, batch, noise, *, discount, aggregation, bound, steps, normalize):
    """The terms of the loss, and the total. `held` is what stands behind a stop_gradient: the same as `live`, except
    while a coordinate of `live` is moved to measure a slope."""
    o, a, r, mask, o2 = (np.asarray(column, np.float64) for column in batch)
    a2 = best(held, o2, noise["next"], steps, aggregation)
    y = r + discount * mask * aggregate(values(held["target"], o2, a2), aggregation)
    td = ((values(live["critic"], o, a) - y) ** 2).mean()

    x0, time = np.asarray(noise["start"], np.float64), np.asarray(noise["time"], np.float64)[:, None]
    flow = ((mlp(live["field"], join(o, (1 - time) * x0 + time * a, time)) - (a - x0)) ** 2).mean()

    base = propose(held["field"], o, noise["noise"], steps)
    moves = displace(live["refiner"], o, base)
    held_moves = displace(held["refiner"], o, base)
    q = values(held["critic"], o, clip(base + moves)).mean(0)
    held_q = values(held["critic"], o, clip(base + held_moves)).mean(0)
    size, held_size = (moves**2).mean(), (held_moves**2).mean()
    value = -q.mean() / (np.abs(held_q).mean() if normalize else 1)
    pull = np.exp(held["log_alpha"]) * size
    multiplier = -live["log_alpha"] * (held_size - bound)
    refiner = value + pull + multiplier
    return {
        "critic_loss": td,
        "flow_loss": flow,
        "refiner_loss": refiner,
        "loss": td + flow + refiner,
        "size": size,
        "value": q.mean(),
        "multiplier": np.exp(held["log_alpha"]),
        "critic_target": y.mean(),
        "bound": bound,
    }
