"""TensorBoard's embedding projector: latents as points, with labels and thumbnails."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import EmbeddingInfo, ProjectorConfig
from tensorboard.plugins.projector.metadata import PROJECTOR_FILENAME

from vae_tf import plots
from vae_tf.files import replacing

__all__ = ["write_projector"]

_FOLDER = "projector"  # beside the configuration
_AXES = 3  # of the picture: with fewer coordinates the projector draws no point, so zeros are added
_SPRITE = 4096  # pixels: browsers draw no larger textures everywhere
_LABELS = "labels.tsv"
_THUMBNAILS = "thumbnails.png"


def write_projector(
    folder: Path, embeddings: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray | None, label_names: Sequence[str] | None
) -> None:
    """Write what the projector reads; its configuration comes last.

    Args:
        folder: of one of TensorBoard's runs.
        embeddings: name -> points, [N, D].
        x: the image of each point, [N, H, W, C] float32 in [0, 1].
        y: the label of each, [N] or [N, K]; None where there are none.
        label_names: the name of each class, where classes have names.
    """
    side = _thumbnail_size(len(x), x.shape[1:3])
    thumbnails = x if side == x.shape[1:3] else tf.image.resize(x, side, antialias=True).numpy()
    plots.save_png(folder / _FOLDER / _THUMBNAILS, _square(thumbnails))
    if y is not None:
        _write(folder / _FOLDER / _LABELS, _lines(y, label_names))
    config = ProjectorConfig()
    for name, values in embeddings.items():
        points = np.pad(values, ((0, 0), (0, max(0, _AXES - values.shape[1]))))
        path = f"{_FOLDER}/{name}.tsv"
        _write(folder / path, ["\t".join(f"{value:.6g}" for value in point) for point in points])
        info = EmbeddingInfo(tensor_name=name, tensor_shape=points.shape, tensor_path=path)
        info.sprite.image_path = f"{_FOLDER}/{_THUMBNAILS}"
        info.sprite.single_image_dim.extend([side[1], side[0]])  # width first
        if y is not None:
            info.metadata_path = f"{_FOLDER}/{_LABELS}"
        config.embeddings.append(info)
    _write(folder / PROJECTOR_FILENAME, [text_format.MessageToString(config)])


def _thumbnail_size(count: int, size: tuple[int, int]) -> tuple[int, int]:
    most = _SPRITE // _columns(count)
    share = min(1.0, most / max(size))
    return max(1, int(share * size[0])), max(1, int(share * size[1]))


def _columns(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _square(images: np.ndarray) -> np.ndarray:
    """Lay images out in as many rows as columns: the projector takes the number of one for that of the other."""
    columns = _columns(len(images))
    empty = np.zeros((columns**2 - len(images), *images.shape[1:]), images.dtype)
    return plots.sheet(np.concatenate([images, empty]), columns)


def _lines(y: np.ndarray, label_names: Sequence[str] | None) -> list[str]:
    """Return a line for each label; only more than one column has a header, as the projector wants it."""
    if y.ndim == 1:
        return [" ".join(label_names[label].split()) if label_names else str(label) for label in y]
    header = "\t".join(f"y{index + 1}" for index in range(y.shape[1]))
    return [header, *("\t".join(f"{value:.6g}" for value in label) for label in y)] if y.shape[1] > 1 else [f"{v:.6g}" for v in y[:, 0]]


def _write(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
