"""Claims about the memory that is free, and what is held in it."""

import numpy as np
import pytest

from vae_tf import data, memory
from vae_tf.config import DataConfig

GREYS = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)


def test_the_splits_of_a_set_must_fit_in_memory_together(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x_train=GREYS, x_test=GREYS)
    for copies in (5, 7):
        monkeypatch.setattr(data, "free_bytes", lambda copies=copies: copies * GREYS.nbytes)
        assert data.load(DataConfig(f"npz:{tmp_path}/a.npz"), 0).in_memory == (copies > 6)


V2, V1 = ("memory.max", "memory.current", "inactive_file"), ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.mark.parametrize(("controller", "names"), [("", V2), ("memory", V1)])
@pytest.mark.parametrize("where", ["", "job", "job/step"])
def test_free_memory_is_what_the_container_leaves(tmp_path, controller, names, where):
    own, (limit, use, cached), machine = tmp_path / "own", names, memory.free_bytes(tmp_path, tmp_path / "none")
    own.write_text(f"9:cpu:/\n4:{controller}:/job/step\n")
    folder = tmp_path / controller / where
    folder.mkdir(parents=True, exist_ok=True)
    assert machine > 2**20
    for told, free in (("1000", 450), ("600", 50), ("500", 0)):
        for name, value in ((limit, told), (use, "700"), ("memory.stat", f"anon 300\n{cached} 150")):
            (folder / name).write_text(f"{value}\n")
        assert memory.free_bytes(tmp_path, own) == free
    for unlimited in ("max", str(2**63)):
        (folder / limit).write_text(f"{unlimited}\n")
        assert memory.free_bytes(tmp_path, own) > 2**20
