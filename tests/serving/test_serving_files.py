"""Files appear whole, and only in the place of files."""

import os
from pathlib import Path

import pytest

from serving.errors import InvalidArgumentError
from serving.files import write_whole


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    for target in (tmp_path / "elsewhere" / "old", tmp_path / "elsewhere" / "new"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_whole(link, b"content")
        assert link.is_symlink()
        assert target.read_bytes() == b"content"
        write_whole(link, b"replaced")
        assert target.read_bytes() == b"replaced"


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, loop])
def test_what_is_no_regular_file_is_left_alone(tmp_path, make):
    place = tmp_path / "place"
    make(place)
    before = place.lstat()
    with pytest.raises(InvalidArgumentError) as raised:
        write_whole(place, b"content")
    assert raised.value.message == f"cannot write {place}: what is there is no regular file"
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [place]
