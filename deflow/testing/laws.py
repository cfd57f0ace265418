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
from ..critics import AbstractCritic, AbstractInquiringCritic, AbstractStochasticCritic, Origin
from ..encoders import AbstractImageEncoderConfig
from ..fields import AbstractField
from ..refiners import AbstractDirectRefiner, AbstractLearnedRefiner, AbstractRefiner, Inquiry
from ..solvers import AbstractSolver, AbstractStochasticSolver
from ..trust_regions import AbstractFlowRegion, AbstractTrustRegion
from ..types import Spec, trainable
from .checks import built, check, check_array, check_batched, check_close, check_gradients, has_nonzero, layout
from .example import IMAGES, SPEC, example_data
from .flow_regions import check_flow_region


def check_encoder(encoder: Any, *, spec: Spec | None = None) -> None:
    """An observation becomes a finite float32 vector, the same alone and in a batch. Of the configuration of an encoder
    for images, an image of bytes does."""
    spec = spec or (IMAGES if isinstance(encoder, AbstractImageEncoderConfig) else SPEC)
    part, data = built(encoder, spec), example_data(spec)
    features = part(jnp.asarray(data.observation[0]))
    check_array(part, "features", features, (features.size,))
    check_batched(part, part, jnp.asarray(data.observation))


def check_field(field: Any, *, spec: Spec = SPEC) -> None:
    """Velocities have the action's shape, are finite, depend on the point, and have finite gradients."""
    part, data = built(field, spec), example_data(spec)
    check(part, isinstance(part, AbstractField), "what a field's configuration builds must be an AbstractField")
    observation, point, time = jnp.asarray(data.observation[0]), jnp.asarray(data.action[0]), jnp.asarray(0.3)
    features = part.encode(observation)
    check_array(part, "features", features, (features.size,))
    check_array(part, "velocity", part(features, point, time), point.shape)
    check_batched(part, lambda action: part(features, action, time), jnp.asarray(data.action))

    def total(part: Any, point: Any) -> Any:
        return jnp.sum(jnp.square(part(part.encode(observation), point, time)))

    check_gradients(part, total, point)
    slope = jax.grad(total, argnums=1)(part, point)
    check(part, jnp.any(slope != 0), "the velocity must depend on the point")


def check_solver(solver: AbstractSolver, *, action_size: int = 3) -> None:
    """Constant velocities are solved exactly (in float64), by all but stochastic solvers, whose samples depend on the
    key; shape and dtype are kept; the same alone and in a batch; the gradient with respect to the noise is finite and
    not zero."""
    noises = jax.random.normal(jax.random.key(0), (4, action_size))

    def solve(noise: Any) -> Any:
        return solver(lambda time, point: jnp.cos(3.0 * time) * jnp.tanh(point), noise)

    def slope(noise: Any) -> Any:
        return jax.grad(lambda noise: jnp.sum(solve(noise)))(noise)

    batch, alone, slopes = jax.jit(lambda rows: (jax.vmap(solve)(rows), solve(rows[1]), jax.vmap(slope)(rows)))(noises)
    check_array(solver, "proposals", batch, noises.shape)
    check_close(solver, "what vmap gives", batch[1], alone, 1e-5)
    check(solver, jnp.all(jnp.isfinite(slopes) & (slopes != 0)), f"x(1)'s gradient is {slopes}")
    if isinstance(solver, AbstractStochasticSolver):
        one, other = (
            solver.sample(lambda time, point: point, noises[0], key=jax.random.key(seed)) for seed in range(2)
        )
        check(
            solver,
            jnp.any(one != other),
            "two keys must give two samples; derive from AbstractSolver if it draws nothing",
        )
    with jax.enable_x64(True):
        noise, constant = np.linspace(-0.3, 0.4, action_size), np.linspace(-1.1, 1.7, action_size)
        solved = jax.jit(lambda noise: solver(lambda time, point: jnp.asarray(constant), noise))(noise)
        check(solver, solved.dtype == jnp.float64, f"float64 noise must be solved in float64, got {solved.dtype}")
        if not isinstance(solver, AbstractStochasticSolver):
            check_close(solver, "x(1) of a constant velocity", solved, noise + constant, 1e-12)


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
    part, data = built(refiner, spec), example_data(spec)
    check(part, isinstance(part, AbstractRefiner), "what a refiner's configuration builds must be an AbstractRefiner")
    observation, noise, proposal = (jnp.asarray(a) for a in (data.observation[0], data.action[1], data.action[0]))
    inquiry = Inquiry(
        value=lambda action: -jnp.sum(jnp.square(action - 0.2)),
        size=lambda displacement: jnp.mean(jnp.square(displacement)),
        project=lambda displacement: jnp.clip(displacement, -0.1, 0.1),
    )

    def displace(part: Any, proposal: Any) -> Any:
        return part(observation, noise, proposal, inquiry)

    check_array(part, "displacement", displace(part, proposal), proposal.shape)
    check_batched(part, lambda proposal: displace(part, proposal), jnp.asarray(data.action))
    check_gradients(part, lambda part, proposal: jnp.sum(displace(part, proposal)), proposal)
    if not isinstance(part, AbstractLearnedRefiner):
        parameters = jax.tree.leaves(eqx.filter(part, trainable(part)))
        check(part, not parameters, "a refiner with parameters must derive from AbstractLearnedRefiner")
    if isinstance(part, AbstractDirectRefiner):
        action = part.act(observation, noise)
        check_array(part, "action", action, proposal.shape)
        check_close(part, "displacement", displace(part, proposal), action - proposal, 1e-6)


def check_trust_region(region: Any, *, action_size: int = 3, spec: Spec | None = None) -> None:
    """size >= 0 and size(0) = 0; a projection lies inside, leaves what is inside, changes nothing the second time and
    is the nearest point (Euclidean distance); gradients are finite everywhere, also at 0.

    Of a region that asks the flow: size >= 0, finite and with a finite gradient for actions of any length at any time,
    the same alone and in a batch; it depends on the velocity."""
    spec = spec or Spec((3,), action_size)
    part, data = built(region, spec), example_data(spec)
    if isinstance(part, AbstractFlowRegion):
        return check_flow_region(part, spec=spec)
    check(part, isinstance(part, AbstractTrustRegion), "it must build an AbstractTrustRegion or an AbstractFlowRegion")
    check(part, part.limit > 0, f"the bound must be positive, got {part.limit}")
    observation = jnp.asarray(data.observation[0])
    size = jax.jit(jax.vmap(lambda displacement: part.size(displacement, observation)))
    project = jax.jit(jax.vmap(lambda displacement: part.project(displacement, observation)))

    zero = jnp.zeros((1, spec.action_size))
    check_array(part, "size", size(zero), (1,))
    check(part, float(size(zero)[0]) == 0, f"the size of no displacement must be 0, got {size(zero)[0]}")
    scales = jnp.repeat(10.0 ** jnp.arange(-4.0, 1.5, 0.5), 6)[:, None]
    directions = jax.random.normal(jax.random.key(1), (len(scales), spec.action_size))
    moves = directions * jnp.broadcast_to(scales, directions.shape)
    sizes, projected = size(moves), project(moves)
    check_array(part, "projection", projected, moves.shape)
    check(part, jnp.all(sizes >= 0), "no size may be negative")
    limit = part.limit * (1 + 1e-4)
    check(part, jnp.all(size(projected) <= limit), f"a projection has size {size(projected).max()}")
    inside = np.asarray(sizes <= part.limit)
    check_close(part, "the projection of what is inside", projected[inside], moves[inside], 1e-6)
    check_close(part, "the projection of a projection", project(projected), projected, 1e-5)
    check(part, np.any(inside), "nothing tried was inside: the region is empty")
    _check_nearest(part, np.asarray(moves), np.asarray(projected), project)

    for what, function in (("size", part.size), ("projection", part.project)):
        slopes = jax.vmap(jax.grad(lambda move, function=function: jnp.sum(function(move, observation))))
        slope = jax.jit(slopes)(jnp.concatenate([zero, moves]))
        finite = np.asarray(jnp.all(jnp.isfinite(slope), axis=-1))
        check(
            part,
            finite[0],
            f"the gradient of the {what} at the displacement 0 must be finite, got {slope[0]}; for a square root, "
            "deflow.trust_regions.root has the gradient 0 there",
        )
        check(part, finite.all(), f"the gradient of the {what} must be finite everywhere")


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
        check(part, nearer[worst] <= 0, law)


def check_constraint(constraint: Any, *, bound: float = 0.1, learning_rate: float = 0.01) -> None:
    """Larger sizes cost no less, and outside the bound the slope is the multiplier, or at least that where it depends
    on the size; an update raises the multiplier only if the size was outside, and lowers it only if inside; hard
    constraints project, others leave displacements."""
    part = built(constraint, SPEC)
    for size in (0.2 * bound, 3.0 * bound):
        outside = size > bound
        loss, slope = jax.value_and_grad(part.loss)(jnp.asarray(size), bound)
        multiplier = part.multiplier()
        check_array(part, "loss", loss, ())
        check_array(part, "multiplier", multiplier, ())
        check(part, slope >= 0, f"the loss falls with the size: slope {slope} at {size}")
        parameters, rest = eqx.partition(part, trainable(part))

        def loss_of(parameters: Any, rest: Any = rest, size: float = size) -> Any:
            return eqx.combine(parameters, rest).loss(jnp.asarray(size), bound)

        gradients = jax.grad(loss_of)(parameters)
        moved = jax.tree.map(lambda p, g: p - jnp.asarray(learning_rate, p.dtype) * g, parameters, gradients)
        after = eqx.combine(moved, rest).advance(jnp.asarray(size), bound)
        check(part, layout(after) == layout(part), "advance must keep the shapes and types of all arrays")
        change = float(after.multiplier() - multiplier)
        right = change >= 0 if outside else change <= 0
        check(part, right, f"the multiplier moves by {change} when the size {size} meets the bound {bound}")
    if not isinstance(part, AbstractHardConstraint):
        _check_slopes(part, bound)
    displacement = jnp.asarray([0.5, -1.0])
    expected = displacement * 0.25 if isinstance(part, AbstractHardConstraint) else displacement
    restricted = part.restrict(displacement, lambda move: move * 0.25)
    check_close(part, "restricted displacement", restricted, expected, 0.0)


def _check_slopes(part: Any, bound: float) -> None:
    """A loss that is linear outside, and as steep or flat inside, has the multiplier as its slope. The slope of any
    other (a quadratic penalty, a barrier) is at least the multiplier outside, and does not fall there."""
    inside, *outside = (float(jax.grad(part.loss)(jnp.asarray(size * bound), bound)) for size in (0.2, 1.5, 2.0, 3.0))
    multiplier = float(part.multiplier())
    if np.allclose(outside, outside[-1], rtol=1e-5, atol=1e-5) and np.isclose(inside, (0.0, outside[-1])).any():
        check_close(part, "slope outside the bound", outside[-1], multiplier, 1e-5)
    least = multiplier - 1e-5 * (1 + abs(multiplier))
    check(
        part, min(outside) >= least, f"the slope outside the bound is {min(outside)}, below the multiplier {multiplier}"
    )
    falls = np.any(np.diff(outside) < -1e-5 * (1 + np.abs(outside[0])))
    check(part, not falls, f"the slope must not fall outside the bound, got {outside} at 1.5, 2 and 3 bounds")


def check_critic(critic: Any, *, spec: Spec = SPEC) -> None:
    """Values, scores and losses are finite scalars, or the critic has no value (`ValueError`); no gradient flows into
    the next actions, their sizes or what is `Fixed`; two keys give two samples of a stochastic value; `advance` changes
    only what is `Fixed` and preserves every shape."""
    part, data = built(critic, spec), example_data(spec)
    check(part, isinstance(part, AbstractCritic), "what a critic's configuration builds must be an AbstractCritic")
    transition, key = jax.tree.map(jnp.asarray, data[0]), jax.random.key(3)
    for what in ("value", "score"):
        try:
            number = getattr(part, what)(transition.observation, transition.action)
        except ValueError:
            continue
        check_array(part, what, number, ())
    if isinstance(part, AbstractStochasticCritic):
        keys = jax.random.split(key)
        one, other = (part.sample_value(transition.observation, transition.action, key=each) for each in keys)
        check_array(part, "sampled value", one, ())
        check(part, one != other, "two keys must give two values; derive from AbstractCritic if it draws nothing")
    following = jax.random.uniform(key, (part.next_actions, spec.action_size), minval=-1.0)
    noises, sizes = jax.random.normal(key, following.shape), jnp.full(part.next_actions, 0.5)

    def outcome(part: Any, following: Any, sizes: Any) -> Any:
        if isinstance(part, AbstractInquiringCritic):
            return part.inquiring_loss(transition, following, Origin(noises, sizes), key=key)
        return part.loss(transition, following, key=key)

    loss, metrics = outcome(part, following, sizes)
    check_array(part, "loss", loss, ())
    for name, metric in metrics.items():
        check_array(part, f"metric {name}", metric, ())

    def total(part: Any, made: Any) -> Any:
        return outcome(part, *made)[0]

    check_gradients(part, total, (following, sizes))
    arrays, rest = eqx.partition(part, eqx.is_inexact_array)
    gradients = jax.grad(lambda arrays, made: total(eqx.combine(arrays, rest), made), argnums=(0, 1))
    own, into = jax.jit(gradients)(arrays, (following, sizes))
    held = eqx.filter(own, jax.tree.map(lambda moves: not moves, trainable(own)))
    check(
        part,
        not has_nonzero(into),
        "the loss has a gradient in the next actions or their sizes: stop it where they become the target",
    )
    check(part, not has_nonzero(held), "the loss has a gradient in what is Fixed: stop it")
    after = part.advance()
    check(part, layout(after) == layout(part), "advance must keep the shapes and types of all arrays")
    before, then = (eqx.filter(tree, trainable(tree)) for tree in (part, after))
    check(part, eqx.tree_equal(before, then), "advance must leave what the optimizer trains")
