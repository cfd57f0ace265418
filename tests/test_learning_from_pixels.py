"""From pictures of 16 x 16 alone: the flow imitates a policy that mostly fails, and the refiner finds the target."""

import image_environment
import jax
import numpy as np

import deflow
from deflow.constraints import DualConstraintConfig
from deflow.critics import EnsembleCriticConfig
from deflow.encoders import ImpalaSmallConfig
from deflow.trust_regions import MeanSquare

KEY = jax.random.key(1)
EPISODES = 60
ENCODER = ImpalaSmallConfig(stacks=(8, 16), blocks=0, features=128)
PARTS = {"encoder": ENCODER, "augmentation": "none", "width": 128, "depth": 2}


def success(agent):
    """The fraction of episodes in which the point reaches the target."""
    environments = [image_environment.Reach(16) for _ in range(EPISODES)]
    pictures = [each.reset(seed=number)[0].copy() for number, each in enumerate(environments)]
    reached = np.zeros(EPISODES, bool)
    for step in range(image_environment.STEPS):
        actions = np.asarray(agent(np.stack(pictures), key=jax.random.key(step)))
        outcomes = [each.step(action) for each, action in zip(environments, actions, strict=True)]
        pictures = [outcome[0].copy() for outcome in outcomes]
        reached |= [outcome[2] for outcome in outcomes]
    return reached.mean()


def test_deflow_learns_from_pixels_what_the_behaviour_cannot(tmp_path):
    np.savez(tmp_path / "seen.npz", **image_environment.played(600, size=16, noise=5.0))
    task = deflow.load_task("seen/SmallReach-v0", tmp_path / "seen.npz")
    settings = {"batch_size": 64, "key": KEY}

    config = deflow.agent_config("flow-bc", **PARTS)
    flow = deflow.Learner.create(config, task.spec, task.train, learning_rate=1e-3, key=KEY)
    *_, (_, flow, _) = deflow.train_offline(flow, task.train, steps=400, **settings)
    assert success(flow.agent) <= 0.5

    proposals = deflow.draw_proposals(flow.agent, task.train, 16, key=KEY, progress=False)
    config = deflow.agent_config(
        **PARTS,
        critic=EnsembleCriticConfig(target_rate=0.05),
        trust_region=MeanSquare(bound=0.3),
        constraint=DualConstraintConfig(initial_log_multiplier=-3.0),
        discount=0.9,
    )
    learner = deflow.Learner.create(config, task.spec, task.train, learning_rate=1e-3, key=KEY)
    learner, reached = learner.with_behaviour(flow.agent), 0.0
    for step, now, _ in deflow.train_offline(learner, task.train, steps=3000, proposals=proposals, **settings):
        if step % 500 == 0 and (reached := success(now.agent)) >= 0.8:
            break
    assert reached >= 0.8
