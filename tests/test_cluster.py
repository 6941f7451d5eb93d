"""Claims about trainings by several devices and several processes: they give the numbers of one, and they end and resume together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.trainings import rows
from vae_tf.cluster import connect
from vae_tf.errors import ConfigError
from vae_tf.images import Split
from vae_tf.pipeline import training_batches, validation_batches
from vae_tf.run import load

RNG = np.random.default_rng(0)
SETS = ["training.epochs=3", "training.batch_size=300", "training.learning_rate=0.01", "objective.warmup_epochs=1", "model.latent_dim=2"]
SETS += ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]"]


@pytest.mark.parametrize(("parts", "pieces"), [(2, 1), (1, 3), (2, 2)])
def test_shares_of_a_batch_are_side_by_side_what_one_worker_gets(parts, pieces):
    split = Split(RNG.integers(0, 17, (50, 2, 2, 1), np.uint8), np.arange(50))
    made = {
        "batch_size": 12,
        "seed": 1,
        "binarize": "dynamic",
        "labels": True,
        "corrupt": "salt-and-pepper",
        "corruption": 0.3,
        "first_step": 2,
    }
    whole = training_batches(split, 17, **made).take(8).as_numpy_iterator()
    shares = [
        training_batches(split, 17, **made, share=(part, parts), pieces=pieces).take(8 * pieces).as_numpy_iterator()
        for part in range(parts)
    ]
    for (seen, x), y in whole:
        several = [next(share) for share in shares for _ in range(pieces)]
        for expected, found in zip((seen, x, y), zip(*((seen, x, y) for (seen, x), y in several))):
            np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize(("parts", "pieces"), [(2, 1), (1, 2), (2, 2), (5, 1)])
def test_shares_of_the_validation_hold_every_image_once_and_equally_many(parts, pieces):
    x, y = RNG.random((23, 2, 2, 1)).astype(np.float32), np.arange(23)
    shares = [list(validation_batches(x, y, 20, (part, parts), pieces).as_numpy_iterator()) for part in range(parts)]
    pooled = [batch for start in range(0, len(shares[0]), pieces) for share in shares for batch in share[start : start + pieces]]
    assert len({len(weight) for *_, weight in pooled[: parts * pieces]}) == 1
    images, labels, weight = (np.concatenate(column) for column in zip(*pooled))
    np.testing.assert_array_equal(labels[weight > 0], y)
    np.testing.assert_array_equal(images[weight > 0], x)


def test_a_batch_that_can_not_be_shared_equally_is_refused():
    split = Split(np.zeros((50, 2, 2, 1), np.uint8))
    with pytest.raises(ConfigError, match="`training.batch_size` must be a multiple of 4, for as many devices share it; got 10"):
        training_batches(split, 2, batch_size=10, seed=0, binarize="none", share=(0, 2), pieces=2)


@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_cluster_that_is_not_understood_is_refused(told, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", told)
    with pytest.raises(ConfigError, match=r"`TF_CONFIG` must name all workers and this one, such as .*; got "):
        connect()


def train(folder, *more, cluster=None):
    """Start a training of a small model in a process of its own."""
    command = [sys.executable, "-m", "vae_tf", "train", "digits", "--run", str(folder), *(f"--set={s}" for s in SETS), "--resume", *more]
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"} | ({} if cluster is None else {"TF_CONFIG": json.dumps(cluster)})
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pair(folder, *more):
    """Start two workers."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    told = ({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(2))
    return [train(folder, *more, cluster=cluster) for cluster in told]


def ended(process):
    """Wait, and return the exit code and what was said."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out + err


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a training by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert ended(train(folder))[0] == 0
    return folder


def check_same(folder, alone):
    assert len(rows(folder)) == 3
    for found, expected in zip(rows(folder), rows(alone)):
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4)
    for found, expected in zip(load(folder).vae.trainable_variables, load(alone).vae.trainable_variables):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(alone, tmp_path):
    code, said = ended(train(tmp_path / "run", "--devices", "2"))
    assert code == 0, said
    assert "2 devices" in said
    check_same(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one_also_when_one_dies_and_both_are_started_again(alone, tmp_path):
    folder = tmp_path / "run"
    chief, other = pair(folder, "--checkpoint-steps", "1")
    while not (folder / "checkpoints" / "epoch-1").exists():
        assert chief.poll() is None, ended(chief)
    other.send_signal(signal.SIGKILL)
    other.wait()
    code, said = ended(chief)
    assert code == os.EX_TEMPFAIL, said
    assert "worker 0 ends, as another has ended or can not be reached" in said
    assert "start all again with the same command and --resume" in said
    results = [ended(process) for process in pair(folder)]
    assert [code for code, _ in results] == [0, 0], results
    assert "resuming" in results[0][1]
    check_same(folder, alone)
