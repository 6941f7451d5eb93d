"""What an evaluation found for each image, kept beside its means: what two runs are compared by."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import final
from zipfile import BadZipFile

import numpy as np

from vae_tf.errors import RunError
from vae_tf.files import replacing

__all__ = ["PerImage"]

_VALUES = ("log_likelihood", "elbo", "effective_samples")


@final
@dataclass(frozen=True)
class PerImage:
    """Values for each of N images, [N] float64.

    Attributes:
        log_likelihood: log p(x) in nats, as the evaluation estimated it.
        elbo: in nats.
        effective_samples: of the importance sampling.
        images: SHA-256 of the images as the model saw them.
    """

    log_likelihood: np.ndarray
    elbo: np.ndarray
    effective_samples: np.ndarray
    images: str

    @staticmethod
    def fingerprint(x: np.ndarray) -> str:
        """Return the SHA-256 of images [N, H, W, C], their shape included."""
        digest = hashlib.sha256(repr((x.shape, str(x.dtype))).encode())
        digest.update(np.ascontiguousarray(x).data)
        return digest.hexdigest()

    def write(self, path: str | Path) -> None:
        """Write them as `.npz`."""
        with replacing(path) as temporary:
            np.savez(temporary, images=np.array(self.images), **{name: getattr(self, name) for name in _VALUES})

    @classmethod
    def read(cls, path: str | Path) -> "PerImage":
        """Read what `write` wrote; nothing in the file is run.

        Raises:
            RunError: the file is missing or damaged.
        """
        remedy = f"evaluate again: python -m vae_tf evaluate {Path(path).parent}"
        try:
            with np.load(path, allow_pickle=False) as file:
                values, images = {name: file[name].astype(np.float64) for name in _VALUES}, str(file["images"])
        except FileNotFoundError:
            raise RunError(f"`{path}` is missing: what was found for each image; {remedy}.") from None
        except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, BadZipFile) as error:
            raise RunError(f"`{path}` is damaged ({(str(error).splitlines() or ['empty'])[0]}); {remedy}.") from None
        if len({value.shape for value in values.values()}) > 1 or values["elbo"].ndim != 1 or len(values["elbo"]) < 2:
            raise RunError(f"`{path}` is damaged (its values are not one for each image); {remedy}.")
        return cls(**values, images=images)
