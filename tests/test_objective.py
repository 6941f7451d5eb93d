"""What every objective does, by registry, against a model whose evidence is known."""

import dataclasses
import functools
import typing

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from oracle import LinearGaussian

from vae_tf.errors import ConfigError
from vae_tf.objective import (
    OBJECTIVES,
    ControlledCapacity,
    DipVae,
    Draw,
    Elbo,
    FreeBits,
    ImportanceWeighted,
    InfoVae,
    Renyi,
    TotalCorrelation,
)

tfd = tfp.distributions
MODEL = LinearGaussian.random(values=7, latent_dim=3)
X = MODEL.sample(5)
STEP = tf.constant(10**6, tf.int64)
N = {"train_images": len(X)}

# Options with which the objective is the evidence for each single draw of the exact posterior.
EXACT = {
    "elbo": [{}, {"gradient": "total"}, {"warmup_steps": 10, "cycles": 2}],
    "controlled-capacity": [{"gamma": 1.0, "capacity": 0.0}],
    "free-bits": [{"free_nats": 0.0, "per": "dimension"}, {"free_nats": 0.0, "per": "layer"}, {"free_nats": 0.0, "per": "whole"}],
    "iwae": [{"gradient": "plain"}, {"gradient": "stl"}, {"gradient": "dreg"}],
    "renyi": [{"alpha": -2.0}, {"alpha": 0.0}, {"alpha": 0.5}, {"alpha": 3.0}],
    "beta-tcvae": [{**N, "beta": 1.0, "estimate": "weighted"}, {**N, "beta": 1.0, "estimate": "stratified"}],
    "info-vae": [{"alpha": 0.0, "weight": 1.0}],
    "dip-vae": [{"off_diagonal": 0.0, "diagonal": 0.0}],
}

# The lower one and the upper one, for the batch mean of every draw.
ORDERED = {
    "elbo": [(Elbo(weight=2.0), Elbo()), (Elbo(), Elbo(weight=0.5))],
    "controlled-capacity": [
        (ControlledCapacity(gamma=1.0), Elbo(weight=0.0)),
        (ControlledCapacity(gamma=2.0), ControlledCapacity(gamma=1.0)),
        (ControlledCapacity(gamma=2.0, capacity=0.0), Elbo()),
    ],
    "free-bits": [
        (FreeBits(free_nats=4.0, per="dimension"), FreeBits(free_nats=4.0, per="layer")),
        (FreeBits(free_nats=4.0, per="layer"), Elbo()),
        (FreeBits(free_nats=40.0, per="whole"), Elbo()),
        (FreeBits(free_nats=5.0), FreeBits(free_nats=4.0)),
    ],
    "iwae": [(Elbo(), ImportanceWeighted())],
    "renyi": [
        (Renyi(alpha=2.0), Elbo()),
        (Elbo(), Renyi(alpha=0.9)),
        (Renyi(alpha=0.9), Renyi(alpha=0.1)),
        (Renyi(alpha=0.1), ImportanceWeighted()),
        (ImportanceWeighted(), Renyi(alpha=-1.0)),
    ],
    "beta-tcvae": [
        (TotalCorrelation(**N, beta=4.0, estimate="weighted"), TotalCorrelation(**N, beta=4.0, estimate="stratified")),
    ],
    "info-vae": [
        (InfoVae(), InfoVae(weight=10.0)),
        (InfoVae(weight=10.0), Elbo()),
        (InfoVae(alpha=0.5, weight=0.5), Elbo(weight=0.5 - 1e-6)),
    ],
    "dip-vae": [
        (DipVae(kind="i"), Elbo()),
        (DipVae(kind="ii"), Elbo()),
        (DipVae(diagonal=20.0), DipVae()),
        (DipVae(off_diagonal=20.0), DipVae()),
    ],
}

# Beside those of EXACT, so that every word that an option may be is tried.
OTHERS = {
    "elbo": [{"weight": 4.0}],
    "controlled-capacity": [{"capacity_steps": 10}],
    "free-bits": [{"free_nats": 4.0, "warmup_steps": 10}],
    "renyi": [{"alpha": -1000.0}],
    "beta-tcvae": [{**N, "estimate": "weighted"}, {"train_images": 1, "gamma": 2.0, "estimate": "stratified"}],
    "info-vae": [{"kernel": "imq"}, {"kernel": "rbf", "alpha": 1.0}],
    "dip-vae": [{"kind": "i"}, {"kind": "ii"}],
}


def objectives(name, samples):
    return [OBJECTIVES[name](**options, samples=samples) for table in (EXACT, OTHERS) for options in table.get(name, ())]


def test_no_objective_and_no_choice_is_without_a_line():
    assert set(OBJECTIVES) == set(EXACT) == set(ORDERED)
    for name, piece in OBJECTIVES.items():
        for option, kind in typing.get_type_hints(piece).items():
            if typing.get_origin(kind) is typing.Literal:
                tried = {getattr(objective, option) for objective in objectives(name, samples=1)}
                assert tried == set(typing.get_args(kind)), f"{name}: {option}"


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize(("name", "options"), [(name, options) for name, rows in EXACT.items() for options in rows])
def test_with_the_exact_posterior_every_bound_is_the_evidence_for_each_draw(name, options, samples):
    bound = OBJECTIVES[name](**options, samples=samples)(MODEL.draw(X, MODEL.posterior(X), samples), STEP)
    np.testing.assert_allclose(bound, MODEL.evidence(X), rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_that_compares_the_images_of_a_batch_says_so(name):
    """The others never do: what devices make of a part of the batch each is what one makes of all."""
    exact = MODEL.posterior(X)
    loc = exact.mean() + 0.3
    others = tf.constant([[0.0], [3.0], [-2.0], [1.0], [5.0]], loc.dtype)
    draws = [MODEL.draw(X, tfd.MultivariateNormalTriL(moved, exact.scale_tril), 2) for moved in (loc, loc + others)]
    apart = [objective(draws[0], STEP)[0] != objective(draws[1], STEP)[0] for objective in objectives(name, samples=2)]
    if not OBJECTIVES[name].over_batch:
        assert not any(apart)
    elif name in ("beta-tcvae", "info-vae", "dip-vae"):
        assert any(apart)


@functools.cache
def rough_draws():
    return [MODEL.draw(X, MODEL.rough_posterior(X), samples=4, seed=seed) for seed in range(10)]


@pytest.mark.parametrize(("lower", "upper"), [pair for pairs in ORDERED.values() for pair in pairs])
def test_what_theory_orders_is_ordered_for_each_draw(lower, upper):
    for draw in rough_draws():
        low, high = (np.mean(dataclasses.replace(objective, samples=4)(draw, STEP)) for objective in (lower, upper))
        assert low < high


def climb(objectives, x, dtype=tf.float64):
    """Each one's bound per example, and its gradient by loc, [B, D], and scale, [B, D, D], of q."""
    exact = MODEL.posterior(x)
    loc, scale = tf.cast(exact.mean() + 0.3, dtype), tf.cast(1.5 * exact.scale_tril, dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([loc, scale])
        draw = MODEL.draw(x, tfd.MultivariateNormalTriL(loc, scale), objectives[0].samples)
        bounds = [objective(draw, STEP) for objective in objectives]
    return [(bound, *tape.gradient(bound, [loc, scale])) for bound in bounds]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_and_gradients_are_the_same_in_every_mode(name):
    rows = objectives(name, samples=3)
    eager = climb(rows, X)
    for bound, *gradients in eager:
        assert bound.shape == [len(X)]
        assert all(np.all(np.isfinite(value)) for value in (bound, *gradients))
        assert all(np.any(gradient) for gradient in gradients)
    others = {mode: tf.function(lambda: climb(rows, X), jit_compile=mode == "xla")() for mode in ("graph", "xla")}
    for mode, values in (others | {"float32": climb(rows, X, tf.float32)}).items():
        tolerance = 1e-3 if mode == "float32" else 1e-9
        for value, expected in zip(tf.nest.flatten(values), tf.nest.flatten(eager)):
            assert value.dtype == (tf.float32 if mode == "float32" else tf.float64)
            np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance, err_msg=mode)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_image_alone_is_enough(name):
    for value in tf.nest.flatten(climb(objectives(name, samples=1), X[:1])):
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Elbo(weight=-1.0), "`weight` must be finite and at least 0, got -1.0"),
        (lambda: Elbo(warmup_steps=-5), "`warmup_steps` must be finite and at least 0, got -5"),
        (lambda: Elbo(cycles=0), "`cycles` must be finite and at least 1, got 0"),
        (lambda: Elbo(cycles=3), "`cycles` above 1 need a warm-up to repeat, got 3 with `warmup_steps` 0; set `warmup_epochs`"),
        (lambda: Elbo(gradient="score"), "`gradient` must be 'path' or 'total', got 'score'"),
        (lambda: ControlledCapacity(gamma=-1.0), "`gamma` must be finite and at least 0, got -1.0"),
        (lambda: ControlledCapacity(capacity=float("nan")), "`capacity` must be finite and at least 0, got nan"),
        (lambda: ControlledCapacity(capacity_steps=-1), "`capacity_steps` must be finite and at least 0, got -1"),
        (lambda: FreeBits(free_nats=-0.1), "`free_nats` must be finite and at least 0, got -0.1"),
        (lambda: FreeBits(per="group"), "`per` must be 'dimension' or 'layer' or 'whole', got 'group'"),
        (lambda: ImportanceWeighted(warmup_steps=-1), "`warmup_steps` must be finite and at least 0, got -1"),
        (lambda: ImportanceWeighted(warmup_steps=9, gradient="dreg"), "`warmup_steps` must be 0 with `gradient` 'dreg'"),
        (lambda: FreeBits(warmup_steps=-1), "`warmup_steps` must be finite and at least 0, got -1"),
        (lambda: ImportanceWeighted(gradient="path"), "`gradient` must be 'plain' or 'stl' or 'dreg', got 'path'"),
        (lambda: Renyi(alpha=1.0), "`alpha` must be finite and 0.001 or more away from 1, got 1.0; its limit at 1 is the ELBO"),
        (lambda: Renyi(alpha=0.9999), "`alpha` must be finite and 0.001 or more away from 1, got 0.9999"),
        (lambda: Renyi(alpha=float("-inf")), "`alpha` must be finite and 0.001 or more away from 1, got -inf"),
        (lambda: TotalCorrelation(train_images=0), "`train_images` must be finite and at least 1, got 0"),
        (lambda: TotalCorrelation(**N, alpha=-1.0), "`alpha` must be finite and at least 0, got -1.0"),
        (lambda: TotalCorrelation(**N, beta=-1.0), "`beta` must be finite and at least 0, got -1.0"),
        (lambda: TotalCorrelation(**N, gamma=-1.0), "`gamma` must be finite and at least 0, got -1.0"),
        (lambda: TotalCorrelation(**N, estimate="mws"), "`estimate` must be 'weighted' or 'stratified', got 'mws'"),
        (lambda: InfoVae(alpha=1.5), "`alpha` must be finite and at most 1, got 1.5; above it, distance from the prior would be rewarded"),
        (lambda: InfoVae(alpha=0.25, weight=0.5), "`weight` must be finite and at least 1 - alpha = 0.75, got 0.5"),
        (lambda: InfoVae(kernel="linear"), "`kernel` must be 'imq' or 'rbf', got 'linear'"),
        (lambda: InfoVae(bandwidth=0.0), "`bandwidth` must be finite and above 0, got 0.0"),
        (lambda: DipVae(kind="iii"), "`kind` must be 'i' or 'ii', got 'iii'"),
        (lambda: DipVae(off_diagonal=-1.0), "`off_diagonal` must be finite and at least 0, got -1.0"),
        (lambda: DipVae(diagonal=-1.0), "`diagonal` must be finite and at least 0, got -1.0"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("samples", [0, 10_001])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_refuses_an_impossible_number_of_samples(name, samples):
    with pytest.raises(ConfigError, match=f"`samples` must be from 1 to 10000, got {samples}"):
        OBJECTIVES[name](**{**EXACT[name][0], "samples": samples})


def test_a_draw_tells_the_same_in_parts_and_as_a_whole():
    for q in (MODEL.posterior(X), MODEL.rough_posterior(X)):
        draw = MODEL.draw(X, q, samples=3)
        np.testing.assert_allclose(tf.reduce_sum(tf.concat(draw.kl_terms(), -1), -1), draw.log_q - draw.log_prior)
        np.testing.assert_allclose(draw.log_q_path(), draw.log_q)
    np.testing.assert_allclose(tf.linalg.diag_part(tf.reduce_sum(draw.log_q_pairs(), -1)), draw.log_q[0])
    np.testing.assert_allclose(MODEL.draw(X, MODEL.posterior(X), samples=3).slope(), 0, atol=1e-5)


def test_a_draw_says_what_it_does_not_tell():
    draw = Draw(None, None, *[tf.zeros([1, 1])] * 3)
    with pytest.raises(ConfigError, match="`draw` does not tell this; a draw of a model does"):
        draw.kl_terms()
