"""Trackers: what a training looks like while it runs, kept for TensorBoard, MLflow and the like. They change no number."""

from vae_tf.tracking.base import Outcome, Tracker, Training
from vae_tf.tracking.follow import TRACKERS, Tracking
from vae_tf.tracking.mlflow import MLflow
from vae_tf.tracking.tensorboard import TensorBoard

__all__ = ["TRACKERS", "MLflow", "Outcome", "TensorBoard", "Tracker", "Tracking", "Training"]
