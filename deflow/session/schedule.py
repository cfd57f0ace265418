"""When rows, evaluations and checkpoints are due, and what happens to numbers that are not finite."""

import dataclasses
import math
from typing import Literal, NamedTuple

OnNonfinite = Literal["stop", "rollback"]
"""stop: the seed stops; rollback: it returns to the last intact checkpoint and continues with a new key."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How often each thing is due, in steps."""

    log_every: int = 1_000
    """Steps between rows of train.csv."""

    eval_every: int = 100_000
    """Steps between evaluations. The last step is always evaluated."""

    save_every: int = 10_000
    """Steps between checkpoints. The last step is always saved."""

    episodes: int = 50
    """Episodes per evaluation and seed."""

    on_nonfinite: OnNonfinite = "stop"
    """What happens to a seed whose losses or parameters are not finite."""

    rollbacks: int = 3
    """How often a seed may go back before it stops."""

    @property
    def dispatch_size(self) -> int:
        """The largest number of steps, up to 100, with no row or evaluation due in between."""
        common = math.gcd(self.log_every, self.eval_every)
        return max(size for size in range(1, min(common, 100) + 1) if common % size == 0)

    def due(self, before: int, step: int, last: int, *, plays: bool = True) -> "Due":
        """What is due at `step`, if the previous one was `before`. At the `last` step everything is due; evaluations
        are never, unless it `plays` episodes."""

        def crossed(every: int) -> bool:
            return step >= last or step // every > before // every

        return Due(crossed(self.log_every), plays and crossed(self.eval_every), crossed(self.save_every))


class Due(NamedTuple):
    """What is due at a step."""

    log: bool
    """A row of train.csv."""

    evaluation: bool
    """A row of eval.csv."""

    save: bool
    """A checkpoint."""
