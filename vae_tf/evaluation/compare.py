"""Runs side by side: differences of log p(x) with paired standard errors, over the same test images.

Images differ far more from each other than models do on one image, so the error of a difference is that of the mean of
log p_a(x_i) - log p_b(x_i) over images i, usually several times below the errors of both means.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from vae_tf.errors import RunError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.evaluation.per_image import PerImage
from vae_tf.evaluation.result import Evaluation
from vae_tf.files import replacing
from vae_tf.run import EVALUATION, PER_IMAGE

__all__ = ["Comparison", "Entry", "compare", "is_comparison"]


@final
@dataclass(frozen=True)
class Entry:
    """One run of a comparison.

    Attributes:
        run: its folder, as given.
        log_likelihood: of all test images.
        difference: log p(x) of this run less that of the first, paired by image; None for the first.
        elbo: of all test images.
        kl: of all test images.
        active_units: how many latent dimensions tell images apart, and of how many.
        samples: in the estimate of log p(x), per image.
    """

    run: str
    log_likelihood: Estimate
    difference: Estimate | None
    elbo: Estimate
    kl: Estimate
    active_units: tuple[int, int]
    samples: int


@final
@dataclass(frozen=True)
class Comparison:
    """Several runs on the same test images, in the order given; differences are to the first."""

    entries: tuple[Entry, ...]

    def table(self) -> str:
        """Return the table that a person reads."""
        width = max(len(entry.run) for entry in self.entries)
        head = f"{'run':<{width}}  {'log p(x)':>20}  {'less the first':>20}  {'ELBO':>10}  {'KL':>7}  {'active':>9}  {'samples':>7}"
        lines = [head]
        for entry in self.entries:
            value, rest = entry.log_likelihood, f"{entry.active_units[0]} of {entry.active_units[1]}"
            difference = "" if entry.difference is None else f"{entry.difference.value:+.3f} +- {entry.difference.standard_error:.3f}"
            lines.append(
                f"{entry.run:<{width}}  {f'{value.value:.3f} +- {value.standard_error:.3f}':>20}  {difference:>20}  "
                f"{entry.elbo.value:>10.3f}  {entry.kl.value:>7.3f}  {rest:>9}  {entry.samples:>7}"
            )
        images = self.entries[0].log_likelihood.images
        lines.append(
            f"(nats per image over the same {images:,} test images; +- is a standard error, that of a difference is paired by image. The "
            "estimates lie below log p(x), the further the fewer samples; +- does not cover that, nor what another seed of the training "
            "would give.)"
        )
        return "\n".join([*lines, *self.notes()])

    def notes(self) -> list[str]:
        """Return what a reader must know before the differences are believed."""
        notes = []
        if len({entry.samples for entry in self.entries}) > 1:
            notes.append("note: the numbers of samples differ, and fewer samples give a lower estimate; evaluate with equal --samples.")
        if len({"log p(x | y)" in entry.log_likelihood.method for entry in self.entries}) > 1:
            notes.append("note: some runs give log p(x | y), of images whose labels are known; it is no competitor of log p(x).")
        return notes

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))


def is_comparison(path: Path) -> bool:
    """Return whether a file is what `Comparison.write` wrote."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and set(found) == {"entries"}


def compare(folders: Sequence[str | Path]) -> Comparison:
    """Compare evaluated runs.

    Args:
        folders: of at least 2 runs that were evaluated on the same test images.

    Raises:
        RunError: there are fewer than 2, one is named twice, was not evaluated, is damaged, or saw other test images,
            or has a density where another has a probability.
    """
    if len(folders) < 2:
        raise RunError(f"`compare` needs at least 2 runs, got {len(folders)}.")
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise RunError("`compare` needs different runs, and one of them is named twice.")
    found = [(Evaluation.read(Path(folder) / EVALUATION), PerImage.read(Path(folder) / PER_IMAGE)) for folder in folders]
    first = found[0][1]
    entries: list[Entry] = []
    for folder, (evaluation, per_image) in zip(folders, found):
        if per_image.images != first.images:
            raise RunError(
                f"`{folder}` was evaluated on other test images than `{folders[0]}` (their SHA-256 differ): other "
                "data, another binarization or another share held out; differences of log p(x) would mean nothing."
            )
        if (evaluation.bits_per_dimension is None) != (found[0][0].bits_per_dimension is None):
            raise RunError(
                f"`{folder}` and `{folders[0]}` do not compare: one gives probabilities of discrete values, the other a density of real "
                "ones, whose unit is another. Compare likelihoods of one kind."
            )
        if not abs(per_image.log_likelihood.mean() - evaluation.log_likelihood.value) <= 1e-6:
            raise RunError(
                f"`{Path(folder) / PER_IMAGE}` is not of the evaluation beside it; evaluate again: python -m vae_tf evaluate {folder}."
            )
        paired = Estimate.over(per_image.log_likelihood - first.log_likelihood, f"paired by image, less {folders[0]}")
        entries.append(
            Entry(
                run=str(folder),
                log_likelihood=evaluation.log_likelihood,
                difference=paired if entries else None,
                elbo=evaluation.elbo,
                kl=evaluation.kl,
                active_units=(sum(evaluation.active_units), len(evaluation.active_units)),
                samples=evaluation.samples,
            )
        )
    return Comparison(tuple(entries))
