"""What the machine can do: `python -m peers.limit` prints the rate of multiplying large float32 matrices, in FLOP/s, as JSON."""

import json
import time

import numpy as np

_SIZE, _REPEATS = 3072, 8


def main() -> None:
    """Measure and print the best of some repeats."""
    a, b = np.random.default_rng(0).standard_normal((2, _SIZE, _SIZE), np.float32)
    out, best_s = np.empty_like(a), float("inf")
    for _ in range(_REPEATS):
        start_s = time.perf_counter()
        np.matmul(a, b, out=out)
        best_s = min(best_s, time.perf_counter() - start_s)
    print(json.dumps({"flop_per_s": 2 * _SIZE**3 / best_s}))


if __name__ == "__main__":
    main()
