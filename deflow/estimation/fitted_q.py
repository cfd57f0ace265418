"""Fitted Q evaluation: critics of a fixed policy, learned from logged data alone (Le et al. 2019, arXiv 1903.08738).

To a critic, a fixed policy is what a frozen flow is in training from proposals: something whose actions in every state
are drawn beforehand. So an agent that consists of a critic alone, trained from the policy's actions as its proposals,
learns the policy's value.
"""

import dataclasses
import math
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ..agent import Agent, AgentConfig
from ..behaviour import Proposals, States, behaviour_digest
from ..blocks import in_blocks
from ..constraints import NoConstraint
from ..critics import AbstractCritic, AbstractCriticConfig, EnsembleCriticConfig, registry
from ..encoders import AbstractEncoder, AbstractEncoderConfig, Identity, ImpalaSmallConfig, StandardizeConfig
from ..errors import EstimationError, EvaluationInterrupted
from ..fields import MLPFieldConfig
from ..keys import named_key
from ..progress import Bar
from ..refiners import NoRefiner
from ..solvers import Euler
from ..training import Devices, Learner, train_offline
from ..trust_regions import NoTrustRegion
from ..types import Batch, Spec

CRITIC = EnsembleCriticConfig(members=1, width=256, depth=2, target_rate=0.05)
"""The default critic. Its target follows quickly, since the policy that it judges stands still."""

LEARNING_RATE = 1e-3
"""Adam's, at first; it falls to 0 along half a cosine."""

_BLOCK = 1 << 15  # values that are computed together


class FittedQ:
    """Independent critics of one policy: Q(s, a) = r + discount * mask * E Q(s', a'), a' from the policy.

    They are fitted to rewards that were divided by the largest one; `values` are in the data's units.
    """

    def __init__(
        self,
        agent: Agent,
        data: Batch,
        actions: np.ndarray,
        *,
        config: AgentConfig,
        members: int,
        steps: int,
        batch_size: int,
        key: Key[Array, ""],
    ):
        """Critics before their first update.

        Args:
            agent: The policy. Of one with chunks, what it executes at once is judged as one action.
            data: N transitions of whole trajectories, with the rewards to be summed.
            actions: The policy's own in the M states of the data, shape (M, K, execute * A).
            config: Of `judge_config`.
            members: Number of independent critics.
            steps: Updates, in which the learning rate falls to 0.
            batch_size: Transitions in an update.
            key: What is random is made from this.
        """
        self._data, self._largest = _scaled(data)
        self._steps, self._batch_size = steps, batch_size
        self._keys = jax.random.split(named_key(key, "critics"), members)
        learner = Learner.create(
            config, agent.spec, self._data, learning_rate=LEARNING_RATE, decay_steps=steps, key=self._keys
        )
        self._learner = learner.with_behaviour(learner.seed(0).agent)  # a flow that all share, and none asks
        flow = behaviour_digest(self._learner.seed(0).agent)
        self._actions = Proposals(actions, key, flow, States.of(data).digest)

    def fit(self, until: int, *, bar: Bar, interrupt: threading.Event | None = None) -> None:
        """Fits on, to `until` updates.

        Raises:
            EstimationError: If numbers are no longer finite.
            EvaluationInterrupted: If `interrupt` is set.
        """
        updates = train_offline(
            self._learner,
            self._data,
            steps=until,
            key=self._keys,
            batch_size=self._batch_size,
            proposals=self._actions,
            devices=Devices(seeds=1),  # where the policy is
        )
        for step, self._learner, metrics in updates:
            if interrupt is not None and interrupt.is_set():
                raise EvaluationInterrupted("Interrupted while the critics were fitted.")
            if not np.isfinite(metrics["critic_loss"]).all():
                raise EstimationError(
                    f"The fitted critics have diverged at update {step:,}: choose another critic, or one whose target "
                    "follows more slowly (a smaller target_rate)."
                )
            bar.update(step - bar.n)

    def values(self, observations: Array | np.ndarray, actions: np.ndarray) -> Float[np.ndarray, "members states"]:
        """Every critic's mean value of the K actions (n, K, execute * A) in n states."""
        return values_of(self._learner.agent.critic, observations, actions, stacked=True) * self._largest


def judging_critic(name: str) -> AbstractCritic | AbstractCriticConfig:
    """A registered critic with the default critic's sizes and target rate, as far as it has such fields.

    Raises:
        UnknownNameError: If none has this name.
    """
    kind = registry[name]
    shared = {field.name: getattr(CRITIC, field.name) for field in dataclasses.fields(CRITIC)}
    return kind(**{field.name: shared[field.name] for field in dataclasses.fields(kind) if field.name in shared})


def judge_config(agent: Agent, critic: AbstractCritic | AbstractCriticConfig) -> AgentConfig:
    """An agent that consists of a critic alone, which judges what `agent` executes at once.

    Raises:
        ValueError: If the critic does not look at a policy's next actions, and so cannot judge one.
    """
    config = AgentConfig(
        encoder=_encoder(agent.spec),
        field=MLPFieldConfig(width=1, depth=1),
        solver=Euler(steps=1),
        refiner=NoRefiner(),
        trust_region=NoTrustRegion(),
        constraint=NoConstraint(),
        critic=critic,
        discount=agent.discount,
        chunk=agent.execute,
    )
    if next_actions(config, agent.spec) < 1:
        name = registry.name_of(critic)
        raise ValueError(f"{name} does not look at a policy's next actions, so it cannot judge one: choose 'ensemble'.")
    return config


def _encoder(spec: Spec) -> AbstractEncoder | AbstractEncoderConfig:
    """What suits such observations."""
    if len(spec.observation_shape) == 3:
        return ImpalaSmallConfig()
    return Identity() if spec.observation_dtype == "uint8" else StandardizeConfig()


def next_actions(config: AgentConfig, spec: Spec) -> int:
    """How many different actions of the policy the critic's target takes."""
    judge = eqx.filter_eval_shape(lambda: config.build(spec, config.placeholder_data(spec), key=jax.random.key(0)))
    return judge.critic.next_actions


def values_of(
    critic: AbstractCritic, observations: Array | np.ndarray, actions: Array | np.ndarray, *, stacked: bool = False
) -> np.ndarray:
    """The mean value of the K actions (n, K, A) in n states, shape (n,); of `stacked` critics, (members, n)."""
    block, found = max(_BLOCK // actions.shape[1], 1), []
    for start in range(0, len(actions), block):
        rows = np.arange(start, start + block).clip(max=len(actions) - 1)  # one program
        values = _values(critic, jnp.asarray(observations[rows]), jnp.asarray(actions[rows]), stacked)
        found.append(np.asarray(values)[..., : len(actions) - start])
    return np.concatenate(found, axis=-1)


@eqx.filter_jit
def _values(critic: AbstractCritic, observations: Array, actions: Array, stacked: bool) -> Array:
    def one(critic: AbstractCritic) -> Array:
        value = jax.vmap(critic.value, in_axes=(None, 0))
        return jnp.mean(in_blocks(value, observations, actions, rows=actions.shape[1]), axis=1)

    return eqx.filter_vmap(one)(critic) if stacked else one(critic)


def _scaled(data: Batch) -> tuple[Batch, float]:
    """The data with rewards of at most 1, and what they were divided by."""
    largest = float(np.abs(data.reward).max())
    largest = largest if largest > 0 and math.isfinite(1 / largest) else 1.0
    return dataclasses.replace(data, reward=(data.reward / largest).astype(np.float32)), largest
