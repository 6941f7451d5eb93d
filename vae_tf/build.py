"""Names become pieces here, and nowhere else."""

import inspect
from collections.abc import Mapping
from typing import Any

import tf_keras as keras
from pydantic import ConfigDict, ValidationError, create_model

from vae_tf.condition import CONDITIONS
from vae_tf.config import Config, as_piece, explain
from vae_tf.errors import ConfigError, did_you_mean
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.model import VAE
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES, Objective
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS, Inference, Prior
from vae_tf.schedule import LinearAnneal

__all__ = ["build", "build_model", "build_objective", "build_piece"]


def build(
    config: Config, image_shape: tuple[int, int, int], levels: int | None, steps_per_epoch: int, label_size: int | None = None
) -> VAE:
    """Return an untrained model, compiled as configured.

    Args:
        config: the complete configuration.
        image_shape: (H, W, C).
        levels: grey levels of the images as the model sees them; None for real values.
        steps_per_epoch: optimizer steps.
        label_size: number of classes, or of values of a label; None where images have no labels.

    Raises:
        ConfigError: a piece or an option does not exist or does not fit.
    """
    vae, training = build_model(config, image_shape, levels, label_size), config.training
    rate = LinearAnneal(training.learning_rate, training.epochs * steps_per_epoch, training.anneal)
    averaged = {} if training.average is None else {"use_ema": True, "ema_momentum": training.average}
    vae.compile(
        keras.optimizers.Adam(rate, **averaged),
        build_objective(config, steps_per_epoch),
        jit_compile=training.jit_compile,
        steps_per_execution=training.steps_per_execution,
        precision=training.precision,
    )
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
    for name, value in options.items():
        if isinstance(value, bool) and name in known and "bool" not in str(known[name][0]):
            raise ConfigError(f"{section} {spec['name']!r}: `{name}` must be a number or a word, got {str(value).lower()}.")
    try:
        checked = create_model("Options", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **known)(**options)
    except ValidationError as error:
        reason = explain(error, known)
        if reason.startswith("unknown key"):
            reason += f" To take {spec['name']!r} with none of what was set before: `--set {section}={spec['name']}`."
        raise ConfigError(f"{section} {spec['name']!r}: {reason}") from None
    return piece(**{name: given[name] for name in signature if name in given}, **{name: getattr(checked, name) for name in known})


def build_model(config: Config, image_shape: tuple[int, int, int], levels: int | None, label_size: int | None = None) -> VAE:
    """Return an untrained model for images of the given shape.

    Args:
        config: of which `model` and `seed` are read.
        image_shape: (H, W, C).
        levels: grey levels of the images as the model sees them; None for real values.
        label_size: number of classes, or of values of a label; None where images have no labels.

    Raises:
        ConfigError: a piece or an option does not exist or does not fit.
    """
    model, dims = config.model, config.model.latent_dims
    condition = build_piece("model.condition", CONDITIONS, model.condition, label_size=label_size) if model.condition else None
    given = {
        "image_shape": tuple(image_shape),
        "latent_dim": sum(dims),
        "latent_dims": dims,
        "levels": levels,
        "condition_size": condition.size if condition else 0,
    }
    encoder = build_piece("model.encoder", ENCODERS, model.encoder, **given)
    # Prior and posterior may each need the other: what the posterior gets of the prior is looked up when it is called.
    made: dict[str, Any] = {}
    layered = hasattr(PRIORS.get(model.prior["name"]), "conditional")
    conditional = (lambda index, above: made["prior"].conditional(index, above)) if layered else None
    posterior = build_piece("model.posterior", POSTERIORS, model.posterior, conditional=conditional, **given)
    made["prior"] = prior = _prior("model.prior", model.prior, inference=Inference.of(encoder, posterior), **given)
    if len(dims) > 1 and not any(hasattr(piece, "latent_dims") for piece in (posterior, prior)):
        raise ConfigError(
            f"`model.latent_dim` has {len(dims)} layers, and neither posterior nor prior has any; choose `model.posterior=ladder` and "
            "`model.prior=top-down`, or give one size."
        )
    decoder = build_piece("model.decoder", DECODERS, model.decoder, **given)
    likelihood = build_piece("model.likelihood", LIKELIHOODS, model.likelihood, **given)
    return VAE(encoder, decoder, posterior, likelihood, prior, condition, seed=config.seed)


def _prior(section: str, spec: Mapping[str, Any], **given: Any) -> Prior:
    """Return a prior, with the prior of its top layer where it has one."""
    if "top" in inspect.signature(PRIORS.get(spec["name"], Prior)).parameters:
        top = as_piece(f"{section}.top", spec.get("top"))
        spec = {key: value for key, value in spec.items() if key != "top"}
        sizes = {"latent_dim": given["latent_dims"][0], "latent_dims": given["latent_dims"][:1]}
        given["top"] = _prior(f"{section}.top", top, **given | sizes)
    return build_piece(section, PRIORS, spec, **given)


def build_objective(config: Config, steps_per_epoch: int) -> Objective:
    """Return the objective; an option `X_epochs` of the configuration becomes the piece's `X_steps`.

    Args:
        config: of which `objective` and `training.epochs` are read.
        steps_per_epoch: optimizer steps.

    Raises:
        ConfigError: an option does not fit, or a schedule would not end within the training.
    """
    name, spec = config.objective["name"], {}
    timed = {p.removesuffix("_steps") for p in inspect.signature(OBJECTIVES.get(name, Objective)).parameters if p.endswith("_steps")}
    for key, value in config.objective.items():
        stem = key.removesuffix("_epochs")
        if key.endswith("_steps") and key.removesuffix("_steps") in timed:
            raise ConfigError(f"`objective.{key}`: a configuration counts time in epochs; give `{key.removesuffix('_steps')}_epochs`.")
        if stem == key or stem not in timed:
            spec[key] = value
            continue
        try:
            spec[f"{stem}_steps"] = round(float(value) * steps_per_epoch)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"`objective.{key}` must be a number of epochs, got {value!r}.") from None
        if isinstance(value, bool) or spec[f"{stem}_steps"] < 0:
            raise ConfigError(f"`objective.{key}` must be at least 0 epochs, got {value!r}.")
    objective = build_piece("objective", OBJECTIVES, spec, train_images=steps_per_epoch * config.training.batch_size)
    if objective.settled_at > config.training.epochs * steps_per_epoch:
        raise ConfigError(
            f"the schedule of `objective` would end after {objective.settled_at / steps_per_epoch:g} epochs, but `training.epochs` is "
            f"{config.training.epochs}; train for longer or shorten it, by {' or '.join(f'`objective.{stem}_epochs`' for stem in timed)}."
        )
    return objective
