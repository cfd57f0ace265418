"""The laws of each kind as functions. All members of deflow pass them, and yours should.

    def test_diamond():
        deflow.testing.check_trust_region(Diamond(bound=0.1))

Each function takes a part or its configuration and tests it at small sizes. It raises a `LawError` for the first law
that does not hold.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..constraints import AbstractHardConstraint
from ..critics import AbstractCritic
from ..errors import LawError
from ..fields import AbstractField
from ..refiners import AbstractDirectRefiner, AbstractLearnedRefiner, AbstractRefiner, Inquiry
from ..solvers import AbstractSolver
from ..trust_regions import AbstractTrustRegion
from ..types import Spec, build, placeholder_data, trainable
from .example import SPEC, example_context, example_data


def check_encoder(encoder: Any, *, spec: Spec = SPEC) -> None:
    """An observation becomes a finite float32 vector, the same alone and in a batch."""
    part, data = _build(encoder, spec), example_data(spec)
    features = part(jnp.asarray(data.observation[0]))
    _check_array(part, "features", features, (features.size,))
    _check_batched(part, part, jnp.asarray(data.observation))


def check_field(field: Any, *, spec: Spec = SPEC) -> None:
    """Velocities have the action's shape, are finite, depend on the point, and have finite gradients."""
    part, data = _build(field, spec), example_data(spec)
    _check(part, isinstance(part, AbstractField), "what a field's configuration builds must be an AbstractField")
    observation, point, time = jnp.asarray(data.observation[0]), jnp.asarray(data.action[0]), jnp.asarray(0.3)
    features = part.encode(observation)
    _check_array(part, "features", features, (features.size,))
    _check_array(part, "velocity", part(features, point, time), point.shape)
    _check_batched(part, lambda action: part(features, action, time), jnp.asarray(data.action))

    def total(part: Any, point: Any) -> Any:
        return jnp.sum(jnp.square(part(part.encode(observation), point, time)))

    _check_gradient(part, total, point)
    slope = jax.grad(total, argnums=1)(part, point)
    _check(part, jnp.any(slope != 0), "the velocity must depend on the point")


def check_solver(solver: AbstractSolver, *, action_size: int = 3) -> None:
    """Constant velocities are solved exactly (in float64); shape and dtype are kept; the same alone and in a batch;
    the gradient with respect to the noise is finite and not zero."""
    noises = jax.random.normal(jax.random.key(0), (4, action_size))

    def solve(noise: Any) -> Any:
        return solver(lambda time, point: jnp.cos(3.0 * time) * jnp.tanh(point), noise)

    def slope(noise: Any) -> Any:
        return jax.grad(lambda noise: jnp.sum(solve(noise)))(noise)

    batch, alone, slopes = jax.jit(lambda rows: (jax.vmap(solve)(rows), solve(rows[1]), jax.vmap(slope)(rows)))(noises)
    _check_array(solver, "proposals", batch, noises.shape)
    _check_close(solver, "what vmap gives", batch[1], alone, 1e-5)
    _check(solver, jnp.all(jnp.isfinite(slopes) & (slopes != 0)), f"x(1)'s gradient is {slopes}")
    with jax.enable_x64(True):
        noise, constant = np.linspace(-0.3, 0.4, action_size), np.linspace(-1.1, 1.7, action_size)
        solved = jax.jit(lambda noise: solver(lambda time, point: jnp.asarray(constant), noise))(noise)
        _check(solver, solved.dtype == jnp.float64, f"float64 noise must be solved in float64, got {solved.dtype}")
        _check_close(solver, "x(1) of a constant velocity", solved, noise + constant, 1e-12)


def measured_order(solver: Any) -> float:
    """The order of convergence of a solver with a field `steps`, between 16 and 32 steps in float64, on
    dx/dt = x^2 cos(t): x(1) = 1 / (1/x0 - sin 1)."""
    start = np.asarray([0.5, 0.25])
    exact = 1.0 / (1.0 / start - np.sin(1.0))
    errors = []
    with jax.enable_x64(True):
        for steps in (16, 32):
            sized = dataclasses.replace(solver, steps=steps)
            end = jax.jit(lambda x, sized=sized: sized(lambda time, point: jnp.square(point) * jnp.cos(time), x))(start)
            errors.append(np.abs(end - exact).max())
    return float(np.log2(errors[0] / errors[1]))


def check_refiner(refiner: Any, *, spec: Spec = SPEC) -> None:
    """Displacements have the action's shape and are finite, alone as in a batch; only learned refiners have
    parameters; a direct refiner's displacement is act(observation, noise) - proposal."""
    part, data = _build(refiner, spec), example_data(spec)
    _check(part, isinstance(part, AbstractRefiner), "what a refiner's configuration builds must be an AbstractRefiner")
    observation, noise, proposal = (jnp.asarray(a) for a in (data.observation[0], data.action[1], data.action[0]))
    inquiry = Inquiry(
        value=lambda action: -jnp.sum(jnp.square(action - 0.2)),
        size=lambda displacement: jnp.mean(jnp.square(displacement)),
        project=lambda displacement: jnp.clip(displacement, -0.1, 0.1),
    )

    def displace(part: Any, proposal: Any) -> Any:
        return part(observation, noise, proposal, inquiry)

    _check_array(part, "displacement", displace(part, proposal), proposal.shape)
    _check_batched(part, lambda proposal: displace(part, proposal), jnp.asarray(data.action))
    _check_gradient(part, lambda part, proposal: jnp.sum(displace(part, proposal)), proposal)
    if not isinstance(part, AbstractLearnedRefiner):
        parameters = jax.tree.leaves(eqx.filter(part, trainable(part)))
        _check(part, not parameters, "a refiner with parameters must derive from AbstractLearnedRefiner")
    if isinstance(part, AbstractDirectRefiner):
        action = part.act(observation, noise)
        _check_array(part, "action", action, proposal.shape)
        _check_close(part, "displacement", displace(part, proposal), action - proposal, 1e-6)


def check_trust_region(region: Any, *, action_size: int = 3, spec: Spec | None = None) -> None:
    """size >= 0 and size(0) = 0; a projection lies inside, leaves what is inside, changes nothing the second time and
    is the nearest point (Euclidean distance); gradients are finite everywhere, also at 0."""
    spec = spec or Spec((3,), action_size)
    part, data = _build(region, spec), example_data(spec)
    _check(part, isinstance(part, AbstractTrustRegion), "it must build an AbstractTrustRegion")
    _check(part, part.limit > 0, f"the bound must be positive, got {part.limit}")
    observation = jnp.asarray(data.observation[0])
    size = jax.jit(jax.vmap(lambda displacement: part.size(displacement, observation)))
    project = jax.jit(jax.vmap(lambda displacement: part.project(displacement, observation)))

    zero = jnp.zeros((1, spec.action_size))
    _check_array(part, "size", size(zero), (1,))
    _check(part, float(size(zero)[0]) == 0, f"the size of no displacement must be 0, got {size(zero)[0]}")
    scales = jnp.repeat(10.0 ** jnp.arange(-4.0, 1.5, 0.5), 6)[:, None]
    directions = jax.random.normal(jax.random.key(1), (len(scales), spec.action_size))
    moves = directions * jnp.broadcast_to(scales, directions.shape)
    sizes, projected = size(moves), project(moves)
    _check_array(part, "projection", projected, moves.shape)
    _check(part, jnp.all(sizes >= 0), "no size may be negative")
    limit = part.limit * (1 + 1e-4)
    _check(part, jnp.all(size(projected) <= limit), f"a projection has size {size(projected).max()}")
    inside = np.asarray(sizes <= part.limit)
    _check_close(part, "the projection of what is inside", projected[inside], moves[inside], 1e-6)
    _check_close(part, "the projection of a projection", project(projected), projected, 1e-5)
    _check(part, np.any(inside), "nothing tried was inside: the region is empty")
    _check_nearest(part, np.asarray(moves), np.asarray(projected), project)

    for what, function in (("size", part.size), ("projection", part.project)):
        slopes = jax.vmap(jax.grad(lambda move, function=function: jnp.sum(function(move, observation))))
        slope = jax.jit(slopes)(jnp.concatenate([zero, moves]))
        _check(part, jnp.all(jnp.isfinite(slope)), f"the gradient of the {what} must be finite everywhere")


def _check_nearest(part: Any, moves: Any, projected: Any, project: Any) -> None:
    """No point inside, near the projection or far from it, is nearer to the displacement."""
    random = np.random.default_rng(2)
    distance = np.linalg.norm(moves - projected, axis=-1)
    for scale in (0.01, 0.1, 1.0):
        shifts = random.standard_normal(moves.shape) * scale * np.linalg.norm(projected, axis=-1, keepdims=True)
        others = np.asarray(project(jnp.asarray(projected + shifts, jnp.float32)))
        nearer = distance - np.linalg.norm(moves - others, axis=-1) - 1e-4 * distance - 1e-6
        worst = int(np.argmax(nearer))
        law = f"{others[worst]} is inside, and nearer to {moves[worst]} than the projection {projected[worst]} is"
        _check(part, nearer[worst] <= 0, law)


def check_constraint(constraint: Any, *, bound: float = 0.1, learning_rate: float = 0.01) -> None:
    """Larger sizes cost no less, and outside the bound the slope is the multiplier; an update raises the multiplier
    only if the size was outside, and lowers it only if inside; hard constraints project, others leave displacements."""
    part = _build(constraint, SPEC)
    for size in (0.2 * bound, 3.0 * bound):
        outside = size > bound
        loss, slope = jax.value_and_grad(part.loss)(jnp.asarray(size), bound)
        multiplier = part.multiplier()
        _check_array(part, "loss", loss, ())
        _check_array(part, "multiplier", multiplier, ())
        _check(part, slope >= 0, f"the loss falls with the size: slope {slope} at {size}")
        if outside and not isinstance(part, AbstractHardConstraint):
            _check_close(part, "slope outside the bound", slope, multiplier, 1e-5)
        parameters, rest = eqx.partition(part, trainable(part))

        def loss_of(parameters: Any, rest: Any = rest, size: float = size) -> Any:
            return eqx.combine(parameters, rest).loss(jnp.asarray(size), bound)

        gradients = jax.grad(loss_of)(parameters)
        moved = jax.tree.map(lambda p, g: p - jnp.asarray(learning_rate, p.dtype) * g, parameters, gradients)
        after = eqx.combine(moved, rest).advance(jnp.asarray(size), bound)
        _check(part, _layout(after) == _layout(part), "advance must keep the shapes and types of all arrays")
        change = float(after.multiplier() - multiplier)
        right = change >= 0 if outside else change <= 0
        _check(part, right, f"the multiplier moves by {change} when the size {size} meets the bound {bound}")
    displacement = jnp.asarray([0.5, -1.0])
    expected = displacement * 0.25 if isinstance(part, AbstractHardConstraint) else displacement
    restricted = part.restrict(displacement, lambda move: move * 0.25)
    _check_close(part, "restricted displacement", restricted, expected, 0.0)


def check_critic(critic: Any, *, spec: Spec = SPEC) -> None:
    """Values, scores and losses are finite scalars, or the critic has no value (`ValueError`); no gradient flows into
    the next actions or what is `Fixed`; `advance` changes only what is `Fixed` and preserves every shape."""
    part, data = _build(critic, spec), example_data(spec)
    _check(part, isinstance(part, AbstractCritic), "what a critic's configuration builds must be an AbstractCritic")
    transition, key = jax.tree.map(jnp.asarray, data[0]), jax.random.key(3)
    for what in ("value", "score"):
        try:
            number = getattr(part, what)(transition.observation, transition.action)
        except ValueError:
            continue
        _check_array(part, what, number, ())
    following = jax.random.uniform(key, (part.next_actions, spec.action_size), minval=-1.0)
    loss, metrics = part.loss(transition, following, key=key)
    _check_array(part, "loss", loss, ())
    for name, metric in metrics.items():
        _check_array(part, f"metric {name}", metric, ())

    def total(part: Any, following: Any) -> Any:
        return part.loss(transition, following, key=key)[0]

    _check_gradient(part, total, following)
    arrays, rest = eqx.partition(part, eqx.is_inexact_array)
    gradients = jax.grad(lambda arrays, following: total(eqx.combine(arrays, rest), following), argnums=(0, 1))
    own, into = jax.jit(gradients)(arrays, following)
    held = eqx.filter(own, jax.tree.map(lambda moves: not moves, trainable(own)))
    _check(part, not _any(into), "the loss has a gradient in the next actions: stop it where they become the target")
    _check(part, not _any(held), "the loss has a gradient in what is Fixed: stop it")
    after = part.advance()
    _check(part, _layout(after) == _layout(part), "advance must keep the shapes and types of all arrays")
    before, then = (eqx.filter(tree, trainable(tree)) for tree in (part, after))
    _check(part, eqx.tree_equal(before, then), "advance must leave what the optimizer trains")


def _build(choice: Any, spec: Spec) -> Any:
    """The part, checked to be the same when built again, and to have the same shapes when built from other data."""
    context, key = example_context(spec, data=example_data(spec)), jax.random.key(4)
    part = build(choice, context, key=key)
    _check(part, eqx.tree_equal(part, build(choice, context, key=key)), "the same key must build the same part")
    other = example_context(spec, data=placeholder_data(spec))
    bare = eqx.filter_eval_shape(lambda: build(choice, other, key=key))
    _check(part, _layout(bare) == _layout(part), "the data must not decide the shapes and types of the arrays")
    return part


def _layout(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(eqx.filter(tree, lambda leaf: hasattr(leaf, "dtype")))
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _any(gradients: Any) -> bool:
    return any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients))


def _check(part: Any, holds: Any, law: str) -> None:
    if not holds:
        raise LawError(f"{type(part).__name__}: {law}.")


def _check_array(part: Any, what: str, array: Any, shape: tuple[int, ...]) -> None:
    got = f"{jnp.shape(array)} and {jnp.result_type(array)}"
    right = jnp.shape(array) == shape and jnp.result_type(array) == jnp.float32
    _check(part, right, f"{what} must have the shape {shape} and type float32, got {got}")
    _check(part, jnp.all(jnp.isfinite(array)), f"{what} must be finite, got {array}")


def _check_close(part: Any, what: str, got: Any, expected: Any, tolerance: float) -> None:
    close = np.allclose(got, expected, rtol=tolerance, atol=tolerance)
    _check(part, close, f"{what} must be {expected}, got {got}")


def _check_batched(part: Any, function: Any, rows: Any) -> None:
    """The same alone and in a batch."""
    batch, alone = jax.jit(lambda rows: (jax.vmap(function)(rows), function(rows[1])))(rows)
    _check_close(part, "what vmap gives", batch[1], alone, 1e-5)


def _check_gradient(part: Any, function: Any, argument: Any) -> None:
    """The gradients of a scalar function(part, argument) are finite."""
    arrays, rest = eqx.partition(part, trainable(part))

    @jax.jit
    def gradients(arrays: Any, argument: Any) -> Any:
        return jax.grad(lambda a, x: function(eqx.combine(a, rest), x), argnums=(0, 1))(arrays, argument)

    finite = [bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients(arrays, argument))]
    _check(part, all(finite), "all gradients must be finite")
