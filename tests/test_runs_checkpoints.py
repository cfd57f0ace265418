"""Checkpoints: what was saved comes back, damage is found, and another state is refused by name."""

import resource
import shutil
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deflow.errors import CheckpointError, RunWarning
from deflow.runs import Run


def make_state(seed, width=8):
    """Everything a learner may hold: a network, Adam, keys, counters, NumPy arrays, and what is no array."""
    keys = jax.random.split(jax.random.key(seed), 2)
    network = eqx.nn.MLP(3, 2, width, 1, key=keys[0])
    return {
        "network": network,
        "optimizer": optax.adam(1e-3).init(eqx.filter(network, eqx.is_array)),
        "key": keys[1],
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), (2, 3)),
        "weak": jnp.asarray(float(seed)),
        "weak/row": jnp.broadcast_to(jnp.asarray(float(seed)), (3,)),
        "bfloat": jnp.full((2,), seed, jnp.bfloat16),
        "buffer": np.arange(5.0) + seed,
        "flags": np.array([True, False]),
        "count": np.int64(2**40 + seed),
        "empty": jnp.zeros((0, 4)),
        "name": "not an array",
        "rate": 0.1,
    }


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert type(left) is type(right)
        if not eqx.is_array(left):
            assert left == right
            continue
        assert (left.shape, left.dtype) == (right.shape, right.dtype)
        assert getattr(left, "weak_type", None) == getattr(right, "weak_type", None)
        if jnp.issubdtype(left.dtype, jax.dtypes.prng_key):
            left, right = jax.random.key_data(left), jax.random.key_data(right)
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={})


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A run with intact checkpoints of steps 10 and 20: copy it, do not touch it."""
    run = Run.create(tmp_path_factory.mktemp("runs"), environment="e", algorithm="a", seed=0, config={})
    run.save(10, make_state(10), {"step": 10})
    run.save(20, make_state(20), {"step": 20})
    return run


@pytest.fixture
def copy(two_steps, tmp_path):
    return Run.open(shutil.copytree(two_steps.path, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def no_other_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_round_trip_into_shapes(run, capfd):
    state, notes = make_state(1), {"generator": np.random.default_rng(0).bit_generator.state, "list": [1, None]}
    path = run.save(7, state, notes)
    assert path == run.path / "checkpoints" / "7"
    like = eqx.filter_eval_shape(lambda: make_state(2))
    restored, read, step = Run.open(run.path).restore(like)
    assert_same(restored, state)
    assert (read, step) == (notes, 7)
    assert capfd.readouterr() == ("", "")


def test_round_trip_into_arrays(run):
    run.save(7, make_state(1), {})
    assert_same(run.restore(make_state(2))[0], make_state(1))
    assert_same(run.restore(make_state(2), 7)[0], make_state(1))


def test_other_leaves_come_from_like(run):
    run.save(1, {"x": jnp.ones(2), "rate": 0.1})
    assert run.restore({"x": jnp.zeros(2), "rate": 0.5})[0]["rate"] == 0.5


def test_a_state_that_is_one_array(run):
    run.save(1, jnp.arange(3))
    assert run.restore(jnp.zeros(3, jnp.int32))[0].tolist() == [0, 1, 2]


def test_a_state_without_entries(run):
    run.save(1, {"x": jnp.zeros((0, 2))}, {"a": 1})
    state, notes, _ = run.restore({"x": jnp.zeros((0, 2))})
    assert state["x"].shape == (0, 2)
    assert notes == {"a": 1}


def test_shapes_that_the_notes_tell(run):
    for rows in (2, 3):
        run.save(rows, {"x": np.arange(rows), "network": eqx.nn.Linear(2, rows, key=jax.random.key(0))}, {"rows": rows})

    def like(notes):
        network = eqx.filter_eval_shape(lambda: eqx.nn.Linear(2, notes["rows"], key=jax.random.key(0)))
        return {"x": np.zeros(notes["rows"], int), "network": network}

    assert run.restore(like)[0]["x"].tolist() == [0, 1, 2]
    assert run.restore(lambda notes: like(notes)["x"], 2, part="['x']")[0].tolist() == [0, 1]
    assert run.checkpoints.notes(2) == {"rows": 2}
    with pytest.raises(CheckpointError, match=r"\['x'\]: \(3,\) int64 in the checkpoint, \(1,\) int64 here"):
        run.restore(lambda _: like({"rows": 1}))


def test_sound_steps_and_removal(copy):
    damage_flip(copy.path / "checkpoints" / "20")
    assert [copy.checkpoints.is_sound(step) for step in (10, 20, 30)] == [True, False, False]
    left = copy.path / "checkpoints" / ".removing-20"
    left.mkdir()
    (left / "left").touch()  # by a process that was killed
    copy.checkpoints.remove(20)
    assert [path.name for path in (copy.path / "checkpoints").iterdir()] == ["10"]
    with pytest.raises(OSError, match="20"):
        copy.checkpoints.remove(20)


def test_part_of_a_state(two_steps):
    like = eqx.filter_eval_shape(lambda: make_state(0))
    network, _, step = two_steps.restore(like["network"], part="['network']")
    assert_same(network, make_state(20)["network"])
    assert step == 20
    key, _, _ = two_steps.restore(like["key"], part="['key']")
    assert_same(key, make_state(20)["key"])


def test_restored_arrays_are_their_own(run):
    run.save(1, {"x": jnp.ones(1000)})
    first, second = run.restore({"x": jnp.zeros(1000)})[0], run.restore({"x": jnp.zeros(1000)})[0]
    jax.jit(lambda x: x * 5, donate_argnums=0)(first["x"]).block_until_ready()
    assert (second["x"] == 1).all()
    assert not second["x"].committed


def test_saving_a_step_again_replaces_it(run):
    run.save(1, {"x": jnp.zeros(2)})
    run.save(1, {"x": jnp.ones(3)})
    assert run.restore({"x": jnp.zeros(3)})[0]["x"].tolist() == [1, 1, 1]
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["1"]


def test_refuses_what_is_no_number(run):
    with pytest.raises(CheckpointError, match=r"\['x'\].*object"):
        run.save(1, {"x": np.array([object()])})
    with pytest.raises(CheckpointError, match="notes"):
        run.save(1, {"x": np.zeros(1)}, {"a": np.zeros(1)})
    assert run.checkpoints.steps() == []


def test_another_state_names_each_leaf(two_steps):
    other = make_state(0, width=9) | {"count": np.int32(0), "new": jnp.zeros(1)}
    del other["flags"]
    with pytest.raises(CheckpointError) as caught:
        two_steps.restore(other)
    assert "['network'].layers[0].weight: (8, 3) float32 in the checkpoint, (9, 3) float32 here" in str(caught.value)
    assert "['count']: () int64 in the checkpoint, () int32 here" in caught.value.differences
    assert "['flags']: (2,) bool in the checkpoint, absent here" in caught.value.differences
    assert "['new']: absent in the checkpoint, (1,) float32 here" in caught.value.differences
    # Of layers (8, 3), (8,), (2, 8), (2,) three differ: once in the network, twice in Adam.
    assert len(caught.value.differences) == 3 * 3 + 3


def test_another_generator_of_keys_is_another_state(run):
    run.save(1, {"key": jax.random.key(0, impl="rbg")})
    with pytest.raises(CheckpointError, match=r"\['key'\]: \(\) key<rbg> in the checkpoint, \(\) key<fry> here"):
        run.restore({"key": jax.random.key(0)})


def test_missing_steps(run, two_steps):
    with pytest.raises(CheckpointError, match=r"No intact checkpoint .*there is none"):
        run.restore({})
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 15 .* it has 10, 20"):
        two_steps.restore({}, 15)


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)


def largest_data(directory):
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "manifest.json")
    return max(files, key=lambda path: path.stat().st_size)


def damage_flip(step):
    flip(largest_data(step), 12345)


def damage_truncate(step):
    path = largest_data(step)
    path.write_bytes(path.read_bytes()[:-1])


def damage_lose(step):
    largest_data(step).unlink()


def damage_empty(step):
    shutil.rmtree(step)
    step.mkdir()


def damage_manifest(step):
    (step / "manifest.json").unlink()


def damage_manifest_text(step):
    (step / "manifest.json").write_text("{}")


def damage_manifest_number(step):
    path = step / "manifest.json"
    path.write_text(path.read_text().replace("float32", "float16", 1))


def damage_mixup(step):
    shutil.rmtree(step)
    shutil.copytree(step.with_name("10"), step)


DAMAGE = {
    damage_flip: "has changed",
    damage_truncate: r"has \d+ bytes instead of \d+",
    damage_lose: "is missing",
    damage_empty: "directory is empty",
    damage_manifest: r"manifest\.json is missing",
    damage_manifest_text: r"manifest\.json is not a manifest",
    damage_manifest_number: r"manifest\.json has changed",
    damage_mixup: "it is the checkpoint of step 10",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_said_and_the_one_before_used(copy, damage):
    damage(copy.path / "checkpoints" / "20")
    with pytest.warns(RunWarning, match=rf"20 is damaged \(.*{DAMAGE[damage]}.*\); using step 10") as caught:
        state, notes, step = copy.restore(make_state(0))
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__
    assert_same(state, make_state(10))
    assert (notes, step) == ({"step": 10}, 10)
    with pytest.raises(CheckpointError, match=DAMAGE[damage]):
        copy.restore(make_state(0), 20)


def test_none_sound_lists_what_was_tried(copy):
    damage_flip(copy.path / "checkpoints" / "20")
    damage_manifest(copy.path / "checkpoints" / "10")
    with pytest.raises(CheckpointError, match=r"step 20: .*has changed.*; step 10: manifest\.json is missing"):
        copy.restore(make_state(0))


@pytest.mark.parametrize("pattern", ["*", "notes/*", "manifest.json"])
def test_a_hundred_flipped_bits(copy, pattern):
    random = np.random.default_rng(0)
    directory = copy.path / "checkpoints" / "20"
    files = sorted(path for path in directory.rglob(pattern) if path.is_file() and path.stat().st_size)
    good, older, found = make_state(20), make_state(10), 0
    like, read = make_state(0), []
    for _ in range(100):
        path = files[random.integers(len(files))]
        bit = int(random.integers(8 * path.stat().st_size))
        flip(path, bit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state, notes, step = copy.restore(lambda notes: read.append(notes) or like)
        flip(path, bit)
        found += len(caught)
        assert step == (10 if caught else 20)
        assert read.pop() == notes == {"step": step}  # damaged notes never reach the function
        assert not read
        assert_same(state, older if caught else good)
    assert found > 60  # only blanks between the manifest's words may change without harm
    assert copy.restore(like)[2] == 20


EVENTS = []
WATCHED = ("exec", "compile", "import", "pickle.find_class", "subprocess.Popen", "os.system", "ctypes.dlopen")


def test_loading_runs_no_code(two_steps):
    like = make_state(0)
    two_steps.restore(like)  # what is imported or compiled once has been
    watching = [True]
    # An audit hook cannot be removed, only told to rest.
    sys.addaudithook(lambda event, _: EVENTS.append(event) if watching[0] and event in WATCHED else None)
    try:
        two_steps.restore(like)
        during = list(EVENTS)
        exec("pass")  # the hook does watch
    finally:
        watching[0] = False
    assert during == []
    assert "exec" in EVENTS


def test_a_save_that_fails_leaves_nothing(run):
    run.save(1, {"x": jnp.ones(10)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for _ in range(2):
            with pytest.raises(CheckpointError, match=r"Cannot save the checkpoint of step 2 to .*: .*free space"):
                run.save(2, {"x": np.random.default_rng(0).normal(size=1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["1"]
    assert run.restore({"x": jnp.zeros(10)})[2] == 1
    run.save(2, {"x": jnp.ones(10)})
    assert run.restore({"x": jnp.zeros(10)})[2] == 2


def test_a_directory_that_vanishes(run):
    run.save(1, {"x": jnp.ones(1)})
    run.path.rename(run.path.with_name("away"))
    with pytest.raises(CheckpointError, match="Cannot save the checkpoint of step 2"):
        run.save(2, {"x": jnp.ones(1)})
    run.path.with_name("away").rename(run.path)
    shutil.rmtree(run.path / "checkpoints")
    run.save(3, {"x": jnp.ones(1)})
    assert run.checkpoints.steps() == [3]


def test_unfinished_saves_are_swept(run):
    for name in (".saving-abc", ".removing-5"):
        (run.path / "checkpoints" / name / "5").mkdir(parents=True)
    assert run.checkpoints.steps() == []
    run.save(1, {"x": jnp.ones(1)})
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["1"]
