"""Names become pieces here, and nowhere else."""

import inspect
from collections.abc import Mapping
from typing import Any

import tf_keras as keras
from pydantic import ConfigDict, ValidationError, create_model

from vae_tf.config import Config, explain
from vae_tf.errors import ConfigError, did_you_mean
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.model import VAE
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES, Objective
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS
from vae_tf.schedule import LinearAnneal

__all__ = ["build", "build_model", "build_objective", "build_piece"]


def build(config: Config, image_shape: tuple[int, int, int], levels: int | None, steps_per_epoch: int) -> VAE:
    """Return an untrained model, compiled as configured.

    Args:
        config: the complete configuration.
        image_shape: (H, W, C).
        levels: grey levels of the images as the model sees them; None for real values.
        steps_per_epoch: optimizer steps.

    Raises:
        ConfigError: a piece or an option does not exist or does not fit.
    """
    vae, training = build_model(config, image_shape, levels), config.training
    rate = LinearAnneal(training.learning_rate, training.epochs * steps_per_epoch, training.anneal)
    vae.compile(keras.optimizers.Adam(rate), build_objective(config, steps_per_epoch), jit_compile=training.jit_compile)
    return vae


def build_piece(section: str, registry: Mapping[str, type], spec: Mapping[str, Any], **given: Any) -> Any:
    """Return the piece that `spec` names.

    Args:
        section: where the spec stands in the configuration, for messages.
        registry: name -> class.
        spec: `{name: ..., option: value, ...}`.
        **given: what the builder knows; a piece receives those that its constructor names, and a spec can not set them.

    Raises:
        ConfigError: the name or an option is unknown, or a value has the wrong type or range.
    """
    options = {key: value for key, value in spec.items() if key != "name"}
    if spec["name"] not in registry:
        raise ConfigError(f"`{section}` {spec['name']!r} does not exist.{did_you_mean(spec['name'], registry)}")
    piece = registry[spec["name"]]
    signature = inspect.signature(piece).parameters
    known: dict[str, Any] = {name: (parameter.annotation, parameter.default) for name, parameter in signature.items() if name not in given}
    try:
        checked = create_model("Options", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **known)(**options)
    except ValidationError as error:
        raise ConfigError(f"{section} {spec['name']!r}: {explain(error, known)}") from None
    return piece(**{name: given[name] for name in signature if name in given}, **{name: getattr(checked, name) for name in known})


def build_model(config: Config, image_shape: tuple[int, int, int], levels: int | None) -> VAE:
    """Return an untrained model for images of the given shape.

    Args:
        config: of which `model` and `seed` are read.
        image_shape: (H, W, C).
        levels: grey levels of the images as the model sees them; None for real values.

    Raises:
        ConfigError: a piece or an option does not exist or does not fit.
    """
    given = {"image_shape": tuple(image_shape), "latent_dim": config.model.latent_dim, "levels": levels}

    def piece(axis: str, registry: Mapping[str, type]) -> Any:
        return build_piece(f"model.{axis}", registry, getattr(config.model, axis), **given)

    return VAE(
        piece("encoder", ENCODERS),
        piece("decoder", DECODERS),
        piece("posterior", POSTERIORS),
        piece("likelihood", LIKELIHOODS),
        piece("prior", PRIORS),
        seed=config.seed,
    )


def build_objective(config: Config, steps_per_epoch: int) -> Objective:
    """Return the objective; an option `X_epochs` of the configuration becomes the piece's `X_steps`.

    Args:
        config: of which `objective` and `training.epochs` are read.
        steps_per_epoch: optimizer steps.

    Raises:
        ConfigError: an option does not fit, or a schedule would not end within the training.
    """
    spec = {}
    for key, value in config.objective.items():
        stem = key.removesuffix("_epochs")
        if stem == key:
            spec[key] = value
            continue
        try:
            spec[f"{stem}_steps"] = round(float(value) * steps_per_epoch)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"`objective.{key}` must be a number of epochs, got {value!r}.") from None
    objective = build_piece("objective", OBJECTIVES, spec)
    if objective.settled_at > config.training.epochs * steps_per_epoch:
        raise ConfigError(
            f"the schedule of `objective` would end after {objective.settled_at / steps_per_epoch:g} epochs, but `training.epochs` is "
            f"{config.training.epochs}; train for longer or shorten it."
        )
    return objective
