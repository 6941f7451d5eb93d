"""The page: chapters, one after the other, in one self-contained HTML file."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from vae_tf.config import without_folders
from vae_tf.data import Images
from vae_tf.errors import RunError
from vae_tf.evaluation import CAVEAT, Evaluation
from vae_tf.files import replacing
from vae_tf.history import History
from vae_tf.progress import progress
from vae_tf.report.album import album
from vae_tf.report.diagnosis import diagnosis
from vae_tf.report.encoder_buys import encoder_buys
from vae_tf.report.facts import facts, numbers
from vae_tf.report.picture import Chapter, Picture
from vae_tf.report.sigma import sigma
from vae_tf.report.story import story
from vae_tf.report.subject import Subject
from vae_tf.report.sweep import sweep
from vae_tf.report.training_and_generation import training_and_generation
from vae_tf.run import EVALUATION, HISTORY, REPORT, Run

__all__ = ["write_report"]


@final
@dataclass(frozen=True)
class _Shown:
    """A chapter with its pictures made."""

    title: str
    anchor: str
    pictures: list[Picture]


def write_report(run: Run, images: Images, path: str | Path | None = None, seed: int = 0, swept: Sequence[Run] = ()) -> Path:
    """Write the report of a complete run as one self-contained HTML file, and return its path.

    Args:
        run: the run; numbers are taken from its `evaluation.json` where there is one.
        images: its images.
        path: the file to write; `report.html` in the run folder when None.
        seed: at least 0; of the noise and of the choice of test images.
        swept: what `train_sweep` returned, to be shown side by side.

    Raises:
        RunError: `evaluation.json` is damaged, or `history.csv` is missing or damaged; nothing is written.
    """
    evaluation = Evaluation.read(run.folder / EVALUATION) if (run.folder / EVALUATION).exists() else None
    if evaluation is not None and len(evaluation.kl_per_dimension) != run.vae.prior.latent_dim:
        raise RunError(f"`{run.folder / EVALUATION}` is not of this model; evaluate again: python -m vae_tf evaluate {run.folder}.")
    rows = History(run.folder / HISTORY).rows
    if not rows:
        raise RunError(f"`{run.folder / HISTORY}` is missing or empty; restore it or train again.")
    subject = Subject(run, images, rows, evaluation, seed)
    environment = Environment(
        loader=PackageLoader("vae_tf"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bound"] = _bound
    script = environment.get_template("explore.html").render().partition("<script>")[2].partition("</script>")[0]
    shown = list(_shown(_chapters(subject, swept)))
    page = environment.get_template("report.html").render(
        title=f"{without_folders(run.config.data.source)}, {' + '.join(map(str, run.config.model.latent_dims))} latent dimensions",
        facts=facts(run, rows),
        numbers=[] if evaluation is None else numbers(evaluation, given=run.vae.condition is not None),
        notes=() if evaluation is None else evaluation.notes,
        caveat=CAVEAT.replace("+-", "±"),
        folder=run.folder,
        findings=diagnosis(subject),
        chapters=shown,
        seed=seed,
        script=script if any(picture.explorer for chapter in shown for picture in chapter.pictures) else None,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path = Path(path or run.folder / REPORT)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _bound(text: str) -> str:
    """Keep the two sides of a bar in one line."""
    return text.replace(" | ", "\N{NO-BREAK SPACE}|\N{WORD JOINER}\N{NO-BREAK SPACE}")


def _chapters(subject: Subject, swept: Sequence[Run]) -> list[Chapter]:
    chapters = [
        album(subject),
        story(subject),
        encoder_buys(subject),
        training_and_generation(subject),
        sigma(subject),
        sweep(subject, swept) if swept else None,
    ]
    return [chapter for chapter in chapters if chapter is not None]


def _shown(chapters: Sequence[Chapter]) -> Iterator[_Shown]:
    with progress(sum(len(chapter.makers) for chapter in chapters), "report", "pictures") as bar:
        for index, chapter in enumerate(chapters):
            yield _Shown(chapter.title, f"chapter-{index + 1}", list(_pictures(chapter, bar)))


def _pictures(chapter: Chapter, bar: tqdm) -> Iterator[Picture]:
    for make in chapter.makers:
        picture = make()
        bar.update()
        if picture is not None:
            yield picture
