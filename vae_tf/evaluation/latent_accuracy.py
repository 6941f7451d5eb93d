"""What latents know of classes that no one told them: how well simple classifiers of posterior means find the class of a test image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_tf.errors import DataError
from vae_tf.evaluation.estimate import Estimate
from vae_tf.latents import posterior_moments
from vae_tf.model import VAE

__all__ = ["LatentAccuracy", "latent_accuracy"]

_FITTED_ON = 10_000
_NEIGHBOURS = 10
_MOST_STEPS = 2000  # of the optimizer; it stops long before


@final
@dataclass(frozen=True)
class LatentAccuracy:
    """The share of test images whose class is found from the mean of q(z | x).

    Attributes:
        linear_probe: by logistic regression on means that are standardized by dimension.
        nearest_neighbours: by the vote of the 10 nearest training images, in the latent space as it is.
        most_frequent: by naming the most frequent class of the training images every time.
    """

    linear_probe: Estimate
    nearest_neighbours: Estimate
    most_frequent: Estimate


def latent_accuracy(
    vae: VAE,
    train_x: np.ndarray | Callable[[np.ndarray], np.ndarray],
    train_y: np.ndarray | None,
    test_x: np.ndarray,
    test_y: np.ndarray | None,
    *,
    seed: int = 0,
) -> LatentAccuracy | str:
    """Fit simple classifiers to the posterior means of training images, and test them on test images.

    Where the model has a condition its encoder is told the label of each image, test images too, and the accuracy says how much of it the
    latents repeat.

    Args:
        vae: a trained model.
        train_x: [N, H, W, C] float32, as the model sees images; of more than 10,000 as many are chosen at random. Or a function that
            returns those at positions, int [M].
        train_y: classes [N]; None, or vectors [N, K], for which there is no accuracy.
        test_x: [M, H, W, C] float32, at least 2.
        test_y: classes [M].
        seed: of the choice.

    Returns:
        The accuracies; or, in a sentence, why there are none.

    Raises:
        DataError: there is not one label per image.

    Source: Alain and Bengio (2016), on linear probes.
    """
    if train_y is None or test_y is None:
        return "the images have no labels"
    for name, x, y in (("train_y", train_x, train_y), ("test_y", test_x, test_y)):
        if not callable(x) and len(x) != len(y):
            raise DataError(f"`{name}` must be one for each of the {len(x)} images, got {len(y)}.")
    if train_y.ndim != 1:
        return "labels are vectors, and there are no classes to find"
    rows = np.random.default_rng(seed).permutation(len(train_y))[:_FITTED_ON]
    y = train_y[rows]
    if len(np.unique(y)) < 2:
        return "the training images are of one class"
    told = vae.condition is not None
    fitted = posterior_moments(vae, train_x(rows) if callable(train_x) else train_x[rows], y if told else None)[0]
    tested = posterior_moments(vae, test_x, test_y if told else None)[0]
    how = f"fitted on {len(y)} training images{', the encoder was told the classes' if told else ''}"

    def estimate(found: np.ndarray, method: str) -> Estimate:
        return Estimate.over((found == test_y).astype(np.float64), f"{method}, {how}", "share")

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_STEPS))
    count = min(_NEIGHBOURS, len(y))
    classes, counts = np.unique(y, return_counts=True)
    return LatentAccuracy(
        linear_probe=estimate(probe.fit(fitted, y).predict(tested), "logistic regression on standardized posterior means"),
        nearest_neighbours=estimate(KNeighborsClassifier(count).fit(fitted, y).predict(tested), f"{count} nearest posterior means"),
        most_frequent=estimate(np.full(len(test_y), classes[counts.argmax()]), "the most frequent class"),
    )
