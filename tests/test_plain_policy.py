"""The plain form of a policy: what JAX computes, NumPy computes, and nothing else is needed."""

import ast
import contextlib
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from small import SPEC

import deflow
from deflow.agent import ALGORITHMS, agent_config
from deflow.deployment.plain import plain_policy, walking
from deflow.deployment.plain.lowering import lower
from deflow.deployment.plain.plain_policy import PlainPolicy, program
from deflow.errors import ExportError
from deflow.networks import for_acting
from deflow.testing import example_data

F32 = jnp.float32
PAGE = Path(plain_policy.__file__)


def shapes_of(agent):
    spec = agent.spec
    observation = jax.ShapeDtypeStruct(spec.observation_shape, spec.observation_dtype)
    return observation, jax.ShapeDtypeStruct((agent.candidates, agent.action_size), F32)


def export(path, function, *samples):
    page, arrays = lower(jax.vmap(function), *samples)
    numbered = {f"c{number}": array for number, array in enumerate(arrays)}
    np.savez(path, about=json.dumps({"name": "test"}), program=json.dumps(page), **numbered)
    return PlainPolicy(path)


def test_a_damaged_file_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "a.npz"
    export(path, lambda x, z: 2 * x + z, *[jax.ShapeDtypeStruct((3,), F32)] * 2)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in random.integers(0, len(whole), 60)]
    refused = 0
    for content in (b"", b"no archive", whole[:-200], *flipped):
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            PlainPolicy(path)  # a flipped bit in what nobody reads does no harm
            continue
        refused += 1
    assert refused > 30
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or is no exported policy"):
        PlainPolicy(path)
    with pytest.raises(FileNotFoundError):
        PlainPolicy(tmp_path / "none.npz")


def draw(agent, count, seed=0):
    random = np.random.default_rng(seed)
    observation, noise = shapes_of(agent)
    observations = random.standard_normal((count, *observation.shape)) * (100 if observation.dtype == "uint8" else 1)
    return (
        np.abs(observations).astype(observation.dtype) if observation.dtype == "uint8" else observations.astype("f4"),
        random.standard_normal((count, *noise.shape)).astype("f4"),
    )


def agrees(agent, path):
    """The plain form gives the agent's actions, for batches of several sizes and for one observation."""
    policy = export(path, for_acting(agent).act_from, *shapes_of(agent))
    observations, noises = draw(agent, 100)
    wanted = np.asarray(jax.jit(jax.vmap(agent.act_from))(observations, noises))
    for count in (1, 3, 100):
        found = policy.act(observations[:count], noises[:count])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted[:count], atol=1e-5)
    np.testing.assert_allclose(policy.act(observations[7], noises[7]), wanted[7], atol=1e-5)
    assert np.ptp(wanted) > 0.1
    return policy


def small_agent(row="deflow", spec=SPEC, **parts):
    config = agent_config(row, width=4, depth=1, **{"solver": deflow.solvers.Euler(steps=2), **parts})
    return config.build(
        spec, config.placeholder_data(spec) if config.chunk > 1 else example_data(spec), key=jax.random.key(0)
    )


@pytest.mark.parametrize("row", ALGORITHMS)
def test_every_row_acts_as_in_jax(row, tmp_path):
    agrees(small_agent(row), tmp_path / "policy.npz")


def test_it_takes_pixels_as_bytes(tmp_path):
    spec = deflow.Spec(observation_shape=(2, 3), action_size=2, observation_dtype="uint8")
    policy = agrees(small_agent(spec=spec, encoder="identity"), tmp_path / "policy.npz")
    with pytest.raises(ValueError, match="an observation of type uint8, got float64: convert it"):
        policy.act(np.zeros((2, 3)), np.zeros((1, 2)))


PARTS = {
    "tsit5": {"solver": deflow.solvers.Tsit5(rtol=1e-6, atol=1e-6)},
    "heun": {"solver": deflow.solvers.Heun(steps=2)},
    "value-gradient": {
        "refiner": deflow.refiners.ValueGradient(steps=2),
        "trust_region": "ball",
        "constraint": "projection",
    },
    "iterated": {"refiner": "iterated", "trust_region": "ball", "constraint": "projection"},
    "ellipsoid": {"trust_region": "ellipsoid", "constraint": "projection"},
    "per-state": {"trust_region": "per-state", "constraint": "projection"},
    **{critic: {"critic": critic, "candidates": 2} for critic in ("categorical", "flow")},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_members_act_as_in_jax(parts, tmp_path):
    agrees(small_agent(**parts), tmp_path / "policy.npz")


class Diamond(deflow.trust_regions.AbstractTrustRegion):
    """The README's, with its projection written out: it sorts, accumulates and indexes."""

    bound: deflow.trust_regions.Bound = 0.05

    def size(self, displacement, observation):
        return jnp.sum(jnp.abs(displacement))

    def project(self, displacement, observation):
        falling = jnp.sort(jnp.abs(displacement))[::-1]
        excess = jnp.cumsum(falling) - self.limit
        count = jnp.sum(falling * jnp.arange(1.0, 1.0 + len(falling)) > excess)
        threshold = jnp.maximum(excess[count - 1] / count.astype(F32), 0.0)
        return jnp.sign(displacement) * jnp.maximum(jnp.abs(displacement) - threshold, 0.0)


def test_a_part_of_the_users(tmp_path):
    agrees(small_agent(trust_region=Diamond(), constraint="projection"), tmp_path / "policy.npz")


# --- primitives, one by one

FLOAT, INT, BYTE, BOOL = ("float32", (3, 5)), ("int32", (3, 5)), ("uint8", (3, 5)), ("bool", (3, 5))
UNARY = (
    "neg abs sign square sqrt cbrt rsqrt floor ceil exp exp2 expm1 log log1p sin cos tan asin acos atan sinh cosh "
    "tanh asinh acosh atanh erf erfc logistic is_finite"
)
BINARY = "add sub mul div rem atan2 max min pow nextafter eq ne lt le gt ge"
WHOLE = "add sub mul div rem max min eq ne lt le gt ge"
A, B = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("f4")


def dots(dimensions, *shapes):
    return lambda x, y: lax.dot_general(x, y, dimensions), *(("float32", shape) for shape in shapes)


def gradient(function):
    return jax.grad(lambda *inputs: jnp.sum(jnp.sin(function(*inputs))))


BRANCHES = [lambda y, a: jnp.sin(y) * a, lambda y, a: y + a, lambda y, a: -y]


def counted(x):
    return lax.while_loop(lambda state: state[0] < A.shape[0], lambda s: (s[0] + 1, jnp.tanh(s[1] @ A @ A.T)), (0, x))


def scanned(x, reverse=False):
    def turn(state, row):
        return state * 0.5 + row[0] * A[0, 0], (state, row[1])

    return lax.scan(turn, x[0], (x, jnp.arange(3.0)), reverse=reverse)


CASES = {
    **{name: (getattr(lax, name), FLOAT) for name in UNARY.split()},
    **{name: (getattr(lax, name), FLOAT, FLOAT) for name in BINARY.split()},
    **{f"{name} of integers": (getattr(lax, name), INT, INT) for name in WHOLE.split()},
    "div of bytes": (lambda x, y: x // (y + jnp.uint8(1)), BYTE, BYTE),
    "neg of integers": (lambda x: abs(-x) * jnp.sign(x), INT),
    "logic": (lambda x, y: (x & ~y, x | y, x ^ y), BOOL, BOOL),
    "logic of integers": (lambda x, y: (x & ~y, x | y, x ^ y), INT, INT),
    "power of integers": (lambda x, y: lax.pow(x, y % 3), FLOAT, INT),
    "powers": (lambda x: [lax.integer_pow(x, y) for y in (-3, -1, 0, 1, 2, 3, 7)], FLOAT),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.7), FLOAT),
    "clamp by arrays": (lax.clamp, FLOAT, FLOAT, FLOAT),
    "select": (lambda which, x, y: jnp.where(which, x, y), BOOL, FLOAT, FLOAT),
    "select of three": (lambda which, x, y: lax.select_n(abs(which) % 3, x, y, x * y), INT, FLOAT, FLOAT),
    "select by one": (lambda x, y: lax.select(x[0, 0] > 0, x, y), FLOAT, FLOAT),
    "round": (lambda x: (jnp.round(x * 2), jnp.round(jnp.round(x) / 2)), FLOAT),
    "types": (lambda x, y: (x.astype(jnp.int32), y.astype(F32) / 3, x.astype(bool), y.astype(jnp.uint8)), FLOAT, INT),
    "bits": (lambda x: lax.bitcast_convert_type(x, jnp.uint32), FLOAT),
    "precision": (lambda x: lax.reduce_precision(x, 8, 23), FLOAT),
    "relu and gelu": (lambda x: (jax.nn.relu(x), jax.nn.gelu(x, approximate=False), jax.nn.softplus(x)), FLOAT),
    "broadcast": (lambda x: (lax.broadcast_in_dim(x, (2, 3, 5), (1, 2)), jnp.broadcast_to(x[:1], (3, 5)) @ A), FLOAT),
    "repeated later": (lambda x: jnp.sum(jnp.full((3, 5), 2.0) + x[0, 0] * jnp.ones((3, 5)), 0) + 0 * x[0], FLOAT),
    "constant": (lambda x: jnp.full((4,), 3.0) + 0 * x[0, 0], FLOAT),
    "constant alone": (lambda x: jnp.full((4,), 3.0), FLOAT),
    "the input": (lambda x: (x, x.T, lax.stop_gradient(x), jnp.copy(x)), FLOAT),
    "reshape": (lambda x: (x.reshape(15), x.reshape(5, 1, 3), x.ravel()[:, None], jnp.squeeze(x[:1], 0)), FLOAT),
    "nothing": (lambda x: jnp.concatenate([x[:, :0][:, None], x[:, None]], 2), FLOAT),
    "expand": (lambda x: lax.expand_dims(x, (0, 2)), FLOAT),
    "transpose": (lambda x: jnp.transpose(x[None], (2, 0, 1)), FLOAT),
    "concatenate": (lambda x: (jnp.concatenate([x, 2 * x[:, :2], A[:3]], 1), jnp.stack([x, x], 1)), FLOAT),
    "concatenate repeated": (
        lambda x: jnp.concatenate([jnp.broadcast_to(x[:1], (3, 5)), jnp.zeros((3, 2))], 1),
        FLOAT,
    ),
    "unstack": (lambda x: jnp.unstack(x, axis=1), FLOAT),
    "split": (lambda x: jnp.split(x, [1, 4], axis=1), FLOAT),
    "tile": (lambda x: (jnp.tile(x, (2, 3)), jnp.repeat(x, 2, axis=1)), FLOAT),
    "rev": (lambda x: x[::-1, ::-1], FLOAT),
    "slice": (lambda x: (x[1:, 1:4:2], x[2], x[:, -1]), FLOAT),
    "pad": (
        lambda x: (jnp.pad(x, ((1, 0), (2, 3)), constant_values=7), lax.pad(x, x[0, 0], ((-1, 2, 0), (0, -2, 0)))),
        FLOAT,
    ),
    "iota": (lambda x: x + lax.broadcasted_iota(F32, (3, 5), 1), FLOAT),
    "times a matrix": (lambda x: (x @ A, A.T @ x.T, x[0] @ A, A.T @ x[0]), FLOAT),
    "dot": dots((((1,), (0,)), ((), ())), (3, 5), (5, 4)),
    "dot over two": dots((((0, 2), (2, 1)), ((), ())), (3, 4, 5), (2, 5, 3)),
    "dot with shared": dots((((1,), (2,)), ((2, 0), (0, 1))), (3, 4, 5), (5, 3, 4)),
    "outer": dots((((), ()), ((), ())), (3,), (5, 2)),
    "inner": dots((((0,), (0,)), ((), ())), (3,), (3,)),
    "dot of integers": (lambda x, y: x @ y.T, INT, INT),
    "reductions": (
        lambda x: [f(x, axis) for f in (jnp.sum, jnp.prod, jnp.max, jnp.min) for axis in (0, 1, None)],
        FLOAT,
    ),
    "reductions of integers": (lambda x: [f(x, 0) for f in (jnp.sum, jnp.prod, jnp.max, jnp.min)], INT),
    "reductions of bools": (lambda x: (jnp.any(x, 0), jnp.all(x, 1), lax.reduce_xor(x, (1,)), jnp.sum(x)), BOOL),
    "sum of what is repeated": (lambda x: jnp.sum(jnp.broadcast_to(x[:1], (3, 5)) * 2.0), FLOAT),
    "arguments": (lambda x: (jnp.argmax(x, 0), jnp.argmin(x, 1), jnp.argmax(x)), FLOAT),
    "accumulations": (lambda x: [f(x, axis=1) for f in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin)], FLOAT),
    "accumulations in reverse": (lambda x: lax.cumsum(x, axis=0, reverse=True), FLOAT),
    "mean, deviation, norm": (lambda x: (jnp.mean(x, 1), jnp.std(x), jnp.linalg.norm(x, axis=0)), FLOAT),
    "softmax": (lambda x: (jax.nn.softmax(x), jax.nn.log_softmax(x, 0), jax.nn.logsumexp(x)), FLOAT),
    "sort": (lambda x: (jnp.sort(x, 0), jnp.argsort(x, 1), *lax.sort([x, x * 2], num_keys=1)), FLOAT),
    "sort of equal ones": (lambda x: jnp.argsort(x, axis=1, stable=True), INT),
    "top k": (lambda x: (*lax.top_k(x, 2), *lax.top_k(x.T, 1)), FLOAT),
    "top k of integers": (lambda x: lax.top_k(x, 4), INT),
    "one row": (lambda x: (x[jnp.argmax(x[:, 0])], x[:, jnp.argmin(x[0])]), FLOAT),
    "rows by number": (
        lambda x, i: (x[i[0] % 3], x[i[0] % 3, i[1] % 5], jnp.asarray(A)[i % 5], x[jnp.array([2, 0])]),
        FLOAT,
        INT,
    ),
    "rows outside": (
        lambda x, i: [x.at[i[0]].get(mode=mode) for mode in ("fill", "clip")] + [i.at[7].get(mode="fill")],
        FLOAT,
        INT,
    ),
    "take along": (lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1), FLOAT),
    "a window": (lambda x, i: lax.dynamic_slice(x, (i[0, 0], i[0, 1]), (2, 3)), FLOAT, INT),
    "a window of a constant": (lambda i: lax.dynamic_slice(A, (i[0, 0], 1), (2, 3)), INT),
    "an update": (lambda x, i: lax.dynamic_update_slice(x, x[:2, :2] * 3, (i[0, 0], i[0, 1])), FLOAT, INT),
    "at set": (lambda x, i: x.at[i[0, 0]].set(jnp.arange(5.0)), FLOAT, INT),
    "at add": (lambda x, i: (x.at[i[0] % 3].add(x[0]), x.at[i[0], 1].add(1.0), x.at[:, 2].multiply(3.0)), FLOAT, INT),
    "at min": (lambda x, i: (x.at[i[0] % 3, 1].min(0.1), x.at[i[0] % 3, 1].max(0.1)), FLOAT, INT),
    "at sub": (lambda x, i: x.at[i[0] % 3].subtract(2.0), FLOAT, INT),
    "gradient of a row": (gradient(lambda x: jnp.sum(x[jnp.argmax(x[:, 0])]) * x[1:, :2]), FLOAT),
    "gradient of a network": (gradient(lambda x: jax.nn.gelu(x @ A) @ A.T), FLOAT),
    "gradient of a maximum": (gradient(lambda x: jnp.max(x, 1)), FLOAT),
    "while": (counted, FLOAT),
    "scan": (scanned, FLOAT),
    "scan in reverse": (lambda x: scanned(x, True), FLOAT),
    "for": (lambda x: lax.fori_loop(0, 4, lambda i, y: y * 0.5 + jnp.asarray(A)[i, 0], x), FLOAT),
    "branches": (lambda x: lax.fori_loop(0, 4, lambda i, y: lax.switch(i % 3, BRANCHES, y, A[0, 0]), x), FLOAT),
    "updates in a loop": (
        lambda x: (
            x + lax.fori_loop(0, 3, lambda i, y: lax.dynamic_update_slice(y, y[:1, :2] + 1, (i, i)), jnp.zeros((3, 5)))
        ),
        FLOAT,
    ),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(x) @ A), FLOAT),
    "own derivative": (jax.nn.silu, FLOAT),
    "x is nan": (lambda x: jnp.where(x > 0, jnp.nan, x), FLOAT),
}


def inputs_for(samples, count):
    random = np.random.default_rng(1)
    draws = {
        "float32": lambda shape: random.standard_normal(shape),
        "int32": lambda shape: random.integers(1, 6, shape) * random.choice([-1, 1], shape),
        "uint8": lambda shape: random.integers(0, 250, shape),
        "bool": lambda shape: random.integers(0, 2, shape),
    }
    return [draws[kind]((count, *shape)).astype(kind) for kind, shape in samples]


def lowered(function, samples):
    return lower(jax.vmap(function), *(jax.ShapeDtypeStruct(shape, kind) for kind, shape in samples))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_primitives_compute_what_jax_computes(case):
    """In values, shapes and types, for a batch of any size, and without a change to what is given."""
    function, *samples = case
    page, arrays = lowered(function, samples)
    run = program(json.loads(json.dumps(page)), arrays)
    inputs = inputs_for(samples, 4)
    for x in inputs:
        x.flags.writeable = False
    wanted = jax.tree.leaves(jax.jit(jax.vmap(function))(*inputs))
    for count in (1, 4):
        with np.errstate(all="ignore"):
            found = run(count, *(x[:count] for x in inputs))
        for left, right in zip(found, wanted, strict=True):
            assert (left.dtype, left.shape) == (right.dtype, (count, *right.shape[1:]))
            np.testing.assert_allclose(left, right[:count], rtol=3e-5, atol=3e-6)


def steps_of(page):
    """The names of a program's steps, and of those in it."""
    steps = [*page["once"], *page["steps"]]
    inner = [steps_of(program) for step in steps for program in step.get("programs", ())]
    return {step["do"] for step in steps}.union(*inner)


def test_every_primitive_of_the_page_is_among_them(monkeypatch):
    class Rules(dict):
        def __getitem__(self, name):
            tried.add(name)
            return super().__getitem__(name)

    tried = set()
    monkeypatch.setattr(walking, "RULES", Rules(walking.RULES))
    steps = set()
    for function, *samples in CASES.values():
        page, _ = lowered(function, samples)
        steps |= steps_of(page)
    assert set(walking.RULES) - tried == {"rint"}  # for `round`
    assert {*plain_policy.MAKERS, *plain_policy.SEVERAL, *plain_policy.FUNCTIONS} <= steps


# --- what is refused, and what is left out


def sentence(function, *samples):
    with pytest.raises(ExportError) as caught:
        lowered(function, samples)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_primitive_is_refused_by_its_name_and_place():
    def inverted(x):
        return jax.scipy.special.erfinv(x)

    place = rf"inverted in tests/test_plain_policy.py, line {inverted.__code__.co_firstlineno + 1},"
    assert sentence(inverted, FLOAT) == (
        f"The format numpy has no NumPy code for the primitive 'erf_inv', which {place} uses: choose the format "
        "stablehlo, or another part."
    )


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.astype(jnp.bfloat16), "no numbers of type bfloat16"),
        (lambda x: jax.random.normal(jax.random.key(0), x.shape) + x, "no numbers of type key<fry>"),
        (lambda x: lax.reduce_precision(x, 5, 10), "no numbers of less than float32's precision"),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 1), (0, 0, 0))), "no entries added between others"),
        (lambda x: lax.reduce(x, jnp.zeros(()), lambda a, b: a * 0.5 + b, (0,)), "for the primitive 'reduce'"),
        (lambda x: jax.pure_callback(np.sin, x, x, vmap_method="expand_dims"), "for the primitive 'pure_callback'"),
        (lax.round, "no rounding away from zero"),
        (lambda x: lax.sort([x, x], num_keys=2), "no sorting by several keys"),
        (lambda x: jnp.linalg.inv(x[:, :3]), "NumPy code for the primitive '"),
    ],
)
def test_what_numpy_cannot_do_is_refused_in_one_sentence(function, words):
    assert words in sentence(function, FLOAT)


def test_a_stochastic_solver_is_refused(registered):
    class Noisy(deflow.solvers.AbstractStochasticSolver):
        def sample(self, velocity, noise, *, key):
            return noise + velocity(jnp.zeros(()), noise) + jax.random.normal(key, noise.shape)

    agent = small_agent(solver=Noisy())
    with pytest.raises(ExportError, match=r"type key<fry>, which _key_of in solvers/base.py, line \d+, makes"):
        lower(jax.vmap(agent.act_from), *shapes_of(agent))


def test_sizes_computed_from_the_batchs_are_refused():
    with pytest.raises(ExportError, match=r"such as \(2\*b, 1\): choose"):
        lower(lambda x: jnp.zeros((2 * x.shape[0], 1)), jax.ShapeDtypeStruct((3,), "float32"))
    with pytest.raises(ExportError, match=r"several axes as long as the batch, such as \(b, b, 1\)"):
        lower(lambda x: (x @ x.T)[..., None], jax.ShapeDtypeStruct((3,), "float32"))
    with pytest.raises(ExportError, match="no numbering of the batch's entries: choose"):
        lower(lambda x: x + lax.broadcasted_iota(F32, x.shape, 0), jax.ShapeDtypeStruct((3,), "float32"))


def test_steps_and_constants_are_there_once_and_unused_ones_not():
    weight, other = np.random.default_rng(0).standard_normal((2, 40, 40)).astype("f4")

    def function(x):
        jnp.sin(x @ other)
        return jnp.tanh(x @ weight) * 2 + jnp.tanh(x @ weight)

    page, arrays = lower(function, jax.ShapeDtypeStruct((40,), "float32"))
    assert [step["do"] for step in page["steps"]] == ["dot", "tanh", "mul", "add"]
    assert sorted(array.shape for array in arrays) == [(), (40, 40)]
    assert page["places"] == 6  # two inputs, two constants, and two for all that is computed


def test_what_depends_on_constants_alone_is_computed_beforehand():
    large = jnp.asarray(np.random.default_rng(0).standard_normal((64, 64)).astype("f4"))
    page, arrays = lower(
        lambda x: x @ (large @ large.T) + jnp.sum(large, 0)[None], jax.ShapeDtypeStruct((64,), "float32")
    )
    assert [step["do"] for step in page["steps"]] == ["dot", "add"]
    assert [step["do"] for step in page["once"]] == ["transpose", "dot"]  # as large as the weights: when it is loaded
    assert sorted(array.shape for array in arrays) == [(1, 64), (64, 64)]


# --- where there is nothing but NumPy


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    agent, folder = small_agent(candidates=2), tmp_path_factory.mktemp("robot")
    policy = export(folder / "policy.npz", for_acting(agent).act_from, *shapes_of(agent))
    (folder / "plain_policy.py").write_bytes(PAGE.read_bytes())
    return folder, policy


def test_the_page_runs_where_numpy_alone_can_be_imported(exported):
    folder, policy = exported
    observations, noises = draw(small_agent(candidates=2), 3)
    np.savez(folder / "given.npz", observations=observations, noises=noises)
    script = """
        import sys

        class Nothing:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] not in ("numpy", "plain_policy", "json", *sys.stdlib_module_names):
                    raise ImportError(name)

        sys.meta_path.insert(0, Nothing())
        for name in ("jax", "deflow", "equinox", "scipy"):
            try:
                __import__(name)
            except ImportError:
                continue
            raise SystemExit(name + " could be imported")
        import numpy as np
        from plain_policy import PlainPolicy

        given = np.load("given.npz")
        np.save("actions.npy", PlainPolicy("policy.npz").act(given["observations"], given["noises"]))
    """
    code = textwrap.dedent(script)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=120, env={"PYTHONSAFEPATH": ""})
    np.testing.assert_allclose(np.load(folder / "actions.npy"), policy.act(observations, noises), atol=1e-6)


def test_the_page_is_written_for_old_pythons():
    tree = ast.parse(PAGE.read_text(), feature_version=(3, 8))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert sorted(alias.name for node in imported for alias in node.names) == ["json", "numpy"]


@pytest.mark.parametrize(
    ("observation", "noise", "words"),
    [
        ((4,), (2, 2), "one observation of shape (3,), or a batch (B, 3) with as many noises as observations, got the"),
        ((), (2, 2), "got the shape ()"),
        ((2, 2, 3), (2, 2, 2, 2), "got the shape (2, 2, 3)"),
        ((0, 3), (0, 2, 2), "got the shape (0, 3)"),
        (
            (3,),
            (2,),
            "one noise of shape (2, 2), or a batch (B, 2, 2) with as many noises as observations, got the shape (2,)",
        ),
        ((5, 3), (2, 2), "one noise of shape (2, 2)"),
        ((5, 3), (4, 2, 2), "got the shape (4, 2, 2): give it what"),
    ],
)
def test_other_shapes_are_refused_in_one_sentence(exported, observation, noise, words):
    _, policy = exported
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        policy.act(np.zeros(observation), np.zeros(noise))
    assert "\n" not in str(caught.value)


def test_numbers_of_other_types_are_converted(exported):
    _, policy = exported
    noise = np.zeros(policy.noise_shape, np.float32)
    wanted = policy.act(np.float32([1, 0, 2]), noise)
    for observation in ([1, 0, 2], np.array([1, 0, 2]), np.float64([1, 0, 2])):
        np.testing.assert_array_equal(policy.act(observation, noise.astype(float)), wanted)
    with pytest.raises(ValueError, match="an observation of type float32, got <U1: convert it"):
        policy.act(np.array(["a", "b", "c"]), noise)


def test_about_is_what_was_written(exported):
    assert exported[1].about == {"name": "test"}
