"""The report of a run: one HTML file that explains this very model on its data. One file for each question that it answers."""

from vae_tf.report.page import write_report
from vae_tf.report.sweep import train_sweep

__all__ = ["train_sweep", "write_report"]
