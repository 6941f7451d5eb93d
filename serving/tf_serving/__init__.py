"""Configuration for the real TensorFlow Serving, rendered from the models folder."""

from serving.tf_serving.render import IMAGE, render, write

__all__ = ["IMAGE", "render", "write"]
