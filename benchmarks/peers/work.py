"""The three pieces of work that all sides do: shapes of their layers, and what follows from them, parameters and floating point operations.

Each side writes the networks out in its own way; here they are numbers only, against which the sides are checked.
"""

from dataclasses import dataclass

__all__ = ["WORKS", "Layer", "Work", "conv", "dense", "doubling", "norm"]


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        parameters: their number.
        products: multiplications, each with its addition, of one image in the forward pass; 0 for all but linear maps.
    """

    parameters: int
    products: int


@dataclass(frozen=True)
class Work:
    """A model, and how it is trained: by Adam with the step size 1e-3 on the bound of one posterior sample.

    Attributes:
        title: for people.
        image_shape: (H, W, C).
        batch: images per step.
        latent_dim: D.
        images: of an epoch, so that an epoch takes seconds.
        layers: all of them; the first one sees the image.
    """

    title: str
    image_shape: tuple[int, int, int]
    batch: int
    latent_dim: int
    images: int
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flop(self) -> int:
        """Floating point operations of a step in linear maps, the least that forward and backward pass need.

        Each linear map is applied three times: forward, for the gradient of its weights, and for that of its input, which the first
        layer does without.
        """
        first, *others = (layer.products for layer in self.layers)
        return 2 * self.batch * (2 * first + 3 * sum(others))


def dense(inputs: int, outputs: int) -> Layer:
    """Return a dense layer."""
    return Layer(inputs * outputs + outputs, inputs * outputs)


def conv(size: int, inputs: int, outputs: int, kernel: int = 3) -> Layer:
    """Return a convolution, of which `size` is the height and width of the output."""
    weights = kernel**2 * inputs * outputs
    return Layer(weights + outputs, weights * size**2)


def doubling(size: int, inputs: int, outputs: int) -> Layer:
    """Return a 3x3 convolution of the map in which each pixel is repeated 2 x 2, of which `size` is the height and width before.

    Repeated pixels let 4 products of the kernel do for 9: each of the 4 pixels that come of one sees 2 x 2 different ones.
    """
    return Layer(9 * inputs * outputs + outputs, 4 * 4 * inputs * outputs * size**2)


def norm(channels: int) -> Layer:
    """Return a group normalization with scale and offset."""
    return Layer(2 * channels, 0)


def _block(size: int, channels: int) -> list[Layer]:
    """Return a residual block: twice a normalization and a convolution."""
    return 2 * [norm(channels), conv(size, channels, channels)]


WORKS = {
    "mlp": Work(
        "MLP 784-200-200-50, tanh (Burda et al., 2016), Bernoulli",
        (28, 28, 1),
        100,
        50,
        60_000,
        (dense(784, 200), dense(200, 200), dense(200, 2 * 50), dense(50, 200), dense(200, 200), dense(200, 784)),
    ),
    "conv": Work(
        "convolutional 28x28, 32 and 64 filters, 40 latents, Bernoulli",
        (28, 28, 1),
        128,
        40,
        12_800,
        (
            *(conv(14, 1, 32), conv(7, 32, 64), dense(7 * 7 * 64, 256), dense(256, 2 * 40)),
            *(dense(40, 256), dense(256, 7 * 7 * 64), doubling(7, 64, 64), doubling(14, 64, 32), conv(28, 32, 1, kernel=1)),
        ),
    ),
    "residual": Work(
        "residual 32x32 RGB, 32, 64 and 64 filters, 64 latents, normal with scale 0.1",
        (32, 32, 3),
        64,
        64,
        2_560,
        (
            *(conv(16, 3, 32), *_block(16, 32), conv(8, 32, 64), *_block(8, 64), conv(4, 64, 64), *_block(4, 64), norm(64)),
            *(dense(4 * 4 * 64, 256), dense(256, 2 * 64), dense(64, 256), dense(256, 4 * 4 * 64)),
            *(*_block(4, 64), doubling(4, 64, 64), *_block(8, 64), doubling(8, 64, 64), *_block(16, 64), doubling(16, 64, 32)),
            *(norm(32), conv(32, 32, 3, kernel=1)),
        ),
    ),
}
