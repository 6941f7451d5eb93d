"""Claims about the guards of a training: what they notice, what they say, and that they change nothing without a word."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from pieces import LAYERED, LAYERS, REGISTRIES, tiny
from test_model import tiny as tiny_model

from vae_tf import ConfigError, Elbo, RunError
from vae_tf.build import build
from vae_tf.guards import CollapseGuard, FiniteGuard
from vae_tf.latents import active_units, kl_of_latents, kl_per_dimension, moments_and_terms, posterior_moments

STEPS = 6  # an epoch


def model(weight=1.0, warmup_steps=0, learning_rate=0.01, optimizer=None, **options):
    vae = tiny_model()
    objective = Elbo(weight=weight, warmup_steps=warmup_steps)
    vae.compile(optimizer or keras.optimizers.Adam(learning_rate), objective, **{"steps_per_execution": 1} | options)
    return vae


@pytest.fixture(scope="module")
def traced():
    """A model whose steps are traced once for all tests, and its first state."""
    vae = model()
    vae.optimizer.build(vae.trainable_variables)
    return vae, [(variable, variable.numpy()) for variable in (*vae.variables, *vae.optimizer.variables)]


@pytest.fixture
def vae(traced):
    """A model as it was before any training."""
    traced[0].optimizer.learning_rate = 0.01
    traced[0]._eval_data_handler = None  # Keras keeps it when a training is stopped
    for variable, value in traced[1]:
        variable.assign(value)
    return traced[0]


def batches(x, spoilt=None, part="both"):
    """Endless batches of 5, of which one, counted from 0, holds a NaN: in what is explained, in what the encoder sees, or in both."""

    def generate():
        for count in itertools.count():
            clean = x[5 * (count % 8) :][:5]
            bad = clean + np.nan if count == spoilt else clean
            yield (bad,) if part == "both" else ((clean, bad) if part == "explained" else (bad, clean),)

    images = tf.TensorSpec([5, *x.shape[1:]], tf.float32)
    return tf.data.Dataset.from_generator(generate, output_signature=(images,) if part == "both" else ((images, images),))


def fit(vae, data, *callbacks, epochs=3, steps=STEPS, **options):
    return vae.fit(data, epochs=epochs, steps_per_epoch=steps, verbose=0, callbacks=list(callbacks), **options).history


def states(vae):
    return [variable.numpy() for variable in (*vae.trainable_variables, *vae.optimizer.variables) if "iteration" not in variable.name]


class Spoil(keras.callbacks.Callback):
    """Makes a weight NaN after some optimizer steps, as an infinite gradient would, without a word in the losses of that batch."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == self.step:
            weight = self.model.decoder.trainable_variables[0]
            weight.assign(weight * np.nan)


class Remember(keras.callbacks.Callback):
    """Keeps weights and optimizer at the beginning of each epoch."""

    def __init__(self):
        super().__init__()
        self.at = []

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.build(self.model.trainable_variables)
        self.at.append(states(self.model))


def test_a_training_has_the_same_bits_with_guards_and_without(traced, binary_images):
    vae, first = traced
    results = []
    for guards in ([], [FiniteGuard(), CollapseGuard(binary_images)], [FiniteGuard("rollback"), CollapseGuard(binary_images)]):
        for variable, value in first:
            variable.assign(value)
        results.append((fit(vae, batches(binary_images), *guards, validation_data=binary_images), states(vae)))
    (alone, weights), *guarded = results
    for history, same in guarded:
        assert all(np.array_equal(a, b) for a, b in zip(weights, same))
        assert {name: history[name] for name in alone} == alone
    assert [set(history) - set(alone) for history, _ in guarded] == [{"active_units"}, {"active_units", "rollbacks"}]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("explained", "`reconstruction` is nan in epoch 2, batch 3"),
        ("both", "`reconstruction` is nan in epoch 2, batch 3"),  # the rectifiers of the encoder make 0 of NaN
    ],
)
def test_a_batch_that_is_not_finite_stops_the_training_and_is_named(vae, binary_images, part, message):
    with pytest.raises(RunError, match=rf"^{message} \(optimizer step {STEPS + 3}\): the training diverged. Try a smaller learning rate"):
        fit(vae, batches(binary_images, STEPS + 2, part), FiniteGuard())


def test_of_several_steps_at_once_the_one_at_fault_is_named(binary_images):
    with pytest.raises(RunError, match=rf"in epoch 2, batch 5 \(optimizer step {STEPS + 5}\)"):
        fit(model(steps_per_execution=3), batches(binary_images, STEPS + 4), FiniteGuard())


def test_a_rollback_restores_weights_and_slots_and_goes_on(binary_images, caplog):
    vae = model(optimizer=keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5), jit_compile=True)
    remember, guard = Remember(), FiniteGuard("rollback")
    # the last batch of the second epoch
    history = fit(vae, batches(binary_images, 2 * STEPS - 1), guard, remember, validation_data=binary_images)
    before, after = remember.at[1], remember.at[2]
    assert all(np.array_equal(a, b) for a, b in zip(before, after))
    assert not any(np.array_equal(a, b) for a, b in zip(states(vae), after) if a.size > 8)
    assert vae.optimizer.iterations.numpy() == 3 * STEPS
    assert (guard.rollbacks, history["rollbacks"]) == (1, [0, 1, 0])
    # no batch of that epoch counts: nothing is known of its training, and all of its validation
    assert np.isnan(history["loss"]).tolist() == np.isnan(history["kl"]).tolist() == [False, True, False]
    assert np.isfinite(history["val_loss"]).all()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "in epoch 2, batch 6 (optimizer step 12): back to the weights of the beginning of the epoch" in warnings[0]
    assert "rollback 1 of 10 at most" in warnings[0]
    assert "1 rollback(s) in this training" in warnings[1]


def test_metrics_after_a_rollback_are_those_of_the_batches_since(vae, binary_images):
    seen = []

    class Losses(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.trackers["loss"].result().numpy()))

    history = fit(vae, batches(binary_images, 3), FiniteGuard("rollback"), Losses(), epochs=1)
    assert seen[3] == 0  # the fourth batch was undone, and the three before it with it
    assert np.isfinite(seen).all()
    assert history["loss"] == [seen[-1]]


def test_what_reaches_the_weights_alone_is_noticed_within_ten_batches(vae, binary_images):
    """What the encoder sees is NaN: its rectifiers make 0 of it, so that no loss tells, but the gradient of their weights is NaN."""
    with pytest.raises(
        RunError, match=r"a weight of the encoder, `dense.*/kernel:0`, is not finite in epoch 1, batches 11 to 20 \(optimizer step 20\)"
    ):
        fit(vae, batches(binary_images, 12, "seen"), FiniteGuard(), steps=50)
    assert np.isfinite([float(tracker.result().numpy()) for tracker in vae.trackers.values()]).all()


@pytest.mark.parametrize("on_failure", ["stop", "rollback"])
@pytest.mark.parametrize("validated", [True, False])
def test_a_weight_that_the_last_batches_spoilt_is_noticed_before_the_validation(vae, binary_images, validated, on_failure):
    data = {"validation_data": binary_images} if validated else {}
    if on_failure == "stop":
        with pytest.raises(
            RunError, match=r"a weight of the decoder, `.*kernel:0`, is not finite in epoch 1, batches 1 to 6 \(optimizer step 6\)"
        ):
            fit(vae, batches(binary_images), Spoil(STEPS), FiniteGuard(), **data)
        return
    history = fit(vae, batches(binary_images), Spoil(STEPS), FiniteGuard("rollback"), **data)
    assert history["rollbacks"] == [1, 0, 0]
    assert np.isfinite([value for name, values in history.items() if name.startswith("val_") for value in values]).all()
    assert np.isfinite(history["loss"][1:]).all()


def test_validation_that_is_not_finite_counts_as_well(vae, binary_images):
    """Here an image is at fault, so that no rollback helps; more often weights that are large, but finite."""
    spoilt = binary_images.copy()
    spoilt[-1] = np.nan
    held_out = tf.data.Dataset.from_tensor_slices(spoilt).batch(20)
    remember = Remember()
    message = r"`val_reconstruction` is nan after epoch 3, while the weights are finite \(optimizer step 18\), after 2 rollbacks"
    with pytest.raises(RunError, match=message):
        fit(vae, batches(binary_images), FiniteGuard("rollback", most=2), remember, validation_data=held_out)
    assert all(np.array_equal(a, b) for first in remember.at for a, b in zip(first, remember.at[0]))


def test_a_learning_rate_that_always_diverges_ends_the_rollbacks(vae, binary_images):
    guard = FiniteGuard("rollback", most=3)
    vae.optimizer.learning_rate = 1e30
    with pytest.raises(RunError, match="in epoch .*, after 3 rollbacks: the training diverged"):
        fit(vae, batches(binary_images), guard, epochs=50)
    assert guard.rollbacks == 3


def test_rollbacks_of_a_training_that_is_resumed_count(vae, binary_images):
    before, guard = FiniteGuard("rollback"), FiniteGuard("rollback")
    before.rollbacks = 10
    guard.recall(before.memory())
    with pytest.raises(RunError, match="batch 3 .*, after 10 rollbacks"):
        fit(vae, batches(binary_images, 2), guard)


def test_an_epoch_at_a_time_a_training_that_would_diverge_gets_through(binary_images):
    """Once a learning rate, too large for the first steps, has fallen, the rollbacks end by themselves."""
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([STEPS], [1e30, 0.01])
    history = fit(model(optimizer=keras.optimizers.Adam(rate)), batches(binary_images), FiniteGuard("rollback"), epochs=8)
    assert history["rollbacks"][0] > 0
    assert history["rollbacks"][2:] == [0] * 6
    assert history["elbo"][-1] > history["elbo"][2]


def test_a_learning_rate_set_by_another_callback_is_not_rolled_back(vae, binary_images):
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    fit(vae, batches(binary_images, 2 * STEPS), FiniteGuard("rollback"), rate, epochs=2)
    assert float(vae.optimizer.learning_rate.numpy()) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: FiniteGuard("ignore"), "`on_failure` must be 'stop' or 'rollback', got 'ignore'"),
        (lambda x: FiniteGuard(most=-1), "`most` must be finite and at least 0, got -1"),
        (lambda x: CollapseGuard(x, threshold=0), "`threshold` must be finite and above 0 nats, got 0"),
        (lambda x: CollapseGuard(x, images=1), "`images` must be finite and at least 2, got 1"),
    ],
)
def test_impossible_guards_are_refused(binary_images, make, message):
    with pytest.raises(ConfigError, match=message):
        make(binary_images)


def measured(vae, guard, epochs=1):
    """What a guard says and counts of a model as it is, at the end of epochs."""
    guard.set_model(vae)
    guard.on_train_begin()
    logs = {}
    for epoch in range(epochs):
        guard.on_epoch_end(epoch, logs)
    return logs


def informative(vae, dimensions):
    """Let the first dimensions of q(z | x) depend on the image, and the others be the prior."""
    kernel, bias = vae.posterior.parameters.trainable_variables
    values = np.zeros(kernel.shape, np.float32)
    values[:, :dimensions] = np.random.default_rng(0).standard_normal((len(values), dimensions))
    kernel.assign(values)
    size = vae.posterior.latent_dim
    bias.assign(np.r_[np.zeros(size), np.full(size, np.log(np.e - 1))])  # softplus(log(e - 1)) = 1


def test_a_kl_that_weighs_too_much_is_reported_once_with_what_to_try(binary_images, caplog):
    vae = model(weight=1000.0, learning_rate=0.02)
    history = fit(vae, batches(binary_images), CollapseGuard(binary_images), epochs=40)
    warning, end = [record.getMessage() for record in caplog.records]
    assert end.startswith("at the end the latents of z are still collapsed")
    assert "2 of the 2 latent dimensions of z carry less than 0.01 nats (KL of each in nats 0.00" in warning
    assert "try a KL warm-up (`objective.warmup_epochs`), free bits" in warning
    assert history["active_units"][-1] == 0


def test_collapse_and_recovery_are_told_when_they_happen(vae, binary_images, caplog):
    guard = CollapseGuard(binary_images)
    said = []
    for dimensions in (2, 0, 0, 1, 1, 0):
        informative(vae, dimensions)
        assert measured(vae, guard)["active_units"] == dimensions
        said.append([record.getMessage()[9:].split(" latent")[0] for record in caplog.records])
        caplog.clear()
    assert said == [[], ["2 of the 2"], [], ["1 of the 2"], [], ["2 of the 2"]]


def test_nothing_is_said_of_the_kl_under_a_warm_up(binary_images, caplog):
    vae, guard = model(warmup_steps=10), CollapseGuard(binary_images)
    informative(vae, 0)
    assert measured(vae, guard) == {"active_units": 0}
    assert not caplog.records
    vae.optimizer.iterations.assign(10)
    measured(vae, guard)
    assert "2 of the 2" in caplog.text


def test_the_kl_told_is_that_of_the_images_at_even_distances(vae, binary_images, caplog):
    guard = CollapseGuard(binary_images, images=4, threshold=1e6)
    informative(vae, 2)
    logs = measured(vae, guard)
    moments = posterior_moments(vae, binary_images[[0, 13, 26, 39]])
    told = " ".join(f"{value:.2g}" for value in sorted(kl_per_dimension(*moments), reverse=True))
    assert f"(KL of each in nats {told})" in caplog.text
    assert logs["active_units"] == active_units(moments[0]).sum()


def test_a_guard_of_many_images_takes_them_all_when_there_are_fewer(binary_images):
    assert len(CollapseGuard(binary_images).x) == 40


ALONE = [
    *({"posterior": name} for name in REGISTRIES["posterior"] if name not in LAYERED["posterior"]),
    *({"prior": name, "condition": "classes" if name == "conditional-normal" else None} for name in REGISTRIES["prior"]),
    *({"posterior": name, "prior": prior} for name in LAYERED["posterior"] for prior in ("top-down", "top-down/vampprior")),
    {"posterior": "ladder", "prior": "top-down/mixture", "condition": "vector"},
]


@pytest.mark.parametrize("axes", ALONE, ids=lambda axes: " ".join(filter(None, axes.values())))
def test_every_posterior_and_every_prior_is_measured(axes, caplog):
    x = (np.random.default_rng(0).random((30, 4, 4, 1)) < 0.3).astype(np.float32)
    label = {None: None, "classes": np.arange(30, dtype=np.int32) % 3, "vector": x[:, :3, 0, 0]}[axes.get("condition")]
    guard = CollapseGuard(x, label, threshold=1e6)
    logs = measured(build(tiny(**axes), (4, 4, 1), 2, 5, 3), guard, epochs=2)
    assert 0 <= logs["active_units"] <= sum(LAYERS)
    warnings = [record.getMessage() for record in caplog.records if record.name == "vae_tf"]
    layered = axes.get("posterior") in LAYERED["posterior"] or axes.get("prior", "").startswith("top-down")
    assert len(warnings) == (2 if layered else 1)
    assert not any(" nan" in warning or " inf" in warning for warning in warnings)


def test_a_flow_has_collapsed_when_its_layer_as_a_whole_carries_next_to_nothing(caplog):
    """The moments of its dimensions come from draws, and are never exactly those of the prior."""
    x = (np.random.default_rng(0).random((30, 4, 4, 1)) < 0.3).astype(np.float32)
    vae = build(tiny(posterior="iaf"), (4, 4, 1), 2, 5)
    mean, stddev, *parts = (part.numpy().astype(np.float64) for part in moments_and_terms(vae, x, None))
    kl = kl_of_latents(vae, mean, stddev, None, parts)
    average, largest = kl.per_layer["z"] / 5, kl.per_dimension.max()
    assert average < 0.9 * largest
    measured(vae, CollapseGuard(x, threshold=0.99 * average))
    assert not caplog.records
    measured(vae, CollapseGuard(x, threshold=1.01 * average))
    assert f"5 of the 5 latent dimensions of z carry less than {1.01 * average:g} nats on average (KL of the layer " in caplog.text
