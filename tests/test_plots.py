"""Pictures from arrays."""

import re

import numpy as np
import pytest
from PIL import Image

from vae_tf import plots
from vae_tf.evaluation import Estimate
from vae_tf.plots.comparison import comparison

ROWS = [
    {"epoch": e, "elbo": -9.0 / e, "val_elbo": -10.0 / e, "kl": 1.0, "val_kl": 1.0, "reconstruction": -8.0 / e, "val_reconstruction": -9.0}
    for e in (1, 2)
]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_grid_shows_every_image_enlarged_without_smoothing(tmp_path, channels):
    images = np.random.default_rng(0).random((5, 8, 8, channels))
    plots.save_png(tmp_path / "new" / "grid.png", plots.image_grid(images, columns=3))
    with Image.open(tmp_path / "new" / "grid.png") as file:
        assert file.mode == {1: "L", 3: "RGB"}[channels]
        grid = np.asarray(file).reshape(2 * 56 + 2, 3 * 56 + 4, channels)
    for index, image in enumerate(images):
        top, left = index // 3 * 58, index % 3 * 58
        np.testing.assert_array_equal(grid[top : top + 56 : 7, left : left + 56 : 7], np.rint(image * 255))
        np.testing.assert_array_equal(grid[top + 6 : top + 56 : 7, left + 6 : left + 56 : 7], np.rint(image * 255))


def test_a_grid_is_as_square_as_the_number_of_images_allows():
    assert plots.image_grid(np.zeros((9, 60, 60, 1))).shape == (184, 184, 1)
    assert plots.image_grid(np.zeros((1, 60, 60, 1))).shape == (60, 60, 1)


def test_values_beyond_black_and_white_are_clipped():
    grid = plots.image_grid(np.array([-0.5, 0.0, 1.0, 7.0]).reshape(1, 2, 2, 1))
    assert grid[0, 0, 0] == grid[0, -1, 0] == 0
    assert grid[-1, 0, 0] == grid[-1, -1, 0] == 255


def test_a_pair_is_left_and_right_and_pairs_are_apart():
    left, right = np.full((3, 60, 60, 1), 0.2), np.full((3, 60, 60, 1), 0.8)
    grid = plots.pair_grid(left, right, columns=2)
    assert tuple(grid[0, 0]) == (51, 51, 51, 255)
    assert tuple(grid[0, 121]) == (204, 204, 204, 255)
    assert grid[0, 122, 3] == 0, "between pairs the ground is transparent"
    assert grid[-1, -1, 3] == 0, "there is no fourth pair"


def test_learning_curves_are_in_nats_and_tell_training_from_validation():
    figure = plots.learning_curves(ROWS)
    elbo = figure.axes[0]
    assert elbo.get_ylabel() == "nats per image"
    assert [line.get_label() for line in elbo.lines] == ["training", "validation"]
    assert elbo.lines[0].get_linestyle() != elbo.lines[1].get_linestyle()
    np.testing.assert_allclose(elbo.lines[1].get_ydata(), [-10, -5])
    assert [axes.get_title() for axes in figure.axes] == ["ELBO", "Reconstruction", "KL"]


def test_the_kl_is_sorted_and_keeps_the_number_of_its_dimension():
    axes = plots.kl_bars(np.array([0.1, 2.0, 0.0, 1.0]), active=np.array([False, True, False, True])).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 1.0, 0.1, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "1", "3"]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["active (2)", "not active (2)"]
    assert not any(bar.get_hatch() for bar in axes.patches[:2])
    assert all(bar.get_hatch() for bar in axes.patches[2:])


def test_epochs_are_whole_numbers():
    ticks = plots.learning_curves(ROWS).axes[0].get_xticks()
    assert (ticks == ticks.round()).all()


def test_layers_keep_their_order_and_are_named():
    axes = plots.kl_bars(np.array([0.1, 0.3, 5.0, 7.0, 6.0]), np.ones(5, bool), {"z2": 2, "z1": 3}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "1", "4", "5", "3"]
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("z2", 0.5), ("z1", 3.0)]
    assert [line.get_xdata()[0] for line in axes.lines] == [1.5]


def test_the_manifold_has_large_z2_on_top():
    images = np.zeros((2, 2, 3, 4, 1))
    images[0, 1] = 1.0
    axes = plots.manifold(images, np.array([[-1.0, 1.0], [2.0, 12.0]])).axes[0]
    shown = axes.images[0].get_array()
    assert shown[:3, 4:].min() == 255
    assert axes.images[0].origin == "upper"
    assert [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()] == [[1, 1]], "a line between two rows"
    assert [segment[:, 0].tolist() for segment in axes.collections[1].get_segments()] == [[1, 1]], "and one between two columns"
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-1", "-0.5", "0", "0.5", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "4", "6", "8", "10", "12"]


def test_the_rows_of_a_grid_are_named_at_their_middle():
    grid = plots.pair_grid(np.zeros((6, 60, 60, 1)), np.zeros((6, 60, 60, 1)), columns=2)
    axes = plots.named_rows(grid, ["cat", "dog", "owl"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    assert axes.get_yticks().tolist() == [30, 30 + 74, 30 + 2 * 74]
    assert axes.get_ylim() == (208, 0)


def test_the_map_names_classes_in_a_legend_and_in_place():
    means, labels = np.array([[0.0, 1.0], [0.0, 3.0], [-1.0, 0.0]]), np.array([4, 4, 1])
    figure = plots.latent_map(means, labels, ["a", "b", "c", "d", "e"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "e"]
    assert {text.get_text(): text.xy for text in figure.axes[0].texts} == {"b": (-1, 0), "e": (0, 2)}
    drawn = figure.axes[0].collections
    assert len({tuple(points.get_facecolors()[0]) for points in drawn}) == 2
    assert len({points.get_paths()[0].vertices.tobytes() for points in drawn}) == 2, "classes differ in more than colour"


def test_points_are_outlined_and_few_are_larger_than_many():
    few, many = (plots.latent_map(np.zeros((count, 2))).axes[0].collections[0] for count in (100, 5000))
    assert few.get_sizes()[0] > many.get_sizes()[0]
    assert few.get_edgecolors()[0][:3].sum() < few.get_facecolors()[0][:3].sum(), "a pale colour is seen by its edge"


def test_few_latent_dimensions_take_no_more_room_than_they_need():
    for draw in (lambda count: plots.kl_bars(np.ones(count), np.ones(count, bool)), lambda count: plots.spreads(*np.ones((3, count)))):
        narrow, wide = draw(2), draw(20)
        assert narrow.get_figwidth() < 0.6 * wide.get_figwidth()
        assert all(figure.axes[0].get_xlim() == (-0.6, count - 0.4) for figure, count in ((narrow, 2), (wide, 20)))


def test_the_map_of_unlabelled_images_has_one_colour_and_no_legend():
    figure = plots.latent_map(np.zeros((3, 2)))
    assert not figure.legends
    assert len({tuple(colour) for colour in figure.axes[0].collections[0].get_facecolors()}) == 1


def test_the_map_shows_draws_where_the_prior_is_no_circle():
    with_circles, with_draws = (plots.latent_map(np.zeros((3, 2)), prior=prior).axes[0] for prior in (None, np.full((5, 2), 7.0)))
    assert (len(with_circles.patches), len(with_circles.collections)) == (2, 1)
    assert (len(with_draws.patches), len(with_draws.collections)) == (0, 2)
    np.testing.assert_array_equal(with_draws.collections[0].get_offsets(), np.full((5, 2), 7.0))
    assert with_draws.get_xlim()[0] < 0
    assert with_draws.get_xlim()[1] > 7


def test_a_diagram_is_the_same_bytes_each_time_and_follows_the_page_in_light_and_dark():
    drawn = plots.svg(plots.learning_curves(ROWS))
    assert drawn == plots.svg(plots.learning_curves(ROWS))
    assert drawn.startswith(b"<svg")
    assert b"currentColor" in drawn
    assert b"prefers-color-scheme:dark" in drawn
    assert b"#000000" not in drawn, "nothing is drawn in a black that vanishes on a dark page"


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.svg(plots.kl_bars(np.ones(3), active=np.ones(3, bool)))
    assert dict(matplotlib.rcParams) == before


def test_histograms_are_shares_of_each_set_and_the_lowest_are_at_the_edge():
    many, few = np.r_[np.full(10, -1000.0), np.linspace(-10, 0, 90)], np.linspace(-5, 0, 7)
    axes = plots.histograms({"many": many, "few": few}, {"mark": -3.0}, "nats", beyond=0.2).axes[0]
    heights = [patch.get_data().values for patch in axes.patches]
    np.testing.assert_allclose([shares.sum() for shares in heights], 1)
    assert heights[0][0] >= 0.1, "what lies far below is drawn in the first bar"
    assert axes.get_xlim()[0] > -20
    assert [patch.get_hatch() for patch in axes.patches] == [None, "////"], "the two are told apart without colour"
    assert axes.lines[0].get_xdata()[0] == -3


def test_values_that_are_all_equal_have_a_histogram():
    axes = plots.histograms({"same": np.full(4, 2.0)}, {}, "nats").axes[0]
    assert axes.patches[0].get_data().values.sum() == 1


def test_posteriors_are_ellipses_of_two_standard_deviations_along_their_axes():
    turned = np.array([[[2.5, 1.5], [1.5, 2.5]]])  # variances 1 and 4, the wide one along the diagonal
    axes = plots.posteriors(np.array([[0.5, -1.0]]), turned, np.array([3]), ["a", "b", "c", "dog"]).axes[0]
    (ellipse,) = [patch for patch in axes.patches if hasattr(patch, "angle") and patch.get_facecolor()[3] > 0]
    assert (ellipse.width, ellipse.height) == pytest.approx((4.0, 8.0))
    assert ellipse.angle % 180 == pytest.approx(135), "the narrow axis"
    assert [text.get_text() for text in axes.texts] == ["dog"]


def test_the_frame_of_a_map_says_where_its_plane_is():
    figure = plots.latent_map(np.array([[0.0, 0.0], [3.0, -1.0]]), np.array([0, 1]))
    frame, axes = plots.frame(figure), figure.axes[0]
    width, height = figure.canvas.get_width_height()
    for z in ((0.0, 0.0), (3.0, -1.0)):
        x, y = axes.transData.transform(z)
        shares = [(value - low) / (high - low) for value, low, high in zip(z, frame.low, frame.high)]
        assert x / width == pytest.approx(frame.left + shares[0] * frame.width, abs=1e-3)
        assert 1 - y / height == pytest.approx(frame.top + (1 - shares[1]) * frame.height, abs=1e-3)


def test_spreads_put_the_most_telling_dimension_of_each_layer_first():
    figure = plots.spreads(np.ones(4), np.array([0.9, 0.1, 0.5, 0.2]), np.ones(4), {"z2": 1, "z1": 3})
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4", "3"]
    np.testing.assert_allclose(axes.lines[2].get_ydata(), [0.9, 0.1, 0.2, 0.5])


def test_estimates_are_drawn_with_their_spread_and_the_bound():
    counts, prior, posterior = [1, 10], np.array([[[-9.0], [-7.0]], [[-5.0], [-5.0]]]), np.full((2, 2, 1), -4.0)
    figure = plots.evidence_curves(np.zeros((1, 2, 2, 1)), np.array([-4.5]), counts, prior, posterior, "log p(x)")
    above, near = figure.axes[:2]
    assert [line.get_ydata()[0] for line in above.lines] == [-8, -4, -4.5]
    assert [line.get_ydata()[0] for line in near.lines] == [-8, -4, -4.5]
    assert -6 < near.get_ylim()[0] < -4.5, "from near is where importance sampling is"
    assert above.lines[0].get_marker() != above.lines[1].get_marker()
    band = above.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((-8 - 2**0.5, -5.0))


@pytest.mark.parametrize(("lowest", "symlog"), [(-9.0, False), (-5e5, True)])
def test_an_axis_that_is_not_linear_says_so(lowest, symlog):
    curve = np.array([lowest, -8.0, -8.5])
    axes = plots.sigma_curves(np.array([0.1, 0.2, 0.4]), {"ELBO": curve}, 0.1, 0.2, np.ones(3), 0.5, "sigma").axes[0]
    assert (axes.get_yscale() == "symlog") == ("logarithmic beyond" in axes.get_ylabel()) == symlog


@pytest.mark.parametrize(("plain", "drawn", "top"), [(-90.0, 1, -20), (-15.0, 2, -15), (None, 1, -20)])
def test_plain_monte_carlo_is_drawn_beside_importance_sampling_unless_it_is_far_below(plain, drawn, top):
    def curve(value):
        return {count: Estimate(value + count, 0.5, 6, "nats", "") for count in (0, 1)}

    axes = plots.settling(curve(-21.0), {} if plain is None else curve(plain - 1), "log p(x)").axes[0]
    assert len(axes.get_legend().get_texts()) == len(axes.containers) == drawn
    assert top + 0.5 < axes.get_ylim()[1] < top + 1.5
    assert axes.get_ylim()[0] > -23


def test_a_sheet_has_no_gaps():
    images = np.arange(4).reshape(4, 1, 1, 1) / 3 * np.ones((4, 2, 3, 1))
    tiles = plots.sheet(images, 2)
    assert tiles.shape == (4, 6, 1)
    assert tiles[::2, ::3, 0].tolist() == [[0, 85], [170, 255]]


def test_names_with_dollar_signs_are_drawn_as_they_are():
    odd = ["a$b", "$x^$"]
    tiles = np.zeros((8, 4, 1), np.uint8)
    means = np.random.default_rng(0).normal(size=(8, 2))
    estimate = Estimate(0.0, 1.0, 9, "nats", "")
    figures = (
        plots.named_rows(tiles, odd, odd),
        plots.latent_map(means, np.arange(8) % 2, odd),
        comparison(odd, [estimate, estimate], [None, estimate]),
    )
    for figure in figures:
        assert {text.decode() for text in re.findall(rb">([^<>]*\$[^<>]*)</t", plots.svg(figure))} >= set(odd)
