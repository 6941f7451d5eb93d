"""Claims about `benchmarks/training.py`: its arithmetic, its table, and that this project's side runs. Nothing is timed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    """The benchmark's modules that need no side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        from peers import process, table, work

        yield {"process": process, "table": table, "work": work}


def test_operations_are_those_of_the_layer_shapes(peers):
    work = peers["work"]
    assert work.dense(5, 3) == work.Layer(parameters=18, products=15)
    assert work.conv(4, 2, 3) == work.Layer(parameters=57, products=4 * 4 * 9 * 2 * 3)
    # Four kernels of 2x2 for each pixel of the map before.
    assert work.doubling(4, 2, 3) == work.Layer(parameters=57, products=4 * 4 * 16 * 2 * 3)
    # The first layer needs no gradient of its input: 2 applications, the others 3, of a product and a sum each.
    two = work.Work("", (1, 1, 5), batch=10, latent_dim=1, images=10, layers=(work.dense(5, 3), work.dense(3, 2)))
    assert two.flop == 10 * 2 * (2 * 15 + 3 * 6)
    assert work.WORKS["mlp"].flop == 2 * 100 * (2 * 784 * 200 + 3 * (200 * 200 + 200 * 100 + 50 * 200 + 200 * 200 + 200 * 784))


@pytest.mark.parametrize("name", ["mlp", "conv", "residual"])
def test_the_shapes_are_those_of_this_projects_models(peers, name):
    from peers.vae_tf_side import model

    work, vae = peers["work"].WORKS[name], model(name)
    assert sum(weight.numpy().size for weight in vae.trainable_weights) == work.parameters
    assert (vae.likelihood.image_shape, vae.posterior.latent_dim) == (work.image_shape, work.latent_dim)


def run(epoch_s=2.0, loss=100.0, precision="float32", first_s=1.0, first_steps=1):
    """What a side prints, of three epochs."""
    return {
        "first_s": first_s,
        "first_steps": first_steps,
        "epoch_s": [epoch_s, epoch_s],
        "losses": [3 * loss, 2 * loss, loss],
        "parameters": 1,
        "precision": precision,
        "version": "1",
        "peak_bytes": 5_000_000,
    }


def cells(text):
    """The table by name of row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_table_compares_with_the_fastest_that_did_the_same_work(peers):
    work, row = peers["work"], peers["table"].Row
    one = work.Work("", (1, 1, 5), batch=10, latent_dim=1, images=100, layers=(work.dense(5, 3),))
    rows = [
        row("torch", "eager", [run(4.0), run(6.0)]),  # 5 s are its median
        row("vae_tf", "fit", [run(2.5)]),
        row("jax", "scan", [run(0.1, loss=104.0)]),
        row("torch", "bfloat16", [run(2.0, precision="bfloat16", first_s=4.0, first_steps=6)]),
        row("jax", "step", failure="a | b"),
    ]
    found = cells(peers["table"].markdown(one, rows, images=105, limit=one.flop))
    assert list(found) == ["jax scan", "torch bfloat16", "vae_tf fit", "torch eager", "jax step"]
    assert found["vae_tf fit"] == ["float32", "40", "0.80", "2.00", "400%", "1.0", "5", "100.00"]
    assert found["torch eager"][1:4] == ["20", "0.40", "1.00"]
    assert found["jax scan"][-1] == "104.00, not the same work"
    # Five of the six steps came after the first, at a fifth of a second each.
    assert found["torch bfloat16"][1:6] == ["50", "1.00", "1.00", "500%", "3.0"]
    assert found["jax step"][0] == "no numbers: a / b"


def test_another_model_is_noticed(peers):
    work, wrong = peers["work"].WORKS["mlp"], peers["table"].wrong
    assert wrong(work, run() | {"parameters": 425_284}) == wrong(work, run() | {"parameters": None}) == ""
    assert wrong(work, run()) == "another model: it has 1 parameters, and not 425,284"


def test_a_side_that_takes_too_long_or_fails_says_so(peers, tmp_path, monkeypatch):
    runner, failure = peers["process"].Runner(threads=1, timeout_s=600), peers["process"].Failure
    (tmp_path / "broken.py").write_text("raise SystemExit('first line\\nno \\n  compiler')")
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(failure, match="^compiler$"):
        runner(sys.executable, "broken")
    with pytest.raises(failure, match=r"^no answer within 0\.1 s$"):
        peers["process"].Runner(threads=1, timeout_s=0.1)(sys.executable, "endless")
    with pytest.raises(failure, match="nowhere: No such file"):
        runner(tmp_path / "nowhere", "broken")


@pytest.mark.slow
def test_sides_run_and_one_that_is_not_installed_is_shown_as_such(tmp_path):
    rows = [part for name in ("vae_tf fit", "vae_tf command-line", "torch eager") for part in ("--row", name)]
    command = [sys.executable, str(BENCHMARKS / "training.py"), "--quick", "--model", "mlp", "--json", str(tmp_path / "found.json"), *rows]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table = cells(done.stdout[done.stdout.index("| side") :])
    (trial,) = json.loads((tmp_path / "found.json").read_text())["trials"]
    assert len(trial["rows"][0]["runs"][0]["losses"]) == 2
    assert table["vae_tf fit"][0] == table["vae_tf command-line"][0] == "float32"
    if importlib.util.find_spec("torch") is None:
        assert table["torch eager"][0] == "no numbers: ModuleNotFoundError: No module named 'torch'"
    else:
        assert table["torch eager"][0] == "float32"
