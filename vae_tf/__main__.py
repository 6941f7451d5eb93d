"""`python -m vae_tf`: train, evaluate, report, sample."""

import os

# Before TensorFlow starts: its own notices would bury the answer that the user waits for.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from vae_tf.cli import main

main()
