"""Claims about annealed importance sampling, and about the brackets that it makes on a model's own images."""

import numpy as np
import pytest
import tf_keras as keras
from oracle import LinearGaussian
from pieces import REGISTRIES, senseless, tiny

from vae_tf import ConfigError, Elbo
from vae_tf.build import build_model
from vae_tf.evaluation import log_weights
from vae_tf.evaluation.annealed import annealed, bidirectional
from vae_tf.evaluation.chains import STARTS, Annealing, Chains, inverse_temperatures

LOW, HIGH = LinearGaussian.orthogonal(6, 2), LinearGaussian.orthogonal(60, 50)


@pytest.fixture(scope="module")
def exact():
    return LOW.vae()


@pytest.fixture(autouse=True)
def short_pilots(monkeypatch):
    monkeypatch.setattr("vae_tf.evaluation.chains._PILOT_MOVES", 60)


def images(oracle, count, seed=1):
    return oracle.sample(count, seed).reshape(count, -1, 1, 1)


def evidence(oracle, x):
    return oracle.evidence(x.reshape(len(x), -1))


def within(errors, times=4.0):
    """A mean of `errors` that is 0 but for chance."""
    return abs(np.mean(errors)) < times * np.std(errors) / len(errors) ** 0.5


def test_temperatures_go_from_0_to_1_densest_at_both_ends():
    path = inverse_temperatures(10)
    assert (path[0], path[-1], len(path)) == (0, 1, 11)
    np.testing.assert_allclose(path + path[::-1], 1)
    rises = np.diff(path)
    assert rises.min() > 0
    assert rises[:6].tolist() == sorted(rises[:6])[:6]
    assert rises[4] > 5 * rises[0]
    assert inverse_temperatures(1).tolist() == [0, 1]


@pytest.mark.parametrize("start", STARTS)
def test_weights_are_unbiased_with_few_temperatures_both_ways(start):
    """E[w] = p(x) of chains from the start, and E[w] = 1 / p(x) of chains from exact draws of the posterior."""
    vae = LOW.vae(widen=1.3, shift=0.8)
    chains = Chains(vae, Annealing(4, 40, 3, start))
    x, z = chains.simulate(200, None)
    sizes, truth = chains.pilot(x, None, False), evidence(LOW, x)
    there, back = chains.forward(x, None, sizes, False), chains.backward(x, None, z, sizes, False)
    for ratio in (np.exp(there.log_weights - truth).mean(0), np.exp(back.log_weights + truth).mean(0)):
        assert np.std(ratio) > 0.02, "with so few temperatures weights vary"
        assert within(ratio - 1)


@pytest.mark.parametrize(
    ("oracle", "temperatures", "start", "error"),
    [(LOW, 30, "prior", 0.1), (LOW, 10, "posterior", 0.1), (HIGH, 150, "prior", 0.8), (HIGH, 60, "posterior", 0.3)],
)
def test_the_evidence_is_found_in_low_and_high_dimension(oracle, temperatures, start, error):
    x = images(oracle, 20)
    found = annealed(oracle.vae(widen=0.8, shift=0.3), x, annealing=Annealing(temperatures, start=start), verbose=False)
    assert np.mean(found.log_likelihood - evidence(oracle, x)) == pytest.approx(0, abs=error)
    assert found.acceptance.mean() == pytest.approx(0.65, abs=0.15)
    assert ((found.effective_samples >= 1) & (found.effective_samples <= 16)).all()
    assert found.effective_samples.mean() > (8 if oracle is LOW else 2)
    assert found.estimate.value == pytest.approx(found.log_likelihood.mean())
    assert found.estimate.method == f"annealed importance sampling, {temperatures} temperatures, 16 chains from the {start}"


def test_more_temperatures_raise_the_estimate_and_make_chains_agree():
    x = images(HIGH, 30)
    few, more, many = (annealed(HIGH.vae(), x, annealing=Annealing(t, chains=4), verbose=False) for t in (3, 20, 150))
    truth = evidence(HIGH, x).mean()
    assert few.estimate.value < more.estimate.value - 5 < many.estimate.value - 6
    assert many.estimate.value < truth
    assert few.effective_samples.mean() < many.effective_samples.mean()


@pytest.mark.parametrize("start", STARTS)
def test_the_bounds_bracket_the_evidence_and_close(start):
    gaps = []
    for temperatures in (3, 60):
        both = bidirectional(HIGH.vae(widen=0.8, shift=0.3), 40, annealing=Annealing(temperatures, chains=4, start=start), verbose=False)
        truth = evidence(HIGH, both.x)
        gaps.append(both.gap.value)
        assert both.gap.value == pytest.approx(both.upper.estimate.value - both.lower.estimate.value)
        for bound, sign in ((both.lower, 1), (both.upper, -1)):
            below = sign * (truth - bound.log_likelihood)
            assert below.mean() > -4 * below.std() / len(below) ** 0.5
            if temperatures == 3:
                assert below.mean() > 4 * below.std() / len(below) ** 0.5, "with few temperatures the bounds are loose"
    assert gaps[1] < 0.3 * gaps[0]


def test_a_bracket_shows_that_another_estimate_on_the_same_images_is_too_low():
    """Importance sampling with a bad encoder, or too few samples, falls below the lower bound."""
    vae = HIGH.vae(shift=1.0)
    both = bidirectional(vae, 30, annealing=Annealing(150, chains=4), verbose=False)
    weights = log_weights(vae, both.x, samples=100)
    assert weights.log_likelihood.mean() < both.lower.log_likelihood.mean() - 1
    exact = log_weights(HIGH.vae(), both.x, samples=1).log_likelihood.mean()
    assert both.lower.log_likelihood.mean() - 0.5 < exact < both.upper.log_likelihood.mean() + 0.5


def test_equal_seeds_give_equal_numbers(exact):
    first, again, other = (
        bidirectional(exact, 4, annealing=Annealing(3, chains=3, leapfrog=2, seed=seed), verbose=False) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)
    for way in ("lower", "upper"):
        values = [getattr(both, way).log_likelihood for both in (first, again, other)]
        np.testing.assert_array_equal(values[0], values[1])
        assert (values[0] != values[2]).all()


def test_the_steps_that_the_pilot_found_are_held_while_chains_count(exact, monkeypatch):
    """The pilot has noise and chains of its own; what follows is given its sizes as they are, backwards in reverse."""
    seen, moved = [], Chains._moved

    def recorded(chains, z, x, label, temperature, size, seed):
        seen.append((temperature, size))
        return moved(chains, z, x, label, temperature, size, seed)

    chains = Chains(exact, Annealing(4, 3, 2))
    x, z = chains.simulate(6, None)
    sizes = chains.pilot(x, None, False)
    assert len(set(sizes)) == 4
    monkeypatch.setattr(Chains, "_moved", recorded)
    chains.forward(x, None, sizes, False)
    chains.backward(x, None, z, sizes, False)
    there = list(zip(inverse_temperatures(4)[1:], sizes))
    assert seen == [*there, *there[::-1], (0, sizes[0])]


def test_images_are_worked_on_in_shares_of_bounded_size(exact, monkeypatch):
    x, rows, moved = images(LOW, 25), [], Chains._moved

    def recorded(chains, z, *rest):
        rows.append(z.shape[0] * z.shape[1])
        return moved(chains, z, *rest)

    monkeypatch.setattr(Chains, "_moved", recorded)
    monkeypatch.setattr("vae_tf.evaluation.chains._ROWS", 40)
    found = annealed(exact, x, annealing=Annealing(20, chains=4), verbose=False)
    assert max(rows) == 40
    np.testing.assert_allclose(found.log_likelihood, evidence(LOW, x), atol=1.5)
    monkeypatch.setattr("vae_tf.evaluation.chains._LARGEST", 4 * 5 * 6)
    annealed(exact, x, annealing=Annealing(2, chains=4), verbose=False)
    assert rows[-1] == 4 * 4


def built(**axes):
    keras.utils.set_random_seed(1)
    vae = build_model(tiny(**axes), (6, 5, 1), 2, label_size=3)
    vae.compile(objective=Elbo(gradient="total"))
    return vae


def suiting(prior):
    """A model with that prior."""
    axes = {"prior": prior, "posterior": "hierarchical" if prior.startswith("top-down") else "diagonal-normal"}
    return axes | {"condition": "classes" if senseless(axes) else None}


@pytest.mark.parametrize("prior", [*REGISTRIES["prior"], "top-down/vampprior"])
def test_any_prior_agrees_with_plain_monte_carlo(binary_images, prior):
    vae, x = built(**suiting(prior)), binary_images[:10]
    label = None if vae.condition is None else np.arange(10) % 3
    found = annealed(vae, x, label, annealing=Annealing(15, leapfrog=2), verbose=False).log_likelihood
    np.testing.assert_allclose(found, log_weights(vae, x, label, samples=10_000, proposal="prior").log_likelihood, atol=0.4)


@pytest.mark.parametrize(
    "axes", [{"posterior": "iaf"}, {"posterior": "mixture"}, {"posterior": "ladder", "prior": "top-down"}, {"condition": "vector"}]
)
def test_chains_start_at_any_posterior_and_the_label_of_an_image_stays_with_it(binary_images, axes):
    vae, x = built(**axes), binary_images[:10]
    label = 8 * np.random.default_rng(0).random((10, 3), np.float32) if axes.get("condition") else None
    found = annealed(vae, x, label, annealing=Annealing(20, leapfrog=2, start="posterior"), verbose=False).log_likelihood
    error = found - log_weights(vae, x, label, samples=10_000, proposal="prior").log_likelihood
    assert np.median(np.abs(error)) < 0.4, "an untrained posterior is a bad start: a few images are far off"


@pytest.mark.parametrize("likelihood", REGISTRIES["likelihood"])
def test_images_of_the_models_own_making_have_a_likelihood(likelihood, monkeypatch):
    monkeypatch.setattr("vae_tf.evaluation.chains._DRAWN", 12)
    vae = built(likelihood=likelihood)
    x, z = Chains(vae, Annealing(1, 1, 1)).simulate(20, None)
    assert x.shape == (20, 6, 5, 1)
    assert np.isfinite(vae.decode(z).log_prob(x)).all()
    assert len(np.unique(x[:, 0, 0, 0])) > 1


def test_labels_of_simulated_images_are_those_asked_for():
    vae = built(prior="conditional-normal", condition="classes")
    both = bidirectional(vae, 9, np.arange(9) % 3, annealing=Annealing(5, chains=2), verbose=False)
    np.testing.assert_array_equal(both.label, np.arange(9) % 3)
    assert np.isfinite(both.gap.value)


def test_under_xla_the_evidence_is_found_too():
    vae, x = LOW.vae(widen=0.8), images(LOW, 10)
    vae.compile(jit_compile=True)
    np.testing.assert_allclose(annealed(vae, x, annealing=Annealing(20), verbose=False).log_likelihood, evidence(LOW, x), atol=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperatures": 0}, "`temperatures` must be at least 1 and below 2..31 - 1, got 0"),
        ({"chains": 0}, "`chains` must be at least 1 and below 2..31 - 1, got 0"),
        ({"leapfrog": 0}, "`leapfrog` must be at least 1 and below 2..31 - 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0 and below 2..31 - 1, got -1"),
        ({"start": "encoder"}, "`start` must be one of prior, posterior, got 'encoder'"),
    ],
)
def test_annealing_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        Annealing(**options)


def test_a_label_that_nobody_asked_for_is_refused(exact):
    for estimator, given in ((annealed, images(LOW, 4)), (bidirectional, 4)):
        with pytest.raises(ConfigError, match="`label` must be left out: images have none"):
            estimator(exact, given, np.zeros(4, int))


@pytest.mark.parametrize(
    ("count", "label", "message"),
    [
        (1, None, "`count` must be at least 2, for one image has no standard error; got 1"),
        (4, np.zeros(3), "one for each of the 4 images, got 3"),
    ],
)
def test_refuses_to_simulate(exact, count, label, message):
    with pytest.raises(ConfigError, match=message):
        bidirectional(exact, count, label)
