"""The models in JAX, written plainly: `scan` is one compiled program for an epoch, `step` one for each step.

Weights and the optimizer's state are donated, the order of images is drawn outside, and random bits 16 at a time: they are dear.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from peers.harness import Clock, task

VARIANTS = ("scan", "step")
_NORMAL = -1.3836465597893728  # log(0.1 sqrt(2 pi)), minus the log density of a normal with scale 0.1 at its mean
_GROUPS = 8


def main() -> None:
    """Train and print."""
    given = task(VARIANTS)
    x, batch = given.load(), given.work.batch
    steps, rng = len(x) // batch, np.random.default_rng(given.seed)

    clock, losses = Clock(), list[float]()
    encoder, decoder = NETWORKS[given.model]()
    key, *starts = jax.random.split(jax.random.key(given.seed), 3)
    weights = [encoder.start(starts[0]), decoder.start(starts[1])]
    optimizer = optax.adam(1e-3)

    def loss_of(weights: Any, x: jax.Array, eps: jax.Array) -> jax.Array:
        loc, raw = jnp.split(encoder.apply(weights[0], x), 2, -1)
        scale = jax.nn.softplus(raw) + 1e-5
        z = loc + scale * eps
        decoded = decoder.apply(weights[1], z)
        if given.binary:
            reconstruction = (jax.nn.softplus(decoded) - x * decoded).sum()
        else:
            reconstruction = 50 * jnp.square(decoded - x).sum() + _NORMAL * x.size
        # The parameters of log q are held: the path gradient of Roeder et al. (2017), which `vae_tf` takes too.
        standard = (z - lax.stop_gradient(loc)) / lax.stop_gradient(scale)
        kl = 0.5 * (jnp.square(z) - jnp.square(standard)).sum() - jnp.log(lax.stop_gradient(scale)).sum()
        return (reconstruction + kl) / batch

    def step(images: jax.Array, carry: Any, rows_and_key: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        (weights, state), (rows, key) = carry, rows_and_key
        grey, (of_pixels, of_latents) = images[rows], jax.random.split(key)
        if given.binary:
            seen = (jax.random.bits(of_pixels, grey.shape, jnp.uint16) < grey.astype(jnp.uint16) * 257).astype(jnp.float32)
        else:
            seen = grey.astype(jnp.float32) / 255
        eps = jax.random.normal(of_latents, (batch, given.work.latent_dim))
        loss, gradients = jax.value_and_grad(loss_of)(weights, seen, eps)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), loss

    @partial(jax.jit, donate_argnums=1)
    def scanned(images: jax.Array, carry: Any, order: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        carry, losses = lax.scan(partial(step, images), carry, (order, jax.random.split(key, len(order))))
        return carry, losses.mean()

    stepped = jax.jit(step, donate_argnums=1)
    images, carry = jnp.asarray(x), (weights, optimizer.init(weights))
    for _ in range(given.epochs):
        order, (key, now) = rng.permutation(len(x)).astype(np.int32).reshape(steps, batch), jax.random.split(key)
        if given.variant == "scan":
            carry, loss = scanned(images, carry, order, now)
            loss.block_until_ready()
            clock.reached(steps)
        else:
            each = []
            for rows_and_key in zip(order, jax.random.split(now, steps)):
                carry, loss = stepped(images, carry, rows_and_key)
                each.append(loss)
                if len(each) == 1:
                    loss.block_until_ready()
                    clock.reached(1)
            loss = np.mean(each)
        losses.append(float(loss))
        clock.epoch()
    clock.report(losses=losses, parameters=sum(w.size for w in jax.tree.leaves(carry[0])), version=f"jax {jax.__version__}")


class Layer(NamedTuple):
    """One or more layers: a key makes their weights, which with an input make the output."""

    start: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]


def sequential(*layers: Layer | Callable[[jax.Array], jax.Array]) -> Layer:
    """Return layers, and functions without weights, one after the other."""
    parts = [layer if isinstance(layer, Layer) else Layer(lambda key: [], lambda _, h, f=layer: f(h)) for layer in layers]

    def apply(weights: Any, h: jax.Array) -> jax.Array:
        for part, own in zip(parts, weights):
            h = part.apply(own, h)
        return h

    return Layer(lambda key: [part.start(each) for part, each in zip(parts, jax.random.split(key, len(parts)))], apply)


def dense(inputs: int, outputs: int) -> Layer:
    """Return a dense layer."""
    return Layer(
        lambda key: [jax.nn.initializers.glorot_uniform()(key, (inputs, outputs)), jnp.zeros(outputs)],
        lambda weights, h: h @ weights[0] + weights[1],
    )


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, small: bool = False) -> Layer:
    """Return a convolution of maps [N, H, W, inputs]; `small` for a tenth of the usual initial weights."""
    start = jax.nn.initializers.variance_scaling(0.01, "fan_in", "normal") if small else jax.nn.initializers.glorot_uniform()
    return Layer(
        lambda key: [start(key, (kernel, kernel, inputs, outputs)), jnp.zeros(outputs)],
        lambda weights, h: _convolved(h, weights[0], stride, "SAME") + weights[1],
    )


def doubling(inputs: int, outputs: int) -> Layer:
    """Return a 3x3 convolution of the map in which each pixel is repeated 2 x 2.

    Each of the 4 pixels that come of one sees 2 x 2 different ones: the kernel's sums over equal ones are 4 kernels of 2x2, and the 4
    results are laid side by side.
    """

    def apply(weights: Any, h: jax.Array) -> jax.Array:
        n, height, width, _ = h.shape
        rows = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], h.dtype)  # [parity, of 2, of 3]
        kernel = jnp.einsum("iar,jbs,rsco->abcijo", rows, rows, weights[0]).reshape(2, 2, inputs, 4 * outputs)
        wide = _convolved(h, kernel, 1, [(1, 1), (1, 1)]).reshape(n, height + 1, width + 1, 2, 2, outputs)
        parts = [[wide[:, i : i + height, j : j + width, i, j] for j in (0, 1)] for i in (0, 1)]
        return jnp.stack([jnp.stack(part, 3) for part in parts], 2).reshape(n, 2 * height, 2 * width, outputs) + weights[1]

    return Layer(conv(inputs, outputs).start, apply)


def norm(channels: int) -> Layer:
    """Return a group normalization."""

    def apply(weights: Any, h: jax.Array) -> jax.Array:
        grouped = h.reshape(*h.shape[:3], _GROUPS, -1)
        mean = grouped.mean((1, 2, 4), keepdims=True)
        variance = jnp.square(grouped - mean).mean((1, 2, 4), keepdims=True)
        return ((grouped - mean) * lax.rsqrt(variance + 1e-5)).reshape(h.shape) * weights[0] + weights[1]

    return Layer(lambda key: [jnp.ones(channels), jnp.zeros(channels)], apply)


def block(channels: int) -> Layer:
    """Return h + f(h), f twice: group normalization, swish, 3x3 convolution."""
    branch = sequential(
        norm(channels), jax.nn.silu, conv(channels, channels), norm(channels), jax.nn.silu, conv(channels, channels, small=True)
    )
    return Layer(branch.start, lambda weights, h: h + branch.apply(weights, h))


def flat(h: jax.Array) -> jax.Array:
    """Return [N, F] of maps [N, H, W, C]."""
    return h.reshape(len(h), -1)


def _convolved(h: jax.Array, kernel: jax.Array, stride: int, padding: Any) -> jax.Array:
    return lax.conv_general_dilated(h, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _mlp() -> tuple[Layer, Layer]:
    return (
        sequential(flat, dense(784, 200), jnp.tanh, dense(200, 200), jnp.tanh, dense(200, 100)),
        sequential(dense(50, 200), jnp.tanh, dense(200, 200), jnp.tanh, dense(200, 784), lambda h: h.reshape(-1, 28, 28, 1)),
    )


def _conv() -> tuple[Layer, Layer]:
    relu = jax.nn.relu
    return (
        sequential(conv(1, 32, stride=2), relu, conv(32, 64, stride=2), relu, flat, dense(3136, 256), relu, dense(256, 80)),
        sequential(
            *(dense(40, 256), relu, dense(256, 3136), relu, lambda h: h.reshape(-1, 7, 7, 64)),
            *(doubling(64, 64), relu, doubling(64, 32), relu, conv(32, 1, kernel=1)),
        ),
    )


def _residual() -> tuple[Layer, Layer]:
    swish = jax.nn.silu
    return (
        sequential(
            *(conv(3, 32, stride=2), block(32), conv(32, 64, stride=2), block(64), conv(64, 64, stride=2), block(64)),
            *(norm(64), swish, flat, dense(1024, 256), swish, dense(256, 128)),
        ),
        sequential(
            *(dense(64, 256), swish, dense(256, 1024), lambda h: h.reshape(-1, 4, 4, 64)),
            *(block(64), doubling(64, 64), block(64), doubling(64, 64), block(64), doubling(64, 32)),
            *(norm(32), swish, conv(32, 3, kernel=1)),
        ),
    )


NETWORKS = {"mlp": _mlp, "conv": _conv, "residual": _residual}

if __name__ == "__main__":
    main()
