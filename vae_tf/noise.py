"""Random numbers by row: row i is a function of the key and of i alone.

So workers that share a batch draw, each for its own rows, what one worker would draw for all of them.

Source: Salmon et al. (2011), section 2: a random number is a function of its number.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["normal_rows", "sixteen_bits_rows", "uniform_rows"]

_PHILOX = 1  # TensorFlow's number of the algorithm
_BLOCK = 4  # 32-bit words that it makes at once


def normal_rows(key: tf.Tensor, rows: tf.Tensor, width: int, first: tf.Tensor | int = 0) -> tf.Tensor:
    """Return the rows first .. first + rows - 1 of a matrix of N(0, 1), [rows, width] float32.

    Args:
        key: int [2].
        rows: how many, scalar.
        width: numbers in a row.
        first: the number of the first row, scalar.
    """
    return _rows(tf.raw_ops.StatelessRandomNormalV2, key, rows, width, first)


def uniform_rows(key: tf.Tensor, rows: tf.Tensor, width: int, first: tf.Tensor | int = 0) -> tf.Tensor:
    """Return the rows first .. first + rows - 1 of a matrix of uniform numbers in [0, 1), [rows, width] float32.

    Args:
        key: int [2].
        rows: how many, scalar.
        width: numbers in a row.
        first: the number of the first row, scalar.
    """
    return _rows(tf.raw_ops.StatelessRandomUniformV2, key, rows, width, first)


def sixteen_bits_rows(key: tf.Tensor, rows: tf.Tensor, width: int, first: tf.Tensor | int = 0) -> tf.Tensor:
    """Return the rows first .. first + rows - 1 of a matrix of uniform 16-bit integers, [rows, width] uint16.

    Args:
        key: int [2].
        rows: how many, scalar.
        width: numbers in a row.
        first: the number of the first row, scalar.
    """
    words = _rows(tf.raw_ops.StatelessRandomUniformFullIntV2, key, rows, -(-width // 2), first, dtype=tf.uint32)
    return tf.reshape(tf.bitcast(words, tf.uint16), [rows, 2 * words.shape[1]])[:, :width]


def _rows(make: Callable[..., tf.Tensor], key: tf.Tensor, rows: tf.Tensor, width: int, first: tf.Tensor | int, **kwargs: Any) -> tf.Tensor:
    """Return rows, each of whole blocks, from the generator of the key moved on by the blocks of the rows before."""
    blocks = -(-width // _BLOCK)
    philox, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=key)
    before = tf.cast(first, tf.uint64) * tf.constant(blocks, tf.uint64)
    counter += tf.stack([before, tf.zeros([], tf.uint64)])
    return make(shape=[rows, _BLOCK * blocks], key=philox, counter=counter, alg=_PHILOX, **kwargs)[:, :width]
