"""The report of a run: one HTML file with the pictures a person would look at, of this very model and its data."""

import inspect
from collections.abc import Mapping
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter, ValidationError

from vae_tf.condition import CONDITIONS
from vae_tf.config import as_piece, without_folders
from vae_tf.data import Images
from vae_tf.errors import RunError
from vae_tf.evaluation import CAVEAT, Evaluation
from vae_tf.files import replacing
from vae_tf.history import History
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES
from vae_tf.pictures import pictures_of
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS
from vae_tf.progress import progress
from vae_tf.run import EVALUATION, HISTORY, REPORT, Run

__all__ = ["write_report"]

_AXES = {"encoder": ENCODERS, "decoder": DECODERS, "posterior": POSTERIORS, "likelihood": LIKELIHOODS, "prior": PRIORS}

_NUMBERS = {
    "log_likelihood": "log p(x)",
    "elbo": "ELBO",
    "reconstruction": "reconstruction, E_q[log p(x | z)]",
    "kl": "KL(q(z | x) || p(z))",
    "bits_per_dimension": "bits per dimension",
    "log_likelihood_prior": "log p(x) of the first test images, without the encoder",
    "log_likelihood_same_images": "log p(x) of the same images, with the encoder",
}


def write_report(run: Run, images: Images, path: str | Path | None = None, seed: int = 0) -> Path:
    """Write the report of a complete run as one self-contained HTML file, and return its path.

    Args:
        run: the run; numbers are taken from its `evaluation.json` where there is one.
        images: its images.
        path: the file to write; `report.html` in the run folder when None.
        seed: at least 0; of the noise and of the choice of test images.

    Raises:
        RunError: `evaluation.json` is damaged, or `history.csv` is missing or damaged; nothing is written.
    """
    evaluation = _evaluation(run.folder / EVALUATION)
    rows = History(run.folder / HISTORY).rows
    if not rows:
        raise RunError(f"`{run.folder / HISTORY}` is missing or empty; restore it or train again.")
    with progress(0, "report", "pictures") as bar:  # how many there are depends on the model
        pictures = []
        for picture in pictures_of(run, images, rows, evaluation, seed):
            pictures.append(picture)
            bar.update()
    environment = Environment(
        loader=PackageLoader("vae_tf"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html").render(
        title=f"{without_folders(run.config.data.source)}, {' + '.join(map(str, run.config.model.latent_dims))} latent dimensions",
        facts=_facts(run, rows),
        numbers=[] if evaluation is None else _numbers(evaluation, given=run.vae.condition is not None),
        caveat=CAVEAT.replace("+-", "±"),
        folder=run.folder,
        pictures=pictures,
        seed=seed,
    )
    path = Path(path or run.folder / REPORT)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _evaluation(path: Path) -> Evaluation | None:
    if not path.exists():
        return None
    try:
        return TypeAdapter(Evaluation).validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"`{path}` is damaged ({str(error).splitlines()[0]}); remove it, or evaluate again.") from None


def _numbers(evaluation: Evaluation, given: bool) -> list[dict[str, str]]:
    rows = []
    for name, title in _NUMBERS.items():
        title = title.replace("p(x)", "p(x | y)") if given else title
        estimate = getattr(evaluation, name)
        if estimate is not None:
            digits = max(2, 1 - int(log10(estimate.standard_error))) if estimate.standard_error > 0 else 2
            value = f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f} {estimate.unit}"
            rows.append({"name": title, "value": value, "how": f"{estimate.method}; {estimate.images:,} test images"})
    return rows


def _facts(run: Run, rows: list[dict[str, float]]) -> dict[str, str]:
    config, summary = run.config, run.data
    height, width, channels = summary.image_shape
    values = "real values" if summary.levels is None else f"{summary.levels} levels"
    binarized = ", binarized anew in each epoch" if config.data.binarize == "dynamic" else ""
    corrupted = f"; the encoder was trained on copies: {config.data.corrupt}, {config.data.corruption:g}" if config.data.corruption else ""
    *above, bottom = config.model.latent_dims
    weights, generator = (sum(int(np.prod(w.shape)) for w in part.trainable_variables) for part in (run.vae, run.vae.generator))
    minutes = sum(row["seconds"] for row in rows) / 60
    return {
        "data": f"{without_folders(config.data.source)}: {height} x {width} {'grey' if channels == 1 else 'RGB'}, {values}{binarized}"
        f"{corrupted}",
        "images": f"{summary.train:,} for training, {summary.validation:,} for validation, {summary.test:,} for test",
        "latent dimensions": f"{len(above) + 1} layers, {' + '.join(map(str, config.model.latent_dims))}" if above else str(bottom),
        **({} if config.model.condition is None else {"condition": f"{_piece(CONDITIONS, config.model.condition)}, {summary.label_size}"}),
        **{axis: _piece(registry, getattr(config.model, axis)) for axis, registry in _AXES.items()},
        "objective": _piece(OBJECTIVES, config.objective),
        "training": f"{len(rows)} epochs in {minutes:.1f} minutes, batches of {config.training.batch_size}, "
        f"learning rate {config.training.learning_rate:g}, seed {config.seed}",
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
