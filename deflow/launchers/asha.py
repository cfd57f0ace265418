"""On a Ray cluster, where Ray Tune's ASHA stops poor jobs early."""

import dataclasses
from typing import ClassVar, Literal

from ..errors import SweepError
from .base import AbstractStoppingLauncher, register
from .competition import Competition
from .ray import AbstractRay, Judge
from .sweep import Sweep


@register("ray-asha")
@dataclasses.dataclass(frozen=True)
class RayAsha(AbstractRay, AbstractStoppingLauncher):
    """Tasks of Ray, of which Ray Tune's asynchronous successive halving (Li et al. 2018, arXiv 1810.05934) stops the
    poor ones early.

    Its milestones are `grace` steps, `reduction` times as many, and so on. A job's first evaluation at or after a
    milestone is compared with those that others have there so far: below the best 1 / `reduction` of them, it saves and
    ends. Jobs compete that have a recipe, an environment and a length in common. What other jobs need is not judged.
    """

    packages: ClassVar[tuple[str, ...]] = ("ray", "fsspec", "pandas", "pyarrow", "requests")
    instead_of: ClassVar[str] = "ray"

    score: Literal["auto", "success", "return", "value"] = "auto"
    """What is compared, as its mean over a job's seeds: success, the return, or the value that is estimated from data;
    auto: the first of them that there is."""

    grace: int = 0
    """Steps that every job makes before it can be stopped; 0: a tenth of its length."""

    reduction: float = 3.0
    """One of so many goes on at each milestone, which is so many times as far as the one before."""

    def __post_init__(self):
        self.check_resources()
        if self.grace < 0 or not self.reduction > 1:
            raise SweepError(
                f"grace must be at least 0 and reduction more than 1, got {self.grace} and {self.reduction}."
            )

    @property
    def rule(self) -> str:
        score = "success, or else the return, or else the value" if self.score == "auto" else f"the {self.score}"
        first = f"step {self.grace:,}" if self.grace else "a tenth of the length"
        factor = f"{self.reduction:g}"
        return f"by {score}, the best 1 in {factor} of a task's runs go on at {first}, and {factor} times as far, ..."

    def judge(self, sweep: Sweep) -> Judge:
        score = "" if self.score == "auto" else self.score
        return Competition(sweep, score=score, grace=self.grace, reduction=self.reduction).poor
