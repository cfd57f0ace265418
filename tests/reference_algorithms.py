"""The losses of the other rows of the table in NumPy, in float64, from the papers' formulas: FQL, FBRAC and IFQL
(arXiv 2502.02538), best of N (arXiv 2507.07969), floq (arXiv 2509.06863), FAN (arXiv 2605.01663), and DeFlow with
projected moves or with a categorical critic (arXiv 2403.03950) of n-step returns.

As in `reference`, no code is shared with deflow: arrays are read out of an agent, and the same noise is given to both.
What stands behind a stop_gradient is computed from `held`, which equals `live` except while a slope is measured.
"""

import numpy as np
from reference import act, aggregate, arrays, clip, displace, join, mlp, propose, values
from scipy.special import log_softmax, softmax
from scipy.stats import norm


def parameters(agent):
    """All that the losses depend on, by part, as far as the agent has it. Of an agent's gradient: the same, of the
    trained parts."""

    def members(part):
        count = part.network.layers[0].weight.shape[0]
        return [arrays(part.network, member) for member in range(count)]

    critic, found = agent.critic, {"field": arrays(agent.field.network)}
    if hasattr(agent.refiner, "network"):
        found["refiner"] = arrays(agent.refiner.network)
    if hasattr(agent.constraint, "log_multiplier"):
        found["log_alpha"] = np.array(agent.constraint.log_multiplier, np.float64)
    if hasattr(critic, "members"):
        found["critic"] = members(critic.members)
    if hasattr(critic, "velocities"):
        found["velocities"] = members(critic.velocities)
    if hasattr(critic, "state_value"):
        found["state_value"] = arrays(critic.state_value.network)
    if hasattr(critic, "upper"):
        found["upper"] = members(critic.upper)
    if hasattr(critic, "target") and critic.target.value.network.layers[0].weight is not None:
        found["target"] = members(critic.target.value)
    return found


# --- terms that rows share


def flow_matching(live, batch, noise):
    o, a, *_ = batch
    start, time = noise["start"], noise["time"][:, None]
    velocity = mlp(live["field"], join(o, (1 - time) * start + time * a, time))
    return ((velocity - (a - start)) ** 2).mean()


def temporal_difference(live, held, batch, next_action, s):
    """(Q_e(o, a) - y)^2 with y = r + discount * mask * agg_e Qtarget_e(o', a')."""
    o, a, r, mask, o2 = batch
    y = r + s["discount"] * mask * aggregate(values(held["target"], o2, next_action), s["aggregation"])
    q = values(live["critic"], o, a)
    return {"critic_loss": ((q - y) ** 2).mean(), "critic_value": q.mean(), "critic_target": y.mean()}


def climb(live, held, o, noise, s, q=values):
    """DeFlow's refiner and multiplier: -q / |q| + alpha * size - log(alpha) * (size - bound)."""
    base = propose(held["field"], o, noise["noise"], s["steps"])
    moves, held_moves = displace(live["refiner"], o, base), displace(held["refiner"], o, base)
    value = q(held["critic"], o, clip(base + moves)).mean(0)
    scale = np.abs(q(held["critic"], o, clip(base + held_moves)).mean(0)).mean()
    size, held_size = (moves**2).mean(), (held_moves**2).mean()
    alpha = np.exp(held["log_alpha"])
    return {
        "refiner_loss": -value.mean() / scale + alpha * size - live["log_alpha"] * (held_size - s["bound"]),
        "value": value.mean(),
        "size": size,
        "bound": s["bound"],
        "multiplier": alpha,
    }


def total(found, s, *, flow_weight=1.0):
    refiner = found.get("refiner_loss", 0.0)
    return {**found, "loss": found["critic_loss"] + flow_weight * found["flow_loss"] + refiner}


# --- rows


def flow_bc(live, held, batch, noise, s):
    return total({"critic_loss": 0.0, "flow_loss": flow_matching(live, batch, noise)}, s)


def fql(live, held, batch, noise, s):
    """alpha |mu(o, z) - ODE(o, z)|^2 - Q(o, clip mu(o, z)), and clip(mu(o', z')) in the target: no solve there."""
    o, _, _, _, o2 = batch
    next_action = clip(mlp(held["refiner"], join(o2, noise["next"][:, 0, 0])))
    base = propose(held["field"], o, noise["noise"], s["steps"])
    mu = mlp(live["refiner"], join(o, noise["noise"]))
    size, q = ((mu - base) ** 2).mean(), values(held["critic"], o, clip(mu)).mean()
    found = {
        **temporal_difference(live, held, batch, next_action, s),
        "flow_loss": flow_matching(live, batch, noise),
        "refiner_loss": s["alpha"] * size - q,
        "value": q,
        "size": size,
        "bound": s["bound"],
        "multiplier": s["alpha"],
    }
    return total(found, s)


def fbrac(live, held, batch, noise, s):
    """-Q(o, clip(ODE(o, z))) with the flow live in every step, and a weight on flow matching."""
    o, _, _, _, o2 = batch
    next_action = propose(held["field"], o2, noise["next"][:, 0, 0], s["steps"])
    action = propose(live["field"], o, noise["noise"], s["steps"])
    q = values(held["critic"], o, action).mean()
    found = {
        **temporal_difference(live, held, batch, next_action, s),
        "flow_loss": flow_matching(live, batch, noise),
        "refiner_loss": -q,
        "value": q,
        "size": 0.0,
        "multiplier": 0.0,
    }
    return total(found, s, flow_weight=s["flow_weight"])


def ifql(live, held, batch, noise, s):
    """V by an expectile of min_e Qtarget, Q by r + discount * mask * V(o'), summed over its members."""
    o, a, r, mask, o2 = batch
    state_value = mlp(live["state_value"], o)[:, 0]
    gap = values(held["target"], o, a).min(0) - state_value
    expectile = (np.where(gap > 0, s["expectile"], 1 - s["expectile"]) * gap**2).mean()
    y = r + s["discount"] * mask * mlp(held["state_value"], o2)[:, 0]
    q = values(live["critic"], o, a)
    found = {
        "critic_loss": expectile + ((q - y) ** 2).sum(0).mean(),
        "critic_value": q.mean(),
        "critic_target": y.mean(),
        "state_value": state_value.mean(),
        "state_value_loss": expectile,
        "flow_loss": flow_matching(live, batch, noise),
    }
    return total(found, s)


def fan(live, held, batch, noise, s):
    """No solve: actions are held by v on the straight path from their noise, and Q is told the noise that made a'."""
    o, a, r, mask, o2 = batch
    z2 = noise["next"][:, 0, 0]
    a2 = clip(mlp(held["refiner"], join(o2, z2)))
    off = anchor(held["field"], o2, a2, z2, noise["next region time"][:, :1])
    penalty = s["penalty"] * (off**2).sum(-1)
    y = r + s["discount"] * mask * (values(held["upper"], o2, a2).mean(0) - penalty)
    q = values(live["critic"], o, join(a, z2))
    upper = values(live["upper"], o, a)
    gap = values(held["target"], o, join(a, noise["of data"])).mean(0) - upper
    upper_loss = (np.where(gap >= 0, s["expectile"], 1 - s["expectile"]) * gap**2).mean()

    mu = mlp(live["refiner"], join(o, noise["noise"]))
    size = (anchor(held["field"], o, mu, noise["noise"], noise["region time"][:, None]) ** 2).mean()
    value = values(held["critic"], o, join(clip(mu), noise["of value"])).mean()
    value += values(held["upper"], o, clip(mu)).mean()
    found = {
        "critic_loss": ((q - y) ** 2).mean() + upper_loss,
        "critic_value": q.mean(),
        "critic_target": y.mean(),
        "critic_penalty": penalty.mean(),
        "critic_upper_value": upper.mean(),
        "critic_upper_loss": upper_loss,
        "flow_loss": flow_matching(live, batch, noise),
        "refiner_loss": s["alpha"] * size - value,
        "value": value,
        "size": size,
        "bound": s["bound"],
        "multiplier": s["alpha"],
    }
    return total(found, s)


def anchor(field, o, a, z, time):
    """(a - z) - v(o, (1 - t) z + t a, t)."""
    return (a - z) - mlp(field, join(o, (1 - time) * z + time * a, time))


def bfn(live, held, batch, noise, s):
    """Of the candidates at o', the online critic's best; the target critic's value of it."""
    o2 = batch[4]
    next_action, _ = best_of(held, o2, noise["next"][:, 0], s, s["aggregation"])
    found = {
        **temporal_difference(live, held, batch, next_action, s),
        "flow_loss": flow_matching(live, batch, noise),
    }
    return total(found, s)


def deflow_pessimistic(live, held, batch, noise, s):
    """DeFlow whose target takes the members' mean minus half of their standard deviation."""
    next_action = act(held, batch[4], noise["next"][:, 0, 0], s["steps"])
    found = {
        **temporal_difference(live, held, batch, next_action, s),
        "flow_loss": flow_matching(live, batch, noise),
        **climb(live, held, batch[0], noise, s),
    }
    return total(found, s)


def deflow_chunked(live, held, batch, noise, s):
    """DeFlow on windows."""
    return deflow_pessimistic(live, held, windows(batch, s), noise, s)


def qc(live, held, batch, noise, s):
    """The flow's best window of several, in the target."""
    return bfn(live, held, windows(batch, s), noise, s)


def qc_fql(live, held, batch, noise, s):
    """FQL on windows."""
    return fql(live, held, windows(batch, s), noise, s)


def windows(batch, s):
    """Each row with the next h - 1 of its trajectory, if it has so many: the actions one after another, the discounted
    rewards, the h-th power of the discount but for the one that every target has."""
    o, a, r, mask, o2 = batch
    found = []
    for row in range(len(o) - s["chunk"] + 1):
        rows = range(row, row + s["chunk"])
        if any(s["terminal"][step] for step in rows[:-1]):
            continue
        reward = factor = 0.0
        for step in reversed(rows):
            reward = r[step] + s["discount"] * mask[step] * reward
            factor = mask[step] * (1.0 if step == rows[-1] else s["discount"] * factor)
        found.append((o[row], np.concatenate([a[step] for step in rows]), reward, factor, o2[rows[-1]]))
    return [np.stack(column) for column in zip(*found, strict=True)]


def deflow_best(live, held, batch, noise, s):
    """DeFlow with a critic that classifies n of the data's rewards and the value that follows them."""
    o, a, _, _, o2 = batch
    total_reward, factor, last = np.transpose([followed(row, batch, s) for row in range(len(o))])
    o2 = o2[last.astype(int)]
    next_action = act(held, o2, noise["next"][:, 0, 0], s["steps"])
    y = total_reward + factor * aggregate(expected_returns(held["target"], o2, next_action, s), s["aggregation"])
    edges = return_edges(s)
    wanted = histogram(y, edges, 0.75 * (edges[1] - edges[0]))
    entropy = [-(wanted * log_softmax(mlp(member, join(o, a)), axis=-1)).sum(-1) for member in live["critic"]]
    found = {
        "critic_loss": np.mean(entropy),
        "critic_value": expected_returns(live["critic"], o, a, s).mean(),
        "critic_target": y.mean(),
        "flow_loss": flow_matching(live, batch, noise),
        **climb(live, held, o, noise, s, lambda critic, o, a: expected_returns(critic, o, a, s)),
    }
    return total(found, s)


def followed(row, batch, s):
    """(r + discount * r' + ..., the factor of what follows, the last row) of up to n steps from a row."""
    _, _, r, mask, _ = batch
    reward, factor = r[row], s["discount"] * mask[row]
    for _ in range(s["n_step"] - 1):
        if s["terminal"][row] or mask[row] == 0:
            break
        row += 1
        reward, factor = reward + factor * r[row], factor * s["discount"] * mask[row]
    return reward, factor, row


def return_edges(s):
    """102 edges around [r_min, r_max] / (1 - discount) and three deviations (of 0.75 bins) more on either side."""
    lowest, highest = (bound / (1 - s["discount"]) for bound in s["rewards"])
    width = (highest - lowest) / (101 - 2 * 3 * 0.75)
    return (lowest + highest) / 2 + width * np.arange(-50.5, 51)


def expected_returns(critic, o, a, s):
    """One row per member: the mean of its classes' middles."""
    edges = return_edges(s)
    middles = (edges[1:] + edges[:-1]) / 2
    return np.stack([softmax(mlp(member, join(o, a)), axis=-1) @ middles for member in critic])


def projected(held, live, o, base, radius):
    """f(o, a_base), shortened to the radius where it is longer; `held` is the flow's, `live` the refiner's."""
    move = displace(live["refiner"], o, base)
    length = np.linalg.norm(move, axis=-1, keepdims=True)
    return move * np.minimum(1, radius / length)


def deflow_projected(live, held, batch, noise, s):
    """Every move inside a ball; nothing is added to the loss."""
    o, _, _, _, o2 = batch
    radius = np.sqrt(noise["noise"].shape[-1] * s["bound"])
    next_base = propose(held["field"], o2, noise["next"][:, 0, 0], s["steps"])
    next_action = clip(next_base + projected(held, held, o2, next_base, radius))
    base = propose(held["field"], o, noise["noise"], s["steps"])
    moves = projected(held, live, o, base, radius)
    q = values(held["critic"], o, clip(base + moves)).mean(0)
    held_q = values(held["critic"], o, clip(base + projected(held, held, o, base, radius))).mean(0)
    found = {
        **temporal_difference(live, held, batch, next_action, s),
        "flow_loss": flow_matching(live, batch, noise),
        "refiner_loss": -q.mean() / np.abs(held_q).mean(),
        "value": q.mean(),
        "size": (moves**2).mean(),
        "bound": s["bound"],
        "multiplier": 0.0,
    }
    return total(found, s)


def deflow_flow_critic(live, held, batch, noise, s):
    """A critic that is a flow, distilled into the plain one that the refiner climbs."""
    o, a, r, mask, o2 = batch
    lowest, highest = (s["start"] * bound / (1 - s["discount"]) for bound in s["rewards"])
    starts, next_starts = (lowest + (highest - lowest) * noise[name] for name in ("starts", "next starts"))
    noises = starts.shape[1]

    bootstrap = []
    for j in range(noises):
        next_action = act(held, o2, noise["next"][:, j, 0], s["steps"])
        ends = carried(held["target"], o2, next_action, next_starts[:, j], s)
        bootstrap.append(r + s["discount"] * mask * aggregate(ends, s["aggregation"]))
    y = np.mean(bootstrap, 0)

    velocity, current = 0.0, []
    for j in range(noises):
        x0, time = starts[:, j], noise["times"][:, j]
        inputs = join(o, a, *seen((1 - time) * x0 + time * y, time, s))
        errors = np.stack([mlp(member, inputs)[:, 0] - (y - x0) for member in live["velocities"]])
        velocity += (errors**2).mean()
        current.append(carried(held["velocities"], o, a, x0, s))
    current = np.mean(current, (0, 1))
    q = values(live["critic"], o, a)
    distillation = ((q - current) ** 2).mean()

    found = {
        "critic_loss": velocity + distillation,
        "critic_value": q.mean(),
        "critic_target": y.mean(),
        "critic_flow_value": current.mean(),
        "critic_velocity_loss": velocity,
        "critic_distillation_loss": distillation,
        "flow_loss": flow_matching(live, batch, noise),
        **climb(live, held, o, noise, s),
    }
    return total(found, s)


# --- the flow critic


def histogram(x, edges, deviation):
    """One row per number: the Gaussian's mass between the edges, as shares."""
    mass = np.diff(norm.cdf(edges, loc=np.asarray(x)[:, None], scale=deviation), axis=-1)
    return mass / mass.sum(-1, keepdims=True)


def seen(x, time, s):
    """x among 50 bins whose edges are spread over [r_min - 0.01, r_max + 0.01] / (1 - discount), blurred by a Gaussian
    of 16 bin widths; t in 64 cosines."""
    edges = np.linspace(s["rewards"][0] - 0.01, s["rewards"][1] + 0.01, 51) / (1 - s["discount"])
    frequencies = np.pi * np.arange(1, 65)
    return histogram(x, edges, 16 * (edges[1] - edges[0])), np.cos(time[:, None] * frequencies)


def carried(velocities, o, a, start, s):
    """Euler from each start: one row per member."""
    ends = []
    for member in velocities:
        x = np.array(start)
        for index in range(s["critic_steps"]):
            time = np.full(len(x), index / s["critic_steps"])
            x = x + mlp(member, join(o, a, *seen(x, time, s)))[:, 0] / s["critic_steps"]
        ends.append(x)
    return np.stack(ends)


# --- acting without a refiner


def best_of(p, o, z, s, aggregation):
    """The flow's proposal of highest aggregated online Q among z's candidates, shape (rows, candidates, A), and which
    one it is."""
    actions = np.stack([propose(p["field"], o, z[:, n], s["steps"]) for n in range(z.shape[1])])
    scores = np.stack([aggregate(values(p["critic"], o, action), aggregation) for action in actions])
    chosen = scores.argmax(0)
    return actions[chosen, np.arange(len(o))], chosen
