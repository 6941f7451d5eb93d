"""Claims about runs side by side, and about what an evaluation keeps for each image."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vae_tf.cli import main
from vae_tf.errors import RunError
from vae_tf.evaluation import EffectiveSamples, Estimate, Evaluation, PerImage
from vae_tf.evaluation.compare import compare
from vae_tf.plots.comparison import comparison, save_figure

N = 400


def write(folder, log_likelihood, images="a", samples=100, method="importance sampling"):
    """A run folder as `evaluate` leaves it, with made-up values of each image."""
    folder.mkdir(exist_ok=True)
    estimate = Estimate.over(log_likelihood, method)
    evaluation = Evaluation(estimate, estimate, None, estimate, estimate, estimate, None, (1.0, 0.0), (True, False), 0, samples=samples)
    evaluation.write(folder / "evaluation.json")
    PerImage(log_likelihood, log_likelihood - 1, np.full(N, 5.0), images).write(folder / "evaluation.npz")
    return folder


@pytest.fixture
def runs(tmp_path):
    """The second is better by 0.5 on average, image by image, where images differ by tens of nats."""
    rng = np.random.default_rng(0)
    first = rng.normal(-90, 20, N)
    second = first + rng.normal(0.5, 1, N)
    return [write(tmp_path / "first", first), write(tmp_path / "second", second)], second - first


def test_a_difference_is_paired_by_image(runs):
    folders, differences = runs
    entries = compare(folders).entries
    assert entries[0].difference is None
    assert entries[1].difference.value == pytest.approx(differences.mean())
    assert entries[1].difference.standard_error == pytest.approx(differences.std(ddof=1) / np.sqrt(N))
    assert entries[1].difference.standard_error < entries[1].log_likelihood.standard_error / 10


def test_the_table_shows_both_errors_and_warns_where_numbers_do_not_compare(runs, tmp_path):
    folders, _ = runs
    table = compare(folders).table()
    assert "1 of 2" in table
    assert f"the same {N} test images" in table
    assert "note:" not in table
    fewer = write(tmp_path / "third", np.full(N, -80.0) + np.arange(N) / N, samples=10, method="..., given the label: log p(x | y)")
    notes = compare([*folders, fewer]).notes()
    assert "numbers of samples differ" in notes[0]
    assert "log p(x | y)" in notes[1]


def test_the_command_prints_the_table_and_writes_picture_and_numbers(runs, tmp_path, capsys):
    folders, differences = runs
    out = tmp_path / "c.svg"
    main([*["compare", *map(str, folders)], "--out", str(out)], standalone_mode=False)
    assert f"{differences.mean():+.3f}" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"<svg")
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["entries"][1]["difference"]["value"] == pytest.approx(differences.mean())


def test_numbers_of_a_comparison_replace_nothing_else(runs, capsys):
    folders, _ = runs
    before = (folders[0] / "evaluation.json").read_bytes()
    with pytest.raises(SystemExit):
        main(["compare", *map(str, folders), "--out", str(folders[0] / "evaluation.svg")])
    assert "is there and is no comparison" in capsys.readouterr().err
    assert (folders[0] / "evaluation.json").read_bytes() == before
    assert not (folders[0] / "evaluation.svg").exists()
    for _ in range(2):
        main(["compare", *map(str, folders), "--out", str(folders[0] / "both.svg")], standalone_mode=False)


def test_a_picture_can_be_a_png(runs, tmp_path):
    entries = compare(runs[0]).entries
    save_figure(tmp_path / "c.png", comparison(["a", "b"], [e.log_likelihood for e in entries], [e.difference for e in entries]))
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def damaged(folder):
    (folder / "evaluation.npz").write_bytes(b"PK no")


def other_images(folder):
    write(folder, np.linspace(-90, -80, N), images="b")


def other_evaluation(folder):
    values = PerImage.read(folder / "evaluation.npz")
    replace(values, log_likelihood=values.log_likelihood + 1).write(folder / "evaluation.npz")


def a_plain_array(folder):
    with (folder / "evaluation.npz").open("wb") as file:
        np.save(file, np.zeros(3))


def probabilities(folder):
    evaluation = Evaluation.read(folder / "evaluation.json")
    replace(evaluation, bits_per_dimension=evaluation.elbo).write(folder / "evaluation.json")


def pickled(folder):
    np.savez(folder / "evaluation.npz", log_likelihood=np.array([{}], object))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "evaluation.json").unlink(), r"second/evaluation.json` is missing; .* vae_tf evaluate"),
        (lambda folder: (folder / "evaluation.npz").unlink(), r"second/evaluation.npz` is missing.*; evaluate again"),
        (lambda folder: (folder / "evaluation.json").write_text("{"), "evaluation.json` is damaged"),
        (damaged, "evaluation.npz` is damaged"),
        (pickled, "evaluation.npz` is damaged"),
        (other_images, "on other test images than .*first"),
        (a_plain_array, "evaluation.npz` is damaged"),
        (probabilities, "one gives probabilities of discrete values, the other a density"),
        (other_evaluation, "evaluation.npz` is not of the evaluation beside it"),
    ],
)
def test_what_can_not_be_compared_is_refused(runs, damage, message):
    folders, _ = runs
    damage(folders[1])
    with pytest.raises(RunError, match=message):
        compare(folders)


@pytest.mark.parametrize(("pick", "message"), [([0], "at least 2 runs, got 1"), ([0, 1, 0], "named twice")])
def test_a_comparison_needs_different_runs(runs, pick, message):
    with pytest.raises(RunError, match=message):
        compare([runs[0][index] for index in pick])


def test_an_evaluation_comes_back_as_it_was_written(tmp_path):
    estimate = Estimate(1.0, 0.5, 9, "nats", "made up")
    whole = Evaluation(
        estimate, estimate, estimate, estimate, estimate, estimate, estimate, (1.0,), (True,), 3, {"z": 1.0}, (), 10,
        {"a": EffectiveSamples(1.0, 2.0, 3.0, 10, 0.1)}, {"a": {1: estimate, 10: estimate}}, {"t": {"n": estimate}}, ("note",),
    )  # fmt: skip
    whole.write(tmp_path / "e.json")
    assert Evaluation.read(tmp_path / "e.json") == whole


def test_effective_samples_tell_the_worst_and_the_error_by_their_number():
    effective = EffectiveSamples.over(np.array([10.0] * 99 + [1.0]), samples=10)
    assert (effective.least, effective.median) == (1.0, 10.0)
    assert effective.error == pytest.approx(np.sqrt(0.9) / 100)


def test_images_have_one_fingerprint_and_others_another():
    x = np.zeros((2, 3, 3, 1), np.float32)
    assert PerImage.fingerprint(x) == PerImage.fingerprint(x.copy()) != PerImage.fingerprint(x.reshape(2, 1, 9, 1))
