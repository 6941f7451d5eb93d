"""Claims about how workers meet before TensorFlow is asked to: in any order, for a limited time, and with an ear for signals."""

import json
import os
import signal
import socket
import threading
import time

import pytest

from vae_tf.cluster import connect
from vae_tf.errors import LostWorker, PreemptedRun
from vae_tf.rendezvous import meet


@pytest.fixture
def addresses():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}", "second:1", "third:1"]


def came(addresses, delays, within_s=20):
    """What each worker got that came so many seconds late: when it went on, or an error."""
    found = {}

    def one(index, delay_s):
        time.sleep(delay_s)
        try:
            meet(addresses, index, within_s)
            found[index] = time.monotonic()
        except LostWorker as error:
            found[index] = str(error)

    threads = [threading.Thread(target=one, args=case) for case in delays.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("delays", [{0: 0, 1: 0.2, 2: 0.4}, {0: 0.4, 1: 0, 2: 0.2}])
def test_workers_that_come_in_any_order_go_on_when_all_are_there(addresses, delays):
    begun = time.monotonic()
    found = came(addresses, delays)
    assert set(found) == {0, 1, 2}
    assert all(when >= begun + 0.4 for when in found.values())


def test_whoever_is_missing_is_named(addresses):
    found = came(addresses, {0: 0, 1: 0.5}, within_s=1.2)
    assert found[0] == "worker 0 waited 0.02 minutes for third:1; start all workers, then it goes on."
    assert found[1] == f"worker 1 waited 0.02 minutes for {addresses[0]}; start all workers, then it goes on."


def test_one_that_came_and_has_ended_is_waited_for_again(addresses):
    def come_and_go():
        port = int(addresses[0].rpartition(":")[2])
        for said in (b"1", b"GET / HTTP/1.0\r\n\r\n"):
            for _ in range(150):
                try:
                    with socket.create_connection(("127.0.0.1", port)) as one:
                        one.sendall(said)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.01)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    found = came(addresses, {0: 0, 2: 0.5}, within_s=1.8)
    thread.join()
    assert found[0] == "worker 0 waited 0.03 minutes for second:1; start all workers, then it goes on."


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, PreemptedRun), (signal.SIGINT, KeyboardInterrupt)])
def test_a_worker_that_waits_for_others_can_be_stopped(addresses, index, number, error):
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    with pytest.raises(error):
        meet(addresses, index, 20)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_others_are_waited_for_as_long_as_was_said(addresses, monkeypatch):
    told = {"cluster": {"chief": addresses[:1], "worker": addresses[1:]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(told))
    with pytest.raises(LostWorker, match=f"^worker 1 waited 0.01 minutes for {addresses[0]}; start all workers"):
        connect(minutes=0.01)
