"""Values of flags: what other programs write is understood, and what cannot be a value is said in one sentence."""

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from deflow.cli.values import spelled, types_of, types_of_parts
from deflow.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Options:
    steps: int = 10
    rate: float = 0.1
    seeds: tuple[int, ...] = (0,)
    files: tuple[Path, ...] = ()
    budget: Literal["paper", "quickstart"] = "paper"
    step: int | Literal["best"] | None = None
    pair: tuple[int, int] | None = None
    fast: bool = False
    name: str = ""
    where: Path | None = None


TYPES = types_of(Options) | types_of_parts()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("--seeds 0,1,2", "--seeds 0 1 2"),
        ("--seeds=0,1", "--seeds 0 1"),
        ("--seeds 0, 1", "--seeds 0 1"),
        ("--pair 0,3", "--pair 0 3"),
        ("--steps 1e5", "--steps 100000"),
        ("--steps=1_000", "--steps 1_000"),
        ("--steps 1,000,000", "--steps 1000000"),
        ("--steps 256.0", "--steps 256"),
        ("--steps -5", "--steps -5"),
        ("--rate 1e-3", "--rate 0.001"),
        ("--rate -1", "--rate -1.0"),
        ("--step best", "--step best"),
        ("--step 1e3", "--step 1000"),
        ("--step None", "--step None"),
        ("--fast", "--fast"),
        ("--fast False", "--no-fast"),
        ("--fast=true", "--fast"),
        ("--no-fast", "--no-fast"),
        ("--fast --steps 5", "--fast --steps 5"),
        ("--budget quickstart", "--budget quickstart"),
        ("--name a,b --where x,y", "--name a,b --where x,y"),
        ("--files a,b c", "--files a,b c"),
        ("--solver.steps 5.0 solver:heun", "--solver.steps 5 solver:heun"),
        ("--trust-region.bound auto", "--trust-region.bound auto"),
        ("--refiner.inner.width 8", "--refiner.inner.width 8"),
        ("--normalize_value False", "--no-normalize-value"),
    ],
)
def test_values_are_read(given, read):
    assert spelled(given.split(), TYPES) == read.split()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("--steps", "--steps needs a value: a whole number."),
        ("--steps --rate 1", "--steps needs a value: a whole number."),
        ("--steps solver:heun", "--steps needs a value: a whole number."),
        ("--seeds", "--seeds needs a value: a whole number."),
        ("--steps many", "--steps takes a whole number, got many."),
        ("--steps 2.5", "--steps takes a whole number, got 2.5."),
        ("--steps inf", "--steps takes a whole number, got inf."),
        ("--seeds 0,x", "--seeds takes a whole number, got x."),
        ("--rate fast", "--rate takes a number, got fast."),
        ("--step last", "--step takes a whole number or 'best', got last."),
        ("--budget quick", "Unknown --budget 'quick'. Did you mean 'quickstart'? Choose from: paper, quickstart."),
        ("--fast=5", "--fast takes no value, got 5: write --fast or --no-fast."),
        ("--fast 5", "The argument '5' belongs to no flag: a value follows its flag, and a part is written KIND:NAME."),
        ("--solver.steps 2.5", "--solver.steps takes a whole number, got 2.5."),
        ("--refiner.inner.width x", "--refiner.inner.width takes a whole number, got x."),
        ("--trust-region.bound x", "--trust-region.bound takes a number or 'auto', got x."),
    ],
)
def test_what_is_no_value_is_said(given, sentence):
    with pytest.raises(UsageError) as caught:
        spelled(given.split(), TYPES)
    assert str(caught.value) == sentence


def test_an_argument_too_many_or_too_few_is_said():
    with pytest.raises(UsageError, match="The argument '6' belongs to no flag"):
        spelled(["--steps", "5", "6"], TYPES)
    with pytest.raises(UsageError, match="is missing: --help shows what it is"):
        spelled(["--steps", "5"], TYPES, positional=1)
    with pytest.raises(UsageError, match=r"^RUN is missing: --help"):
        spelled(["--steps", "5"], TYPES, positional=1, named=["run"])


def test_positional_arguments_pass():
    assert spelled(["runs/a", "--steps", "1e1"], TYPES, positional=1) == ["runs/a", "--steps", "10"]
