"""`python -m vae_tf`: train, evaluate, report, sample."""

from vae_tf.cli import main

main()
