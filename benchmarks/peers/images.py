"""The images that all sides train on, as one .npy file: `python -m peers.images --model MODEL --count N --out FILE [--data-dir DIR]`.

MNIST, where a folder of prepared sets is given and the model sees grey images; otherwise random smooth ones. Prints which, as JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from peers.work import WORKS


def smooth(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Return random images of large spots, uint8 [count, H, W, C]: noise on a grid of 4 x 4, interpolated and stretched.

    Args:
        count: number of images.
        shape: (H, W, C).
        seed: of the noise.
    """
    height, width, channels = shape
    grid = np.random.default_rng(seed).standard_normal((count, 4, 4, channels), np.float32)
    return np.concatenate([_stretched(part, height, width) for part in np.array_split(grid, max(1, count // 1000))])


def _stretched(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    image = np.einsum("ha,wb,nabc->nhwc", _hats(height), _hats(width), grid, optimize=True)
    return np.round(255 * np.clip(0.5 + image, 0, 1)).astype(np.uint8)


def _hats(size: int) -> np.ndarray:
    """Return the weights of linear interpolation from 4 points, [size, 4]."""
    return np.maximum(0, 1 - abs(np.linspace(0, 3, size, dtype=np.float32)[:, None] - np.arange(4, dtype=np.float32)))


def mnist(count: int, data_dir: str) -> np.ndarray:
    """Return training images of MNIST, uint8 [count, 28, 28, 1], from a folder of prepared tensorflow_datasets sets."""
    from vae_tf.config import DataConfig
    from vae_tf.sources import read_tfds

    return read_tfds("mnist", DataConfig("tfds:mnist"), data_dir).splits["train"].x[:count]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=WORKS, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    shape = WORKS[given.model].image_shape
    real = given.data_dir is not None and shape == (28, 28, 1)
    np.save(given.out, mnist(given.count, given.data_dir) if real else smooth(given.count, shape))
    print(json.dumps({"images": "MNIST" if real else "random"}))


if __name__ == "__main__":
    main()
