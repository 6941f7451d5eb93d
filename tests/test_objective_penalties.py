"""Claims about what stands in place of the KL, or beside it."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from oracle import LinearGaussian

from vae_tf.objective import ControlledCapacity, DipVae, Draw, Elbo, FreeBits, InfoVae, TotalCorrelation

tfd = tfp.distributions
MODEL = LinearGaussian.random(values=7, latent_dim=3)
X = MODEL.sample(5)
STEP = tf.constant(10**6, tf.int64)


def rough_draw(samples=4):
    return MODEL.draw(X, MODEL.rough_posterior(X), samples)


def kl(draw):
    """Mean of log q - log p by image, and by dimension."""
    return np.mean(draw.log_q - draw.log_prior, 0), np.mean(tf.concat(draw.kl_terms(), -1), (0, 1))


def made_up(log_q, **told):
    """A draw of one sample with these log q, and zeros for all other log densities."""
    log_q = tf.constant([log_q], tf.float64)
    return Draw(None, None, log_q, tf.zeros_like(log_q), tf.zeros_like(log_q), **told)


@pytest.mark.parametrize("capacity", [0.0, 2.0, 30.0])
def test_capacity_counts_the_distance_of_the_mean_divergence(capacity):
    draw = rough_draw()
    assert 2 < kl(draw)[0].mean() < 30
    bound = ControlledCapacity(gamma=3.0, capacity=capacity, samples=4)(draw, STEP)
    assert np.mean(bound) == pytest.approx(np.mean(draw.log_likelihood) - 3 * abs(kl(draw)[0].mean() - capacity))


def test_capacity_rises_linearly_and_stays():
    objective, draw = ControlledCapacity(gamma=1.0, capacity=8.0, capacity_steps=100), made_up([20.0, 10.0])
    values = [float(np.mean(objective(draw, tf.constant(step)))) for step in (0, 25, 100, 1000)]
    assert values == [-15.0, -13.0, -7.0, -7.0]
    assert objective.settled_at == 100


def test_noise_below_an_empty_capacity_does_not_turn_the_divergence_around():
    bound = ControlledCapacity(gamma=3.0, capacity=8.0, capacity_steps=100)(made_up([-1.0, -2.0]), tf.constant(0))
    np.testing.assert_allclose(bound, [3.0, 6.0])


@pytest.mark.parametrize("free_nats", [0.5, 4.0, 100.0])
@pytest.mark.parametrize(("per", "groups"), [("dimension", [[0], [1], [2]]), ("layer", [[0], [1, 2]]), ("whole", [[0, 1, 2]])])
def test_free_bits_count_at_least_the_free_nats_of_each_group(per, groups, free_nats):
    draw = rough_draw()
    counted = sum(max(free_nats, kl(draw)[1][group].sum()) for group in groups)
    bound = FreeBits(free_nats=free_nats, per=per, samples=4)(draw, STEP)
    assert np.mean(bound) == pytest.approx(np.mean(draw.log_likelihood) - counted)


def test_a_group_just_below_its_free_nats_counts_as_many():
    counted = [-float(np.mean(FreeBits(free_nats=1.0, per="whole")(made_up([nats]), STEP))) for nats in (0.0, 0.99, 1.01)]
    assert counted == [1.0, 1.0, 1.01]


def test_a_group_below_its_free_nats_has_no_gradient_and_one_above_has_all():
    loc = tf.constant([[0.1, 3.0, -0.2]] * 5, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(loc)
        draw = MODEL.draw(X, tfd.MultivariateNormalDiag(loc, tf.fill([5, 3], tf.constant(0.9, tf.float64))), samples=1)
        log_likelihood = tf.reduce_mean(draw.log_likelihood, 0)
        free = log_likelihood - FreeBits(free_nats=2.0)(draw, STEP)
        counted = log_likelihood - Elbo(gradient="total")(draw, STEP)
    free, counted = tape.gradient(free, loc).numpy(), tape.gradient(counted, loc).numpy()
    np.testing.assert_allclose(free[:, [0, 2]], 0)
    np.testing.assert_allclose(free[:, 1], counted[:, 1])
    assert np.all(np.abs(counted) > 0)


def test_free_bits_warm_up_as_the_elbo_does():
    objective, draw = FreeBits(free_nats=1.0, per="whole", warmup_steps=100), made_up([8.0, 4.0])
    assert [float(np.mean(objective(draw, tf.constant(step)))) for step in (0, 50, 100, 500)] == [0.0, -3.0, -6.0, -6.0]
    assert objective.settled_at == 100


@pytest.mark.parametrize(
    ("objective", "needs"),
    [
        (FreeBits(per="dimension"), {"kl_terms"}),
        (FreeBits(per="layer"), set()),
        (TotalCorrelation(train_images=5), {"log_q_pairs"}),
        (InfoVae(), set()),
        (DipVae(), set()),
    ],
)
def test_an_objective_says_what_it_needs(objective, needs):
    assert objective.needs == needs


@pytest.mark.parametrize("estimate", ["weighted", "stratified"])
def test_the_parts_of_the_divergence_add_up(estimate):
    draw = rough_draw(samples=1)
    parts = TotalCorrelation(train_images=60_000, estimate=estimate).parts(draw)
    np.testing.assert_allclose(tf.add_n(parts), (draw.log_q - draw.log_prior)[0])
    weights = {"alpha": 2.0, "beta": 5.0, "gamma": 0.5}
    expected = draw.log_likelihood[0] - sum(weight * part for weight, part in zip(weights.values(), parts))
    np.testing.assert_allclose(TotalCorrelation(train_images=60_000, estimate=estimate, **weights)(draw, STEP), expected)


def test_with_all_images_in_the_batch_the_stratified_estimate_is_the_aggregated_posterior():
    q, draw = MODEL.rough_posterior(X), rough_draw(samples=1)
    aggregated = tfd.MixtureSameFamily(tfd.Categorical(tf.zeros(5, tf.float64)), q).log_prob(draw.z[0])
    stratified, weighted = (TotalCorrelation(train_images=5, estimate=kind).parts(draw)[0] for kind in ("stratified", "weighted"))
    np.testing.assert_allclose(draw.log_q[0] - stratified, aggregated)
    np.testing.assert_allclose(draw.log_q[0] - weighted, aggregated - np.log(5))


def test_over_all_batches_the_stratified_estimate_is_the_aggregated_posterior():
    pairs = rough_draw(samples=1).log_q_pairs().numpy()
    objective = TotalCorrelation(train_images=5, estimate="stratified")

    def estimated(batch):
        """q(z) for the first image of a batch: the information is log q(z | x), here 0, less its logarithm."""
        draw = made_up([0.0] * len(batch), log_q_pairs=lambda: tf.constant(pairs[np.ix_(batch, batch)]))
        return np.exp(-objective.parts(draw)[0][0])

    batches = [[0, i, j] for i in range(1, 5) for j in range(1, i)]
    assert np.mean([estimated(batch) for batch in batches]) == pytest.approx(np.mean(np.exp(pairs[0].sum(-1))))


def test_of_an_image_alone_the_stratified_estimate_says_nothing():
    draw = MODEL.draw(X[:1], MODEL.rough_posterior(X[:1]), samples=1)
    information, correlation, _ = TotalCorrelation(train_images=60_000, estimate="stratified").parts(draw)
    np.testing.assert_allclose([information, correlation], 0, atol=1e-12)


def test_the_total_correlation_of_a_correlated_normal_is_known():
    rng, images, rho = np.random.default_rng(0), 2_000, 0.9
    covariance = np.array([[1.0, rho], [rho, 1.0]]) - 0.05 * np.eye(2)  # of the means; the posteriors have variance 0.05
    loc = rng.multivariate_normal([0, 0], covariance, images)
    draw = LinearGaussian.random(3, 2).draw(
        np.zeros([images, 3]), tfd.MultivariateNormalDiag(loc, np.full([images, 2], np.sqrt(0.05))), samples=1
    )
    information, correlation, rest = TotalCorrelation(train_images=images, estimate="stratified").parts(draw)
    assert np.mean(correlation) == pytest.approx(-np.log(1 - rho**2) / 2, abs=0.05)
    determinant = 1 - rho**2
    assert np.mean(information) == pytest.approx(np.log(determinant / 0.05**2) / 2, abs=0.05)
    assert np.mean(rest) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_the_mean_over_all_pairs(kernel):
    rng, width = np.random.default_rng(0), 2 * 3 * 0.7**2
    z, u = rng.normal(size=(2, 4, 3)), rng.normal(size=(4, 3))

    def mean(a, b):
        distances = np.array([[np.sum((one - other) ** 2) for other in b] for one in a])
        return np.mean(width / (width + distances) if kernel == "imq" else np.exp(-distances / width))

    expected = np.mean([mean(s, s) + mean(u, u) - 2 * mean(s, u) for s in z])
    assert float(InfoVae(kernel=kernel, bandwidth=0.7).discrepancy(tf.constant(z), tf.constant(u))) == pytest.approx(expected)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_zero_for_equal_samples_and_grows_with_their_distance(kernel):
    objective, u = InfoVae(kernel=kernel), tf.constant(np.random.default_rng(0).normal(size=(20, 3)))
    values = [float(objective.discrepancy(u[None] + shift, u)) for shift in (0.0, 0.1, 1.0, 2.0)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values)


def test_info_vae_weighs_divergence_and_discrepancy():
    draw = rough_draw()
    objective = InfoVae(alpha=0.25, weight=10.0, samples=4)
    expected = np.mean(draw.log_likelihood, 0) - 0.75 * kl(draw)[0] - 9.25 * objective.discrepancy(draw.z, draw.prior_sample())
    np.testing.assert_allclose(objective(draw, STEP), expected)


@pytest.mark.parametrize(("kind", "samples"), [("i", 1), ("ii", 1), ("ii", 3)])
def test_dip_penalises_covariances_other_than_the_identity(kind, samples):
    draw = rough_draw(samples)
    values = draw.mean().numpy()[None] if kind == "i" else draw.z.numpy()
    covariance = np.mean([np.cov(rows.T) for rows in values], 0)
    diagonal = np.diag(covariance)
    penalty = 2.0 * (np.sum(covariance**2) - np.sum(diagonal**2)) + 3.0 * np.sum((diagonal - 1) ** 2)
    bound = DipVae(kind=kind, off_diagonal=2.0, diagonal=3.0, samples=samples)(draw, STEP)
    np.testing.assert_allclose(bound, Elbo(samples=samples)(draw, STEP) - penalty)


def test_the_aggregated_exact_posterior_costs_no_covariance_and_its_means_do():
    x = MODEL.sample(10_000)
    draw = MODEL.draw(x, MODEL.posterior(x), samples=1)
    lost = {
        kind: float(np.mean(Elbo()(draw, STEP) - DipVae(kind=kind, off_diagonal=1.0, diagonal=1.0)(draw, STEP))) for kind in ("i", "ii")
    }
    assert lost["ii"] < 0.01 < lost["i"]
