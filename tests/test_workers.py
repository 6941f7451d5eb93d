"""Claims about workers, played by threads: they begin together or not at all, and signals find them where they wait."""

import os
import signal
import tempfile
import threading
import time

import pytest
import tensorflow as tf
from trainings import config, rows, same_weights, train_with

from vae_tf import deputy as module
from vae_tf import workplace as places
from vae_tf.checkpoints import Keeper
from vae_tf.cluster import Cluster
from vae_tf.deputy import deputy, stopping_at_once
from vae_tf.errors import ConfigError, RunError
from vae_tf.interruption import Signals
from vae_tf.train import train
from vae_tf.workplace import program, workplace


@pytest.fixture
def several(monkeypatch):
    """Run a function as several workers, each in a thread; returns what each returned or raised."""

    def run(work, count=3):
        rows, meet = {}, threading.Barrier(count, timeout=20)

        def gather(cluster, *values):
            rows[cluster.index] = values
            meet.wait()
            found = [tuple(map(int, rows[index])) for index in range(count)]
            meet.wait()
            return found

        monkeypatch.setattr(Cluster, "gather", gather)
        results = [None] * count

        def one(index):
            try:
                results[index] = work(Cluster(tf.distribute.get_strategy(), count, index))
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run


def test_what_fails_in_one_worker_ends_all_before_they_wait_for_it(several):
    def work(cluster):
        with cluster.together() as same:
            same["the data"] = 1
            if cluster.index == 1:
                raise FileNotFoundError("no such file")

    first, second, third = several(work)
    assert isinstance(second, FileNotFoundError)
    for index, error in ((0, first), (2, third)):
        assert isinstance(error, RunError)
        assert str(error) == f"worker 1 can not begin, for a reason of which the output there tells; so worker {index} ends."


def test_a_tracker_that_the_chief_does_not_have_ends_all(several, tmp_path):
    first, second = several(lambda cluster: train(config(), tmp_path / "run", trackers=["none"], cluster=cluster), 2)
    assert isinstance(first, ConfigError)
    assert "`trackers` 'none' does not exist" in str(first)
    assert str(second).startswith("worker 0 can not begin, ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("different", "told"), [({2}, "worker 2 differs from"), ({1, 2}, "workers 1 and 2 differ from")])
def test_workers_with_something_else_are_named_on_all(several, different, told):
    def work(cluster):
        with cluster.together() as same:
            same |= {"the program": "a", "the configuration": config(), "the data": "d" * (1 + (cluster.index in different))}

    for index, error in enumerate(several(work)):
        assert isinstance(error, RunError)
        assert str(error).startswith(f"the data must be the same on all workers, and {told} worker 0 (this is worker {index}); ")


def test_equal_workers_go_on(several):
    def work(cluster):
        with cluster.together() as same:
            same |= {"the program": program(), "the configuration": config()}
        cluster.agree(7, "runs")
        return cluster.any(cluster.index == 1), cluster.any(False)

    assert several(work) == [(True, False)] * 3


def test_workers_at_different_steps_are_refused(several):
    for error in several(lambda cluster: cluster.agree(4 if cluster.index else 5, "runs/x"), 2):
        assert isinstance(error, RunError)
        assert str(error).startswith("the workers do not begin at one step (0 at 5, 1 at 4): `runs/x` must be one folder that all")


def test_the_chief_writes_the_folder_and_the_others_a_copy(several, tmp_path):
    folder = tmp_path / "run"

    def work(cluster):
        with workplace(cluster, folder, lambda: (folder / "config.yaml").write_text("x")) as place:
            (place / "mine").write_text(str(cluster.index))
            return place, (place / "config.yaml").read_text()

    places = several(work)
    assert places[0] == (folder, "x")
    assert all(place != folder and text == "x" and not place.exists() for place, text in places[1:])
    assert (folder / "mine").read_text() == "0"
    assert {path.name for path in folder.glob(".*")} == {".lock"}


def test_workers_that_see_another_folder_are_named_on_all(several, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_LATE_S", 0.2)

    def work(cluster):
        folder = tmp_path / f"disk{cluster.index % 2}"
        folder.mkdir(exist_ok=True)
        with workplace(cluster, folder, lambda: None):
            pytest.fail("it went on")

    for index, error in enumerate(several(work)):
        assert isinstance(error, RunError)
        assert (
            str(error) == f"worker 1 can not see the `{tmp_path}/disk{index % 2}` of worker 0: it must be one folder that all of them see."
        )
    assert {path.name for path in (tmp_path / "disk0").iterdir()} == {".lock"}


NO_ROOM = "this worker can not keep its copy of the run in the temporary folder `{}` ({}); make room there, or name another by $TMPDIR, "


@pytest.mark.parametrize("several_files", [False, True])
def test_a_worker_without_room_for_its_copy_names_the_temporary_folder(several, tmp_path, monkeypatch, several_files):
    full = OSError(28, "No space left on device")

    def fail(*_, **options):
        raise places.shutil.Error([("from", "to", str(full))]) if several_files else full

    monkeypatch.setattr(places.shutil, "copytree", fail)

    def work(cluster):
        with workplace(cluster, tmp_path / "run", lambda: None):
            pytest.fail("it went on")

    first, second = several(work, 2)
    assert isinstance(second, RunError)
    assert str(second).startswith(NO_ROOM.format(tempfile.gettempdir(), full))
    assert str(first).startswith("worker 1 can not begin, ")


def test_a_worker_without_room_for_a_checkpoint_names_the_temporary_folder(tmp_path, monkeypatch):
    full, make = OSError(28, "No space left on device"), Keeper.__init__
    monkeypatch.setattr("vae_tf.checkpoints.sync", lambda *paths: (_ for _ in ()).throw(full))
    monkeypatch.setattr(Keeper, "__init__", lambda self, *arguments: make(self, *arguments[:-1], True))
    with pytest.raises(RunError) as raised:
        train(config(), tmp_path / "run", verbose=0)
    assert str(raised.value).startswith(NO_ROOM.format(tempfile.gettempdir(), full))


def test_all_write_a_checkpoint_when_it_is_time_in_one_of_them(tmp_path, monkeypatch):
    """Whoever has the faster clock: what a checkpoint holds is spread over the workers."""
    asked = []
    monkeypatch.setattr(Cluster, "any", lambda cluster, here: asked.append(here) or len(asked) == 2)
    saved = []
    save = Keeper.save
    monkeypatch.setattr(Keeper, "save", lambda keeper: saved.append(keeper.now) or save(keeper))
    with pytest.raises(RunError, match="as another worker was"):
        train(config(), tmp_path / "run", verbose=0)
    assert asked[:2] == [False, False]
    assert [tuple(position) for position in saved] == [(0, 0), (0, 1)]


def test_the_deputy_hears_while_the_main_thread_does_not():
    heard = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with deputy(lambda number: heard.set() if number == signal.SIGTERM else None):
            threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
            assert heard.wait(20)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, ("by SIGTERM", 75)), (signal.SIGINT, ("by the user", 130))])
def test_before_the_training_a_signal_ends_the_process_at_once(number, left, monkeypatch, capfd):
    codes = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    with stopping_at_once():
        os.kill(os.getpid(), number)
        while not codes:
            time.sleep(0.01)
    assert codes == [left[1]]
    assert capfd.readouterr().err == f"stopped {left[0]} before the training began; the same command with --resume begins it.\n"


def test_a_step_that_does_not_end_is_left_after_a_signal(monkeypatch, capfd):
    codes = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    with Signals(0.05) as signals:
        signals._insist(signal.SIGTERM)  # the handler is not called, as in a step of TensorFlow
        assert codes == [75]
        assert "stopped by SIGTERM in a step that did not end in 0.05 seconds; go on" in capfd.readouterr().err
        signals._receive(signal.SIGTERM, None)
        signals._insist(signal.SIGTERM)
        assert codes == [75], "the handler was called: the training answers"
        signals._received = None


def test_as_many_workers_or_fewer_go_on_from_a_checkpoint(tmp_path):
    """What several replicas keep beside a checkpoint is passed over by one."""
    from trainings import At, stop

    from vae_tf import train as training
    from vae_tf.replicas import RunningMetrics

    whole = train(config(), tmp_path / "whole", verbose=0)
    folder = tmp_path / "run"
    make = Keeper.__init__
    with pytest.MonkeyPatch.context() as patch:
        cluster = Cluster.alone()
        patch.setattr(
            Keeper, "__init__", lambda self, vae, *a: make(self, vae, *a[:3], [*a[3], RunningMetrics(vae.metrics, cluster)], *a[4:])
        )
        with pytest.raises(RunError):
            train_with([At(6, stop)], config(), folder, checkpoint_steps=1)
    assert training.train is train
    resumed = train(config(), folder, resume=True, verbose=0)
    assert rows(folder) == rows(whole.folder)
    assert same_weights(resumed, whole)
