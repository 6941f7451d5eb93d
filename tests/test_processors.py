"""Claims about the processors that a process may keep busy."""

import os
import subprocess
import sys

import pytest

from vae_tf import processors


@pytest.mark.parametrize(
    ("line", "folder", "names"), [("0::", "", ["cpu.max"]), ("4:cpu,cpuacct:", "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"])]
)
@pytest.mark.parametrize("where", ["", "job", "job/step"])
def test_a_container_has_its_share_of_the_processors(tmp_path, monkeypatch, line, folder, names, where):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    own, place = tmp_path / "own", tmp_path / folder / where
    own.write_text(f"9:memory:/\n{line}/job/step\n")
    place.mkdir(parents=True, exist_ok=True)
    assert processors.available(tmp_path, own) == processors.available(tmp_path, tmp_path / "none") == 8
    for quota, count in (("300000", 3), ("250000", 3), ("10000", 1), ("1600000", 8), ("max", 8), ("-1", 8)):
        words = [quota, "100000"]
        for name, told in zip(names, [words] if len(names) == 1 else [[word] for word in words]):
            (place / name).write_text(" ".join(told) + "\n")
        assert processors.available(tmp_path, own) == count


@pytest.mark.parametrize(("set_by_user", "expected"), [({}, "3"), ({"TF_NUM_INTRAOP_THREADS": "5"}, "0")])
def test_commands_take_as_many_threads_unless_the_user_says_otherwise(set_by_user, expected):
    code = """
import vae_tf.startup as startup
startup.available = lambda: 3
startup.start_tensorflow()
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
"""
    environment = {name: value for name, value in os.environ.items() if name != processors.THREADS} | set_by_user
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
