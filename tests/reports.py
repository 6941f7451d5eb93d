"""Tiny runs to report on, and their pages read back."""

import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from vae_tf.config import Config
from vae_tf.evaluation import EffectiveSamples, Estimate, Evaluation
from vae_tf.history import History
from vae_tf.report.subject import Subject
from vae_tf.run import EVALUATION, HISTORY
from vae_tf.train import train

#: Fewer samples, draws and images everywhere than a reader needs.
FEW = {
    "subject": {"_MEASURED": 6, "_SAMPLES": 4, "_ENCODED": 40, "_KL_IMAGES": 6, "_KL_SAMPLES": 2},
    "story": {"_MANY": 40, "_POSTERIOR": 20},
    "encoder_buys": {"_REPEATS": 2, "_SAMPLES": 20},
    "training_and_generation": {"_ELLIPSES": 6, "_DRAWS": 20},
    "holes": {"_PRIOR": 60},
    "plane": {"_MOST": 13},
    "sigma": {"_IMAGES": 4, "_SAMPLES": 3, "_BATCH": 2, "_AVERAGED": 10},
    "diagnosis": {"_SCALES": 6},
    "sweep": {"_IMAGES": 6, "_SAMPLES": 3},
}
LAYERS = {"name": "top-down", "top": {"name": "vampprior", "components": 3}, "hidden": [4]}


class Page(HTMLParser):
    """Headings of chapters; title and pictures of sections; every address; and the text of the file."""

    def __init__(self, path):
        super().__init__()
        self.chapters, self.sections, self.addresses, self._heading = [], [], [], None
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [value for name, value in attrs.items() if name in ("src", "href", "srcset", "data", "action", "poster")]
        self._heading = tag
        if tag == "section" and attrs.get("class") == "shown":
            self.sections.append(["", []])
        if tag == "img":
            self.sections[-1][1].append(attrs)

    def handle_data(self, text):
        if self._heading == "h2":
            self.chapters.append(text)
        if self._heading == "h3" and self.sections:
            self.sections[-1][0] = text
        self._heading = None

    @property
    def titles(self):
        return [title for title, _ in self.sections]


def trained(folder, latent_dim=3, channels=1, labels=True, vectors=False, data=None, training=None, **model):
    """A run of one epoch on 60 random images of 6 x 5, in three classes."""
    rng = np.random.default_rng(0)
    x = rng.random((60, 6, 5, channels)).astype(np.float32)
    y = rng.integers(0, 3, 60)
    arrays = {"x": x, "y": np.eye(4)[y] / 3 if vectors else y} if labels else {"x": x}
    np.savez(folder / "images.npz", **arrays)
    body = {"name": "mlp", "hidden": [8]}
    values = {
        "data": {"source": f"npz:{folder / 'images.npz'}", **(data or {})},
        "model": {"latent_dim": latent_dim, "encoder": body, "decoder": body, "likelihood": "normal", **model},
        "training": {"epochs": 1, "batch_size": 16, **(training or {})},
    }
    return train(Config.from_dict(values), folder / "run", verbose=0)


def copied(run, folder):
    """The same run in another folder, to be changed."""
    shutil.copytree(run.folder, folder / "copy")
    return replace(run, folder=folder / "copy")


def subject_of(run, seed=0, images=None):
    """What the chapters of a report on the run are given."""
    path = run.folder / EVALUATION
    evaluation = Evaluation.read(path) if path.exists() else None
    return Subject(run, images or run.images(), History(run.folder / HISTORY).rows, evaluation, seed)


def evaluation(dimensions=3, **more):
    """An evaluation as a file may hold it, its numbers made up."""

    def estimate(value, samples=20):
        return Estimate(value, 0.25, 6, "nats", f"importance sampling, {samples} posterior samples per image")

    return Evaluation(
        log_likelihood=estimate(-20.0),
        log_likelihood_prior=estimate(-25.0),
        log_likelihood_same_images=None,
        elbo=estimate(-21.5),
        kl=estimate(3.0),
        reconstruction=estimate(-18.5),
        bits_per_dimension=None,
        seed=0,
        samples=20,
        effective_samples={"importance sampling": EffectiveSamples(1.0, 2.0, 7.5, 20, 0.1)},
        curves={"importance sampling": {1: estimate(-21.5, 1), 10: estimate(-20.4, 10), 20: estimate(-20.0)}},
        **{"kl_per_dimension": (1.0,) * dimensions, "active_units": (True,) * dimensions, "kl_per_layer": {"z": 3.0}} | more,
    )


def pictures(chapter):
    """The pictures of a chapter by title; those that found nothing to show are missing."""
    made = [make() for make in chapter.makers]
    return {picture.title: picture for picture in made if picture is not None}
