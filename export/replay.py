"""`python -m export.replay FORMAT FOLDER PROBES ANSWERS`: a process that knows nothing but the exported folder answers probes.

Arrays in an `.npz` file are named `probe/signature/input`, and in the answers `engine/probe/signature/output`. PNG files come back decoded.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from export.engines import ENGINES

__all__ = ["replay"]


def replay(form: str, folder: Path, probes: Path, answers: Path) -> None:
    """Load one format with each of its engines, answer all probes and write the answers.

    Args:
        form: a key of `ENGINES`.
        folder: the exported folder.
        probes: `.npz` file of inputs.
        answers: `.npz` file to write.
    """
    requests: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(probes) as arrays:
        for key, value in arrays.items():
            probe, signature, name = key.split("/")
            requests.setdefault((probe, signature), {})[name] = value
    warm_up = _warm_up_requests(folder) if form == "saved_model" else []
    written = {}
    for engine in ENGINES[form]:
        with engine(folder) as call:
            for (probe, signature), inputs in requests.items():
                for name, value in call(signature, inputs).items():
                    written[f"{engine.__name__}/{probe}/{signature}/{name}"] = _decoded(value) if name == "image_bytes" else value
            for signature, inputs in warm_up:
                call(signature, inputs)
    np.savez(answers, allow_pickle=False, **written)


def _warm_up_requests(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    from export.warmup import read_requests  # brings TensorFlow along

    return read_requests(folder)


def _decoded(files: np.ndarray) -> np.ndarray:
    """Return the grey or RGB levels of PNG files [B], uint8 [B, H, W, C]."""
    images = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    return np.stack([image if image.ndim == 3 else image[..., None] for image in images])


if __name__ == "__main__":
    try:
        replay(sys.argv[1], *map(Path, sys.argv[2:]))
    except Exception as error:  # the border of the process: its parent says it in one line
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
