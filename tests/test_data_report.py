"""The report card of a data set: its numbers by hand, each warning exactly where it belongs, and odd data described."""

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import gymnasium
import matplotlib.image
import numpy as np
import pytest

import deflow
from deflow.agent import suggested_bound, variance_factor
from deflow.data import neighbours_of, report
from deflow.data.action_variance import action_variance
from deflow.data.readers import Recording
from deflow.data.report_card import advice, bounds_that_follow, dimensions_csv, rows, similarity
from deflow.environments import ActionBounds
from deflow.errors import DataError, ReportError
from deflow.report import data_figure

ROOT = Path(__file__).parents[1]


def columns(trajectories=6, length=50, seed=0):
    """Data in which nothing stands out: actions follow the state, with noise; every episode terminates."""
    random = np.random.default_rng(seed)
    observations = random.standard_normal((trajectories, length, 3)).cumsum(1).reshape(-1, 3) * 0.3
    actions = np.tanh(observations[:, :2] + 0.2 * random.standard_normal((len(observations), 2)))
    last = np.arange(len(observations)) % length == length - 1
    return {
        "observations": observations.astype(np.float32),
        "actions": actions.astype(np.float32),
        "rewards": random.random(len(observations)).astype(np.float32),
        "terminations": last,
        "truncations": np.zeros(len(observations), bool),
    }


def card(changes=(), recording=None, **settings):
    """The card of those columns with others in their place (None: without), or of a recording."""
    found = {name: value for name, value in {**columns(), **dict(changes)}.items() if value is not None}
    return report(recording or Recording(found), progress=False, **settings)


def changed(name, rows, value, **kwargs):
    """One of the columns, with other entries."""
    column = columns(**kwargs)[name].copy()
    column[rows] = value
    return {name: column}


# --- numbers


SMALL = {
    "observations": np.asarray([[0.0, 7.0], [1.0, 7.0], [3.0, 7.0], [0.0, 7.0], [4.0, 7.0]]),
    "actions": np.asarray([[-1.0], [0.5], [1.0], [-0.5], [1.0]]),
    "rewards": np.asarray([0.0, 1.0, 1.0, 2.0, 0.0]),
    "terminations": np.asarray([0, 0, 1, 0, 0]),
    "truncations": np.asarray([0, 0, 0, 0, 1]),
}


def test_rows_trajectories_rewards_and_returns():
    found = card(SMALL)
    assert (found.rows, found.transitions, found.held_out) == (5, 4, 0)  # the cut row has no next state
    ends = found.trajectories
    assert (ends.starts.tolist(), ends.lengths.tolist()) == ([0, 3], [3, 2])
    assert (ends.terminations, ends.truncations, ends.problem) == (1, 1, "")
    assert ends.reading == "terminations, truncations as truncations"
    rewards = found.rewards
    assert (rewards.lowest, rewards.mean, rewards.highest, rewards.distinct) == (0.0, 0.8, 2.0, 3)
    assert rewards.returns.tolist() == [2.0, 2.0]
    assert card({**SMALL, "next_observations": SMALL["observations"]}).transitions == 5


def test_dimensions():
    first, second, action = card(SMALL).dimensions
    assert (first.lowest, first.mean, first.highest) == (0.0, 1.6, 4.0)
    assert first.deviation == pytest.approx(np.std([0, 1, 3, 0, 4]))
    assert (first.at_low, first.at_high, first.constant, first.whole) == (0.4, 0.2, False, True)
    assert (second.constant, second.deviation) == (True, 0.0)
    assert np.isnan([second.at_low, second.at_high]).all()
    assert (action.at_low, action.at_high, action.beyond, action.whole) == (0.2, 0.4, 0, False)
    assert (action.title, first.title) == ("action 0", "observation 0")
    assert card(SMALL).bounds == ActionBounds((-1.0,), (1.0,), "data")


@pytest.mark.parametrize(
    ("bounds", "at_low", "at_high", "beyond"),
    [((-2.0, 2.0), 0.0, 0.0, 0), ((-0.5, 1.0), 0.4, 0.4, 1), ((-1.0, 1.001), 0.2, 0.4, 0), ((-1, 1.003), 0.2, 0, 0)],
)
def test_saturation_is_within_a_thousandth_of_the_bounds_that_are_given(bounds, at_low, at_high, beyond):
    *_, action = card(SMALL, bounds=bounds).dimensions
    assert (action.at_low, action.at_high, action.beyond) == (at_low, at_high, beyond)
    named = card(recording=Recording(SMALL, bounds=tuple(np.asarray([each]) for each in bounds)))
    assert (named.dimensions[-1], named.bounds.origin) == (action, "source")


def test_numbers_that_are_not_finite_are_counted_and_left_out():
    odd = columns()
    odd["observations"][[3, 7], 1] = np.nan, np.inf
    odd["rewards"][5] = np.nan
    found = card(odd)
    kept = np.delete(odd["observations"][:, 1], [3, 7]).astype(np.float64)
    one = found.dimensions[1]
    assert (one.not_finite, one.lowest, one.highest) == (2, kept.min(), kept.max())
    assert (one.mean, one.deviation) == (pytest.approx(kept.mean()), pytest.approx(kept.std()))
    assert found.rewards.not_finite == 1
    assert np.flatnonzero(np.isnan(found.rewards.returns)).tolist() == [0]
    assert found.similarity.rows == 298


def test_repeats_and_states_with_several_actions():
    states = np.asarray([0.0, 1.0, 0.0, 1.0, 0.0, -0.0, 2.0])[:, None]
    actions = np.asarray([1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0])[:, None]
    ends = np.asarray([0, 1, 0, 1, 0, 0, 1])
    found = card(
        {
            "observations": states,
            "actions": actions,
            "rewards": np.zeros(7),
            "terminations": ends,
            "truncations": 0 * ends,
        }
    ).repeats
    # (0, 1) comes twice, and so does (0, 3), since -0 is 0
    assert (found.rows, found.trajectories) == (2, 0)
    assert (found.states, found.states_seen_again, found.states_with_several_actions, found.actions) == (3, 2, 2, 3)


def test_trajectories_that_were_stored_twice():
    once = columns()
    twice = {name: np.concatenate([column, column[:100]]) for name, column in once.items()}
    found = card(twice).repeats
    assert (found.rows, found.trajectories) == (100, 2)
    other = {**twice, "rewards": np.concatenate([once["rewards"], once["rewards"][:100] + 1])}
    assert (card(other).repeats.rows, card(other).repeats.trajectories) == (0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, bool])
@pytest.mark.parametrize("width", [1, 7, 8, 33])
def test_keys_tell_rows_apart(dtype, width):
    values = np.random.default_rng(0).integers(0, 2, (3_000, width)).astype(dtype)
    _, expected = np.unique(values, axis=0, return_inverse=True)
    _, found = np.unique(rows.row_keys(values), return_inverse=True)
    assert len(set(zip(expected.tolist(), found.tolist(), strict=True))) == expected.max() + 1 == found.max() + 1


def test_steps():
    states = np.asarray([[0.0, 5.0], [3.0, 5.0], [3.0, 5.0], [10.0, 5.0], [0.0, 5.0], [4.0, 5.0]])
    ends = np.asarray([0, 0, 0, 1, 0, 1])
    changes = {
        "observations": states,
        "actions": np.ones((6, 1)),
        "rewards": np.ones(6),
        "terminations": ends,
        "truncations": 0 * ends,
    }
    found = card(changes).steps
    scale = states[:, 0].std()
    np.testing.assert_allclose(found.lengths, np.asarray([3, 0, 7, 4]) / scale)
    assert (found.usual, found.largest) == (pytest.approx(4 / scale), pytest.approx(7 / scale))
    assert (found.resting, found.jumps, found.first_jump, found.broken) == (0.25, 0, None, 0)
    following = np.roll(states, -1, axis=0)
    following[1] += 1.0  # and the others are wrong at ends alone
    assert card({**changes, "next_observations": following}).steps.broken == 1


def test_steps_do_not_depend_on_the_blocks(monkeypatch):
    whole = card()
    monkeypatch.setattr("deflow.data.report_card.columns._BLOCK", 21)  # seven rows
    parts = card()
    np.testing.assert_allclose(parts.steps.lengths, whole.steps.lengths, rtol=1e-12)
    assert parts.repeats == whole.repeats
    numbers = (dataclasses.astuple(each)[2:] for each in (*parts.dimensions, *whole.dimensions))
    found = np.asarray(list(numbers), float).reshape(2, 5, -1)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


# --- similar states


def test_neighbours_of_a_few_rows_are_those_of_brute_force(monkeypatch):
    monkeypatch.setattr(neighbours_of, "_BLOCK_ROWS", 40)
    monkeypatch.setattr(neighbours_of, "_QUERIES", 7)
    points = np.random.default_rng(0).standard_normal((503, 4)) + 100
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    chosen = np.arange(0, 503, 9)
    np.fill_diagonal(distances, np.inf)
    found = neighbours_of.neighbours_of(chosen, points, 6)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[chosen, :6])
    apart = np.column_stack([chosen // 50 * 50, chosen // 50 * 50 + 50])
    for row in range(503):
        distances[row, row // 50 * 50 : row // 50 * 50 + 50] = np.inf
    found = neighbours_of.neighbours_of(chosen, points, 6, apart=apart)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[chosen, :6])


def test_neighbours_that_are_too_few_are_missing_ones():
    found = neighbours_of.neighbours_of(np.asarray([0, 3]), np.zeros((4, 2)), 5, apart=np.asarray([[0, 2], [0, 4]]))
    assert (sorted(found[0].tolist()), found[1].tolist()) == ([-1, -1, -1, 2, 3], [-1] * 5)


def test_the_variance_is_that_of_the_data(monkeypatch):
    data, found = columns(), card()
    exact = action_variance(data["observations"], data["actions"], progress=False)
    bounds = [found.bounds.low, found.bounds.high]
    unit = action_variance(data["observations"], found.bounds.to_unit(data["actions"]), progress=False)
    assert np.all(np.abs(bounds) < 1)
    assert found.similarity.variance == unit
    assert card(bounds=(-1, 1)).similarity.variance.value == pytest.approx(exact.value, rel=1e-6)
    monkeypatch.setattr(similarity, "STATES", 100)
    sampled = card().similarity.variance
    few = np.linspace(0, 299, 100).astype(int)
    states = (data["observations"] - data["observations"].mean(0)) / data["observations"].std(0)
    distances = np.linalg.norm(states[few][:, None] - states[None], axis=-1)
    distances[np.arange(100), few] = np.inf
    acts = found.bounds.to_unit(data["actions"])[np.argsort(distances, axis=1)[:, :5]]
    assert (sampled.rows, sampled.value) == (100, pytest.approx(acts.var(1, ddof=1).mean(), rel=1e-5))


def test_what_the_nearest_states_of_other_trajectories_explain():
    data, found = columns(), card()
    states, acts = data["observations"] / data["observations"].std(0), found.bounds.to_unit(data["actions"])
    distances = np.linalg.norm(states[:, None] - states[None], axis=-1)
    group = np.arange(300) // 50
    distances[group[:, None] == group[None]] = np.inf
    predicted = acts[np.argsort(distances, axis=1)[:, :5]].mean(1)
    expected = 1 - np.square(acts - predicted).sum() / np.square(acts - acts.mean(0)).sum()
    assert found.similarity.explained == pytest.approx(expected, rel=1e-6)
    assert 0.5 < expected < 1
    noise = {"actions": np.random.default_rng(1).uniform(-1, 1, (300, 2))}
    assert card(noise).similarity.explained < 0
    assert card({"terminations": np.arange(300) == 299}).similarity.explained is None


def test_of_large_data_whole_trajectories_are_drawn(monkeypatch):
    monkeypatch.setattr(similarity, "NUMBERS", 3 * 120)
    assert card().similarity.rows == 100  # two of 50
    monkeypatch.setattr(similarity, "NUMBERS", 3 * 30)
    assert card().similarity.rows == 30


def test_the_bounds_that_follow_are_those_of_auto():
    data = columns()
    batch = deflow.Batch(*(data[name] for name in ("observations", "actions", "rewards", "rewards", "observations")))
    task = deflow.Task(
        None,
        deflow.Spec((3,), 2),
        batch,
        None,
        deflow.data.Provenance("user", "x", 300, "x.npz", "", "", "", ""),
        ActionBounds((-1.0,) * 2, (1.0,) * 2),
    )
    for name, bound in bounds_that_follow(0.02, variance_factor("none"), 2).items():
        config = deflow.agent_config("deflow", trust_region=deflow.trust_regions.registry[name](bound="auto"))
        assert bound == pytest.approx(suggested_bound(config, task, 0.02), rel=1e-3)


# --- warnings


def test_nothing_stands_out():
    assert card().warnings == ()
    assert "Nothing stands out." in str(card())


COUNT = 300
TWICE = {name: np.concatenate([column, column[:50]]) for name, column in columns().items()}
JUMPING = {"observations": columns()["observations"] + np.where(np.arange(COUNT) < 20, 0, 1e4)[:, None]}
ENVIRONMENT = {"environment": "Pendulum-v1"}


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"observations": None}, {}, ["There are no observations"]),
        ({"actions": None}, {}, ["There are no actions"]),
        ({"actions": np.full((COUNT, 2), "up")}, {}, ["The actions are of type <U2"]),
        ({"actions": np.full((COUNT, 2), None)}, {}, ["The actions are of type object"]),
        ({"actions": np.float32(3)}, {}, ["The actions are a single number"]),
        ({"actions": np.zeros((COUNT, 0))}, {}, ["The actions have no numbers in a row"]),
        ({"rewards": np.ones(299)}, {}, ["different lengths", "There are no rewards"]),
        ({"rewards": np.random.default_rng(0).random((COUNT, 2))}, {}, ["2 numbers per row", "There are no rewards"]),
        ({"rewards": None}, {}, ["There are no rewards: name their column"]),
        ({"rewards": np.full(COUNT, 0.5)}, {}, ["Every reward is 0.5"]),
        (changed("rewards", 4, np.nan), {}, ["1 rewards are not finite"]),
        (changed("observations", (slice(4), 1), np.nan), {}, ["Observation 1 is not finite in up to 4 rows"]),
        (changed("observations", (9, 1), 1e10), {}, ["exceeds 1e9", "not of unit scale"]),
        (
            {"terminations": None, "truncations": None, "terminals": columns()["terminations"]},
            {},
            ["neither terminations nor truncations, only 6 ends"],
        ),
        (
            {"terminations": None, "truncations": None, "terminals": columns()["terminations"]},
            {"terminals": "termination"},
            [],
        ),
        ({"terminations": None, "truncations": None}, {}, ["does not say where trajectories end"]),
        ({"terminations": np.zeros(COUNT)}, {}, ["ends within a trajectory"]),
        ({"terminations": np.full(COUNT, 2.0)}, {}, ["only 0 and 1 are allowed"]),
        (changed("observations", (slice(None), 2), 4.0), {}, ["Observation 2 never changes: encoder:standardize"]),
        ({"observations": columns()["observations"] * [1, 1, 100]}, {}, ["Observation 2 is not of unit scale"]),
        ({"observations": columns()["observations"] + [0, 50, 50]}, {}, ["Observation 1, 2 are not of unit scale"]),
        (changed("actions", (slice(None), 1), 0.5), {}, ["Action 1 never changes, so nothing is learned about it"]),
        ({}, {"bounds": (-0.5, 0.5)}, ["Action 0, 1 lie beyond the bounds [-0.5, 0.5]", "at an end of the bounds"]),
        ({"actions": np.clip(5 * columns()["actions"], -1, 1)}, {}, ["Action 0, 1 are at an end of the range"]),
        ({"actions": np.sign(columns()["actions"])}, {}, ["All actions are whole numbers"]),
        (TWICE, {}, ["50 of 350 rows repeat an earlier one, 1 trajectories wholly"]),
        (JUMPING, {}, ["not of unit scale", "by over 100 usual steps after 1 rows, first after row 19:"]),
        ({"next_observations": np.ones((COUNT, 4))}, {}, ["The next observations are of shape (4,)"]),
        ({"next_observations": np.full((COUNT, 3), np.nan)}, {}, ["The next observations are not finite in 300 rows"]),
        ({"actions": np.ones((COUNT, 2, 2))}, {}, ["an action is a vector: flatten", "never changes"]),
        ({"next_observations": columns()["observations"]}, {}, ["In 294 rows the next observation is not that of"]),
        (
            {"actions": np.random.default_rng(1).uniform(-1, 1, (COUNT, 2))},
            {},
            ["Similar states explain 0% of the actions' variance"],
        ),
        ({}, {"bounds": ([-1, -1, -1], 1)}, ["The action bounds do not fit the actions"]),
        ({}, ENVIRONMENT, ["The action bounds do not fit the actions"]),
        ({"observations": columns()["observations"][:, :2], "actions": columns()["actions"][:, :1]}, ENVIRONMENT, [
            "The observations are of shape (2,), but Pendulum-v1 gives (3,)"
        ]),
        ({"actions": columns()["actions"][:, 0]}, ENVIRONMENT, []),
    ],
)  # fmt: skip
def test_every_warning_occurs_where_it_should(changes, settings, said):
    found = card(changes, **settings).warnings
    assert len(found) == len(said), found
    for part in said:
        assert sum(part in warning for warning in found) == 1, found
    assert all(warning.endswith(".") for warning in found)


def test_similar_states_with_equal_actions_give_no_bound():
    actions = np.repeat([[0.0, 0.25], [1.0, 0.75], [0.5, 0.5]], 100, axis=0)
    states = np.repeat([[0.0], [5.0], [9.0]], 100, axis=0)
    found = card({"actions": actions, "observations": states}).warnings
    assert any("Similar states have the same actions" in warning for warning in found)


def test_many_names_are_cut():
    names = {"observations": tuple(f"joint {index}" for index in range(9))}
    data = {**columns(), "observations": np.full((COUNT, 9), 1.0)}
    (warning, *_) = card(recording=Recording(data, names=names)).warnings
    assert warning.startswith("Observation joint 0, joint 1, joint 2, joint 3 and 5 more never change:")


def test_every_threshold_has_a_sentence():
    source = Path(advice.__file__).read_text()
    for name in ("UNIT", "SATURATED", "REPEATED", "UNEXPLAINED", "NAMED"):
        assert '"""' in source.partition(f"\n{name} = ")[2].splitlines()[1]


# --- odd data


IMAGES = np.random.default_rng(0).integers(0, 255, (COUNT, 8, 8, 3)).astype(np.uint8)
RAGGED = [[1.0], [2.0, 3.0]]
DATES = np.arange(COUNT).astype("datetime64[s]")
NUMBERS = ("observations", "actions", "rewards", "terminations", "truncations")

ODD = {
    "nothing": {name: None for name in columns()},
    "no rows": {name: column[:0] for name, column in columns().items()},
    **{f"{n} rows": {name: column[:n] for name, column in columns().items()} for n in (1, 2, 5, 6, 7)},
    **{f"{name} alone": {other: None for other in columns() if other != name} for name in columns()},
    **{f"NaN in all {name}": {name: np.full_like(columns()[name], np.nan, float)} for name in NUMBERS},
    **{f"infinite {name}": {name: np.full_like(columns()[name], -np.inf, float)} for name in NUMBERS},
    "NaN everywhere": {name: np.full_like(column, np.nan, float) for name, column in columns().items()},
    **{f"{name} of another length": {name: columns()[name][:7]} for name in NUMBERS},
    **{f"no rows of {name}": {name: columns()[name][:0]} for name in NUMBERS},
    **{f"strings in {name}": {name: np.full(COUNT, "x")} for name in NUMBERS},
    **{f"objects in {name}": {name: np.full(COUNT, None)} for name in NUMBERS},
    **{f"ragged {name}": {name: RAGGED} for name in NUMBERS},
    **{f"dates in {name}": {name: DATES} for name in NUMBERS},
    **{f"complex {name}": {name: np.full(COUNT, 1j)} for name in NUMBERS},
    **{f"one number for {name}": {name: 3.0} for name in NUMBERS},
    **{f"a matrix for {name}": {name: np.ones((COUNT, 3))} for name in NUMBERS},
    **{f"no width of {name}": {name: np.ones((COUNT, 0))} for name in NUMBERS},
    **{f"images as {name}": {name: IMAGES} for name in NUMBERS},
    "images of one row": {name: column[:1] for name, column in {**columns(), "observations": IMAGES}.items()},
    "no images": {name: column[:0] for name, column in {**columns(), "observations": IMAGES}.items()},
    "float images with NaN": {"observations": np.full((COUNT, 4, 4), np.nan)},
    "very wide": {"observations": np.ones((COUNT, 1_001)), "actions": np.ones((COUNT, 1_002))},
    "huge": {"observations": np.full((COUNT, 2), 1e308) * [1, -1], "actions": columns()["actions"] * 1e38},
    "huge and different": {
        name: np.where(np.arange(COUNT) % 2, 1.7e308, -1.7e308) for name in ("observations", "actions", "rewards")
    },
    "tiny": {name: 5e-324 * (np.arange(COUNT) % 3) for name in ("observations", "actions", "rewards")},
    "all equal": {name: np.ones((COUNT, 2)) for name in ("observations", "actions")} | {"rewards": np.ones(COUNT)},
    "whole numbers": {name: np.arange(COUNT) for name in ("observations", "actions", "rewards")},
    "large whole numbers": {
        name: np.full(COUNT, 2**63, np.uint64) for name in ("observations", "actions", "rewards")
    },
    "truth values": {name: np.arange(COUNT) % 2 == 0 for name in ("observations", "actions", "rewards")},
    "half precision": {name: columns()[name].astype(np.float16) for name in ("observations", "actions", "rewards")},
    "extended precision": {name: columns()[name].astype(np.longdouble) for name in ("observations", "actions")},
    "not in order": {
        "observations": np.asfortranarray(columns()["observations"]), "actions": columns()["actions"][:, ::-1]
    },
    "every row an end": {"terminations": np.ones(COUNT, bool)},
    "dones alone": {"terminations": None, "truncations": None, "dones": columns()["terminations"]},
    "masks that contradict": {"masks": np.ones(COUNT)},
    "masks alone": {"terminations": None, "truncations": None, "masks": np.ones(COUNT)},
    "next observations of another width": {"next_observations": np.ones((COUNT, 7))},
    "next observations that are NaN": {"next_observations": np.full((COUNT, 3), np.nan)},
    "next observations that are images": {"next_observations": IMAGES},
    "nearly equal rewards": {"rewards": 1e8 + np.arange(COUNT) % 2 * 1e-8},
}  # fmt: skip


DRAWN = ("nothing", "no rows", "NaN everywhere", "huge and different", "tiny", "all equal", "float images with NaN")
HARMLESS = {
    *("not in order", "every row an end", "half precision", "extended precision"),
    *("nearly equal rewards",),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_is_described(name, tmp_path):
    found = card(ODD[name])
    assert len(str(found).splitlines()) <= 60
    assert "nan%" not in str(found)
    assert len(list(csv.reader(dimensions_csv(found).splitlines()))) == 1 + len(found.dimensions)
    assert bool(found.warnings) != (name in HARMLESS)
    if name in DRAWN:
        assert data_figure(found, tmp_path / "card.png").exists()


@pytest.mark.parametrize(
    "recording",
    [
        Recording({}),
        Recording(columns(), bounds=(np.asarray([1.0, 1.0]), np.asarray([0.0, 0.0]))),
        Recording(columns(), bounds=(np.asarray(["a"]), np.asarray([None]))),
        Recording(columns(), bounds=(np.asarray([np.nan]), np.asarray([np.inf]))),
        Recording(columns(), names={"observations": ("a", "b")}),
        Recording(columns(), validation=Recording({})),
        Recording(columns(), ("read by hand",), validation=Recording(columns())),
    ],
)
def test_odd_recordings_are_described(recording):
    found = report(recording, progress=False)
    assert found.held_out == (
        0 if recording.validation is None else len(recording.validation.columns.get("rewards", ()))
    )
    assert all(word in str(found) for word in recording.assumed)


def test_random_data_never_raises():
    """Columns of random types and shapes, with a few numbers replaced."""
    random = np.random.default_rng(0)
    for _ in range(150):
        found = {}
        for name in (*NUMBERS, "next_observations", "masks", "timeouts"):
            if random.random() < 0.2:
                continue
            length = random.choice([30, 30, 30, 30, 0, 1, 29])
            shape = (length, *random.choice([0, 1, 2, 5], random.integers(0, 3)))
            values = random.choice([0.0, 1.0, 3.5, 1e9], shape).astype(random.choice(["f4", "f8", "i8", "?"]))
            if values.dtype.kind == "f" and values.size:
                values.flat[random.integers(values.size)] = random.choice([np.nan, np.inf, -np.inf, 1e30])
            found[name] = values
        assert str(report(Recording(found), progress=False))


# --- where the data comes from


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """A file of three random episodes, cut short."""
    path = tmp_path_factory.mktemp("pendulum") / "pendulum.npz"
    environment = gymnasium.make("Pendulum-v1", max_episode_steps=60)
    rows = []
    for episode in range(3):
        observation, _ = environment.reset(seed=episode)
        environment.action_space.seed(episode)
        done = False
        while not done:
            action = environment.action_space.sample()
            following, reward, terminated, done, _ = environment.step(action)
            rows.append((observation, action, reward, terminated, done, following))
            observation = following
    names = ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    stored = dict(zip(names, zip(*rows, strict=True), strict=True))
    np.savez(path, **{name: np.asarray(column, np.float32) for name, column in stored.items()})
    return path


def test_a_path_a_source_and_an_environment(pendulum):
    found = report(pendulum, progress=False)
    assert (found.rows, len(found.trajectories.lengths), found.bounds.origin) == (180, 3, "data")
    assert found.title == str(pendulum)
    made = report(deflow.UserData(pendulum), environment="Pendulum-v1", progress=False)
    assert made.bounds == ActionBounds((-2.0,), (2.0,), "environment")
    assert made.dimensions[:3] == found.dimensions[:3]
    other = deflow.data.Columns(observation=("next_observations",), episode="truncations")
    assert report(deflow.UserData(pendulum, columns=other), progress=False).trajectories.lengths.max() == 59


def test_what_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        report(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="OGBench task"):
        report(deflow.Collected())
    with pytest.raises(deflow.errors.UnknownTaskError):
        report(Recording(columns()), environment="nobody-knows-v0")
    (tmp_path / "objects.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match="truncated or damaged"):
        report(tmp_path / "objects.npz")
    with pytest.raises(ReportError, match="choose another place"):
        data_figure(card(), tmp_path / "nowhere" / "card.png")


def test_the_recipe(pendulum, tmp_path):
    command = [sys.executable, ROOT / "recipes/inspect_data.py", "--env", "Pendulum-v1", "--data", pendulum]
    done = subprocess.run([*command, "--picture", tmp_path / "look.png"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= 40
    assert str(pendulum) in done.stdout
    assert "3, of 60, 60, 60 rows" in done.stdout
    assert "Similar states explain 0% of the actions' variance" in done.stdout  # they were random
    assert matplotlib.image.imread(tmp_path / "look.png").shape[2] == 4
    lines = list(csv.DictReader((tmp_path / "look.csv").read_text().splitlines()))
    assert [line["column"] for line in lines] == ["observations"] * 3 + ["actions"]
    broken = subprocess.run([*command[:2], tmp_path / "none.npz"], cwd=tmp_path, capture_output=True, text=True)
    assert (broken.returncode, broken.stderr.count("\n")) == (2, 1)
