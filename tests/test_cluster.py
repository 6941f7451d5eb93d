"""Claims about trainings by several devices and several processes: they give the numbers of one, and they end and resume together."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.trainings import rows, same_weights
from vae_tf import train as training
from vae_tf.cluster import _told, connect
from vae_tf.config import preset
from vae_tf.errors import ConfigError
from vae_tf.images import Split
from vae_tf.pipeline import training_batches, validation_batches
from vae_tf.run import load

RNG = np.random.default_rng(0)
EPOCHS = 3
SETS = [f"training.epochs={EPOCHS}", "training.batch_size=100", "training.learning_rate=0.01", "training.steps_per_execution=2"]
SETS += ["model.latent_dim=2", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.condition=classes"]
SETS += ["data.binarize=dynamic", "objective.warmup_epochs=1"]


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


def told(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices must be integers"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "'task'"),
        (told({"worker": ["a:1", "b:2"]}, index=2), "there is no worker 2"),
        (told({"worker": ["a:1", "b:2"]}, index=-1), "there is no worker -1"),
        (told({"worker": ["a:1", "b:2"]}, index=0.5), "invalid literal for int"),
        (told({"chief": ["a:1"], "worker": ["b:2"]}, "chief", 1), "there is no chief 1"),
        (told({"chief": ["a:1", "b:2"]}, "chief"), "there must be one chief"),
        (told({"worker": ["a:1"], "ps": ["b:2"]}, "ps"), "for each kind of worker"),
        (told({"worker": ["a:1", "b:2"]}, "chief"), "also for 'chief'"),
        (told({"worker": "a:1"}), "must have a list of addresses"),
        (told({"worker": {"0": "a:1", "1": "b:2"}}), "must have a list of addresses"),
        (told(["a:1", "b:2"]), "must have a list of addresses"),
        (told({"worker": ["a:1", "a:1"]}), "a:1 comes twice"),
        (told({"chief": ["a:1"], "worker": ["b:2", "a:1"]}), "a:1 comes twice"),
        (told({"worker": [1, 2]}), "an address must be a text host:port with a port in 1..65535, got 1"),
        (told({"worker": ["a:1", None]}), "got None"),
        (told({"worker": ["a:1", "b"]}), "got 'b'"),
        (told({"worker": ["a:1", "b:"]}), "got 'b:'"),
        (told({"worker": ["a:1", ":2"]}), "got ':2'"),
        (told({"worker": ["a:1", "b:0"]}), "got 'b:0'"),
        (told({"worker": ["a:1", "b:99999"]}), "got 'b:99999'"),
        (told({"worker": ["a:1", "b:port"]}), "got 'b:port'"),
        (told({"worker": ["a:1", "::1:2"]}), "got '::1:2'"),
        (told({"worker": ["a:1", "http://b:2"]}), "got 'http://b:2'"),
    ],
)
def test_a_cluster_that_is_not_understood_is_refused(text, why, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError) as raised:
        connect()
    assert re.fullmatch(
        rf"`TF_CONFIG` must name all workers and this one, such as .*; got .* \(.*{re.escape(why)}.*\)\.", str(raised.value)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (told({"worker": ["a:1", "b:65535"]}, index="1"), (["a:1", "b:65535"], 1)),
        (told({"worker": ["b:2"], "chief": ["[::1]:1"]}), (["[::1]:1", "b:2"], 1)),
        (told({"worker": ["b:2"], "chief": ["a-1.x:1"]}, "chief"), (["a-1.x:1", "b:2"], 0)),
    ],
)
def test_the_chief_comes_first(text, expected):
    assert _told(text) == expected


def train(folder, *more, cluster=None):
    """Start a training of a small model in a process of its own."""
    command = [sys.executable, "-m", "vae_tf", "train", "digits", "--run", str(folder), *(f"--set={s}" for s in SETS), "--resume", *more]
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"} | ({} if cluster is None else {"TF_CONFIG": json.dumps(cluster)})
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def addresses():
    """Two that are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def pair(folder, *more, apart=((), ())):
    """Start two workers, with options for both and for each."""
    workers = addresses()
    told = ({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(2))
    return [train(folder, *more, *own, cluster=cluster) for cluster, own in zip(told, apart)]


def ended(process, timeout=300):
    """Wait, and return the exit code and what was said."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out + err


def until(processes, condition):
    """Wait for a condition, and fail if a process ends before."""
    while not condition():
        for process in processes:
            assert process.poll() is None, ended(process)
        time.sleep(0.001)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process, this one."""
    return training.train(preset("digits").override(SETS), tmp_path_factory.mktemp("alone") / "run", verbose=0)


def check_same(folder, alone):
    assert len(rows(folder)) == EPOCHS
    for found, expected in zip(rows(folder), rows(alone.folder)):
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4)
    for found, expected in zip(load(folder).vae.trainable_variables, alone.vae.trainable_variables):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one(alone, tmp_path):
    results = [ended(process) for process in pair(tmp_path / "run")]
    assert [code for code, _ in results] == [0, 0], results
    assert "worker 0 of 2, 2 devices in all" in results[0][1]
    assert "epoch 1/" not in results[1][1], "one of them tells"
    check_same(tmp_path / "run", alone)


@pytest.mark.kills
def test_two_devices_give_the_numbers_of_one(alone, tmp_path):
    code, said = ended(train(tmp_path / "run", "--devices", "2"))
    assert code == 0, said
    assert "2 devices" in said
    check_same(tmp_path / "run", alone)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The run of two workers that nobody disturbed."""
    folder = tmp_path_factory.mktemp("together") / "run"
    results = [ended(process) for process in pair(folder)]
    assert [code for code, _ in results] == [0, 0], results
    return folder


def at_the_start(folder):
    return (folder / "config.yaml").exists()


def within_an_epoch(folder):
    return any((folder / "checkpoints").glob("epoch-2-step-*"))


def in_a_write(folder):
    return within_an_epoch(folder) and (folder / "checkpoints" / ".unfinished").exists()


@pytest.mark.kills
@pytest.mark.parametrize(
    ("number", "target", "moment", "codes"),
    [
        (signal.SIGKILL, 0, at_the_start, (-9, 75)),
        (signal.SIGKILL, 0, in_a_write, (-9, 75)),
        (signal.SIGKILL, 1, within_an_epoch, (75, -9)),
        (signal.SIGTERM, 0, within_an_epoch, (75, 75)),
        (signal.SIGTERM, 1, within_an_epoch, (75, 75)),
        (signal.SIGINT, 1, within_an_epoch, (75, 130)),
    ],
)
def test_two_workers_of_which_one_is_stopped_end_and_resume_to_the_numbers_of_undisturbed_ones(
    together, tmp_path, number, target, moment, codes
):
    folder = tmp_path / "run"
    processes = pair(folder, "--checkpoint-steps", "1")
    until(processes, lambda: moment(folder))
    processes[target].send_signal(number)
    results = [ended(process, 60) for process in processes]
    assert tuple(code for code, _ in results) == codes, results
    said = results[1 - target][1]
    if number == signal.SIGKILL:
        assert f"worker {1 - target} ends, as another (worker {target}) has ended or can not be reached" in said
        assert "start all again with the same command and --resume" in said
    else:
        assert "stopped as another worker was after step" in said
        before = {path.name for path in (folder / "checkpoints").iterdir()}
        assert any("step" in name for name in before)
    results = [ended(process) for process in pair(folder, "--checkpoint-steps", "2")]
    assert [code for code, _ in results] == [0, 0], results
    assert rows(folder) == rows(together)
    assert same_weights(load(folder), load(together))


@pytest.mark.kills
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((("--set", "training.epochs=9"), ()), "the configuration must be the same on all workers, and worker 1 differs from worker 0"),
        ((("--run", "ELSEWHERE"), ()), "worker 1 can not see the `"),
        (((), ("--set", "data.source=npz:/none.npz")), "worker 1 can not begin, for a reason of which the output there tells"),
    ],
)
def test_workers_that_do_not_fit_together_are_refused(options, told, tmp_path):
    options = [[str(tmp_path / "else") if word == "ELSEWHERE" else word for word in words] for words in options]
    results = [ended(process) for process in pair(tmp_path / "run", apart=options)]
    assert [code for code, _ in results] == [2, 2], results
    assert told in results[0][1]


@pytest.mark.kills
@pytest.mark.parametrize("setting", ["training.learning_rate=1e30", "training.patience=1"])
def test_what_one_worker_decides_all_decide(setting, tmp_path):
    """A loss that is no number stops all; so does a patience that is exhausted."""
    stops = "patience" in setting
    more = [*("--set", setting), *(("--set", "training.epochs=30", "--set", "objective.warmup_epochs=0") if stops else ())]
    results = [ended(process) for process in pair(tmp_path / "run", *more)]
    assert [code for code, _ in results] == ([0, 0] if stops else [2, 2]), results
    assert ("the best of" if stops else "the training diverged") in results[0][1]


@pytest.mark.slow
def test_a_worker_that_waits_for_others_can_be_stopped(tmp_path):
    process = train(tmp_path / "run", cluster={"cluster": {"worker": addresses()}, "task": {"type": "worker", "index": 1}})
    for line in process.stderr:
        if "waiting for" in line:
            break
    process.send_signal(signal.SIGTERM)
    code, said = ended(process, 60)
    assert code == os.EX_TEMPFAIL, said


@pytest.mark.slow
def test_a_worker_of_a_complete_run_waits_for_nobody(alone, tmp_path):
    told = {"cluster": {"worker": addresses()}, "task": {"type": "worker", "index": 1}}
    code, said = ended(train(alone.folder, cluster=told))
    assert code == 0, said
    assert f"trained {alone.folder}" in said
