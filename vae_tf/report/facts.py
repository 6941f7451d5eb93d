"""The head of a report: what was trained, and its numbers."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_tf.condition import CONDITIONS
from vae_tf.config import as_piece, without_folders
from vae_tf.evaluation import Estimate, Evaluation
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES
from vae_tf.patience import best_epoch
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS
from vae_tf.run import Run

__all__ = ["facts", "numbers"]

_AXES = {"encoder": ENCODERS, "decoder": DECODERS, "posterior": POSTERIORS, "likelihood": LIKELIHOODS, "prior": PRIORS}

_NUMBERS = {
    "log_likelihood": "log p(x)",
    "elbo": "ELBO",
    "reconstruction": "reconstruction, E_q[log p(x | z)]",
    "kl": "KL(q(z | x) || p(z))",
    "bits_per_dimension": "bits per dimension",
    "log_likelihood_prior": "log p(x), without the encoder",
    "log_likelihood_same_images": "log p(x) of the same first test images, with the encoder",
}
_FIRST = "log p(x) of the first test images, without the encoder"
_NAMES = {
    "frechet_distance": "Fréchet distance",
    "linear_probe": "found by a linear probe",
    "nearest_neighbours": "found by nearest neighbours",
    "most_frequent": "found by naming the same class every time, without any latents",
}
_UNITS = {"squared": "squared units of the features"}  # too long to stand beside the number


def numbers(evaluation: Evaluation, given: bool) -> dict[str, list[dict[str, str]]]:
    """Return the rows of the tables of estimates by topic; the first topic, of all that every model has, goes without a name.

    Args:
        evaluation: of the run.
        given: whether the model has a condition.
    """
    first = {} if evaluation.log_likelihood_same_images is None else {"log_likelihood_prior": _FIRST}
    known = {title: getattr(evaluation, name) for name, title in (_NUMBERS | first).items()}
    further = {
        topic: {_NAMES.get(name, name.replace("_", " ")): one for name, one in rows.items()} for topic, rows in evaluation.further.items()
    }
    topics = {"": {title: estimate for title, estimate in known.items() if estimate is not None}, **further}
    tables = {topic: [_row(title, estimate, given, evaluation.kl) for title, estimate in rows.items()] for topic, rows in topics.items()}
    for name, effective in evaluation.effective_samples.items():
        value = f"{effective.median:.1f} of {effective.samples:,}"
        how = f"median over test images; {effective.fifth_percentile:.1f} in the worst 5\N{NO-BREAK SPACE}%"
        tables[""].append({"name": f"effective samples, {name}", "value": value, "how": how})
    return tables


def _row(title: str, estimate: Estimate, given: bool, rate: Estimate) -> dict[str, str]:
    digits, how = estimate.digits, estimate.method
    if title.endswith("at least") and estimate.value <= 0:
        value, how = "no bound", f"{how}: too low to say more than that it is not negative"
    elif title.endswith("at most") and (estimate.value >= rate.value or "against the prior" in how):
        value, how = (
            "no bound",
            f"{how}: not below the KL of the posteriors, {rate.value:.{rate.digits}f} {rate.unit}, which no latents exceed",
        )
    else:
        unit = "" if estimate.unit in _UNITS else f" {estimate.unit}"
        value = f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f}{unit}"
        how += f", in {_UNITS[estimate.unit]}" if not unit else ""
    return {
        "name": title.replace("p(x)", "p(x | y)") if given else title,
        "value": value,
        "how": f"{how}; {estimate.images:,} test images",
    }


def facts(run: Run, rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return what a reader should know of a run, by name."""
    config, summary = run.config, run.data
    height, width, channels = summary.image_shape
    values = "real values" if summary.levels is None else f"{summary.levels} levels"
    binarized = ", binarized anew in each epoch" if config.data.binarize == "dynamic" else ""
    corrupted = f"; the encoder was trained on copies: {config.data.corrupt}, {config.data.corruption:g}" if config.data.corruption else ""
    *above, bottom = config.model.latent_dims
    weights, generator = (sum(int(np.prod(w.shape)) for w in part.trainable_variables) for part in (run.vae, run.vae.generator))
    averaged = f"; weights averaged, decay {config.training.average:g}" if config.training.average else ""
    minutes, best = sum(row["seconds"] for row in rows) / 60, best_epoch(run, rows)
    ended = "" if best is None else f" of at most {config.training.epochs}, weights of epoch {best},"
    return {
        "data": f"{without_folders(config.data.source)}: {height} x {width} {'grey' if channels == 1 else 'RGB'}, {values}{binarized}"
        f"{corrupted}",
        "images": f"{summary.train:,} for training, {summary.validation:,} for validation, {summary.test:,} for test",
        "latent dimensions": f"{len(above) + 1} layers, {' + '.join(map(str, config.model.latent_dims))}" if above else str(bottom),
        **({} if config.model.condition is None else {"condition": f"{_piece(CONDITIONS, config.model.condition)}, {summary.label_size}"}),
        **{axis: _piece(registry, getattr(config.model, axis)) for axis, registry in _AXES.items()},
        "objective": _piece(OBJECTIVES, config.objective),
        "training": f"{len(rows)} epochs{ended} in {minutes:.1f} minutes, batches of {config.training.batch_size}, "
        f"learning rate {config.training.learning_rate:g}, seed {config.seed}{averaged}",
        "parameters": f"{weights:,}; {generator:,} of them in the generator",
    }


def _piece(registry: Mapping[str, type], spec: Mapping[str, Any]) -> str:
    """Return the name of a piece with all of its options, those that were left at their defaults too."""
    values: dict[str, Any] = {}
    for option, parameter in inspect.signature(registry[spec["name"]]).parameters.items():
        if option == "top":  # of a prior, another prior
            values[option] = _piece(registry, as_piece(option, spec.get(option)))
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            option = option.replace("_steps", "_epochs")  # a configuration counts time in epochs
            values[option] = spec.get(option, parameter.default)
    options = ", ".join(f"{option} {list(value) if isinstance(value, tuple) else value}" for option, value in values.items())
    return f"{spec['name']} ({options})" if options else spec["name"]
