"""log p(x) by importance sampling in this project: `python -m peers.vae_tf_evaluation --model MODEL --images FILE --samples S`.

Measures few images and many, so that what is done once, such as compiling, is told apart from what is done for each image.
"""

import argparse
import json
import os
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from peers.harness import peak

_FEW = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--samples", type=int, required=True)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from peers.vae_tf_side import model

    from vae_tf.evaluation import log_weights

    grey = np.load(given.images).astype(np.float32) / 255
    x = (np.random.default_rng(0).random(grey.shape, np.float32) < grey).astype(np.float32)
    vae = model(given.model)
    vae.compile("adam")
    times_s = []
    for part in (x[:_FEW], x):
        start_s = time.perf_counter()
        log_weights(vae, part, samples=given.samples)
        times_s.append(time.perf_counter() - start_s)
    few_s, all_s = times_s
    each_s = (all_s - few_s) / (len(x) - _FEW)
    print(
        json.dumps(
            {
                "images": len(x),
                "samples": given.samples,
                "seconds": all_s,
                "start_s": max(0.0, few_s - _FEW * each_s),
                "image_s": each_s,
                "peak_bytes": peak(),
                "version": f"vae_tf {metadata.version('vae_tf')}, TensorFlow {metadata.version('tensorflow')}",
            }
        )
    )


if __name__ == "__main__":
    main()
