"""Returns of n steps: rewards that were seen stand where the critic's own value stood."""

import numpy as np

from ..types import Batch


def n_step_returns(data: Batch, steps: int, *, discount: float) -> Batch:
    """The same N transitions, each followed for up to `steps` steps of its trajectory (Sutton and Barto 2018,
    equation 7.1). Row t, followed for k steps, has

        reward            r_t + discount * r_(t+1) + ... + discount^(k-1) * r_(t+k-1)
        mask              discount^(k-1) * mask_(t+k-1)
        next observation  s'_(t+k-1)

    so that reward + discount * mask * value(next observation) is the k-step target: a critic needs to know nothing of
    it, and rows of different k may be mixed. A row is followed for fewer steps where the task was solved (mask 0) or
    the trajectory ends. The actions behind a row's own are the data's, not the policy's: no correction is made for it.

    Args:
        data: Transitions in the order in which they were made (NumPy arrays), with `extras["trajectory_end"]`.
        steps: n, at least 1; 1 returns the data as it is.
        discount: Discount factor per step.

    Raises:
        ValueError: Where the data does not say where trajectories end.
    """
    if steps == 1:
        return data
    if "trajectory_end" not in data.extras:
        raise ValueError(
            f"Returns of {steps} steps need to know where trajectories end: give the data a column "
            'extras["trajectory_end"] (1 at a trajectory\'s last transition), or the agent n_step=1.'
        )
    reward, mask = (np.asarray(column, np.float64) for column in (data.reward, data.mask))
    ends = (np.asarray(data.extras["trajectory_end"]) != 0) | (mask == 0)
    ends[-1:] = True
    last, factor, total = np.arange(len(data)), np.ones(len(data)), reward.copy()
    for _ in range(steps - 1):
        goes_on = ~ends[last]
        factor[goes_on] *= discount
        last[goes_on] += 1
        total[goes_on] += factor[goes_on] * reward[last[goes_on]]
    return Batch(
        observation=data.observation,
        action=data.action,
        reward=total.astype(np.float32),
        mask=(factor * mask[last]).astype(np.float32),
        next_observation=np.asarray(data.next_observation)[last],
        extras=data.extras,
    )
