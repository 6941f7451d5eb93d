"""What the tests share: tiny models, tiny images, and the place of real data sets."""

import os
from pathlib import Path

import numpy as np
import pytest

DATA = os.environ.get("VAE_TF_TEST_DATA")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets."""
    if not DATA:
        pytest.skip("VAE_TF_TEST_DATA is not set: it names the folder of real data sets (tensorflow_datasets/, cifar10_folder/, ...)")
    return Path(DATA)


@pytest.fixture(scope="session")
def binary_images() -> np.ndarray:
    """[40, 6, 5, 1] images of 0 and 1; height and width differ, so that no test passes by mixing them up."""
    return (np.random.default_rng(0).random((40, 6, 5, 1)) < 0.3).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def classifiers(tmp_path_factory):
    """Classifiers that tests train are kept for the session, and not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAE_TF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def fewer_samples():
    """Keep reports small."""
    from reports import FEW  # TensorFlow is not imported for tests that do without

    with pytest.MonkeyPatch.context() as patch:
        for module, constants in FEW.items():
            for name, value in constants.items():
                patch.setattr(f"vae_tf.report.{module}.{name}", value)
        yield
