import io

import numpy as np
import pytest
from PIL import Image

from serving.errors import InvalidArgumentError
from serving.images import encode_png, enlarge, grid


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_png_holds_rounded_and_clipped_levels(channels, mode):
    image = np.tile(np.array([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 2.0], np.float32)[None, :, None], (2, 1, channels))
    decoded = Image.open(io.BytesIO(encode_png(image)))
    assert decoded.mode == mode
    np.testing.assert_array_equal(np.asarray(decoded).reshape(image.shape)[0, :, 0], [0, 0, 0, 1, 255, 255])


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (1, 4, 4, 1)])
def test_other_shapes_are_no_image(shape):
    with pytest.raises(InvalidArgumentError, match=r"`image` must have shape \[H, W, 1\] or \[H, W, 3\]"):
        encode_png(np.zeros(shape, np.float32))


def test_a_grid_lays_images_out_row_by_row():
    images = np.arange(1, 6, dtype=np.float32).reshape(5, 1, 1, 1)
    np.testing.assert_array_equal(grid(images, gap=1, ground=9)[..., 0], [[1, 9, 2, 9, 3], [9] * 5, [4, 9, 5, 9, 9]])
    np.testing.assert_array_equal(grid(images, gap=0, ground=9)[..., 0], [[1, 2, 3], [4, 5, 9]])


def test_a_grid_of_one_is_the_image():
    image = np.random.default_rng(0).random((1, 3, 4, 3))
    np.testing.assert_array_equal(grid(image), image[0])


def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_left_alone():
    small = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(enlarge(small, side=6)[0, :, :, 0], np.kron(small[0, :, :, 0], np.ones((2, 2))))
    np.testing.assert_array_equal(enlarge(small, side=3), small)
