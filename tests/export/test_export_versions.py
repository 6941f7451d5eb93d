"""Names and versions: where an export may appear, and under which number."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export import TargetError, export
from export.artifact import check_target, next_version, publish, unfinished


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "a\\b", "a..b", ".hidden", "-x", "a b", "na\u00efve", "a\n"])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(TargetError, match="`name` must start with a letter or digit"):
        check_target(tmp_path, name, None)
    assert not list(tmp_path.iterdir())


def test_a_version_that_exists_is_refused_and_untouched(run_folder: Path, exported: Path):
    before = (exported / "manifest.json").read_bytes()
    with pytest.raises(TargetError, match="`version` 1 of digits exists already, and a version never changes"):
        export(run_folder, exported.parent.parent, "digits", version=1)
    assert (exported / "manifest.json").read_bytes() == before


def test_a_file_in_the_way_is_refused(tmp_path: Path):
    (tmp_path / "digits").write_text("not a folder")
    with pytest.raises(TargetError, match="is no folder"):
        check_target(tmp_path, "digits", None)


def put(folder: Path, number: int) -> None:
    (folder / "version.txt").write_text(str(number))


def test_the_next_version_follows_the_largest(tmp_path: Path):
    for name in ("2", "10", "notes", ".tmp-123"):
        (tmp_path / name).mkdir()
    with unfinished(tmp_path) as temporary:
        assert publish(temporary, tmp_path, None, put) == tmp_path / "11"
    assert everything(tmp_path) == [".tmp-123", "10", "11", "11/version.txt", "2", "notes"]


@pytest.mark.parametrize("largest", [2**63 - 1, 10**20])
def test_no_version_follows_the_largest_that_can_be_served(tmp_path: Path, largest: int):
    (tmp_path / str(largest)).mkdir()
    with pytest.raises(TargetError, match=f"`version` must lie between 1 and {2**63 - 1}, and {largest} exists"):
        next_version(tmp_path)


def test_exports_at_once_get_numbers_of_their_own(tmp_path: Path):
    def one(_: int) -> Path:
        with unfinished(tmp_path / "digits") as temporary:
            return publish(temporary, tmp_path / "digits", None, put)

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(one, range(8)))
    assert sorted(int(folder.name) for folder in folders) == list(range(1, 9))
    assert all((folder / "version.txt").read_text() == folder.name for folder in folders)


def test_a_number_taken_in_the_meantime_is_not_overwritten(tmp_path: Path):
    def slow(folder: Path, number: int) -> None:
        put(folder, number)
        (tmp_path / "5").mkdir()
        (tmp_path / "5" / "first.txt").write_text("was first")

    with pytest.raises(TargetError, match=r"`version` 5 of .* exists already"), unfinished(tmp_path) as temporary:
        publish(temporary, tmp_path, 5, slow)
    assert everything(tmp_path) == ["5", "5/first.txt"]
