"""Files and folders are there whole or not at all, and on the disk where that is asked for."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import files

LEFT = ".a.json.k3j2.partial"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_one_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"é": 1})
    other = tmp_path / "cache"
    path.chmod(0o444)
    other.hardlink_to(path)
    files.write_json(path, [None])
    assert (path.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")) == (
        "[\n  null\n]\n",
        '{\n  "é": 1\n}\n',
    )
    assert names(path.parent) == ["a.json"]


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "a.csv", ["x"], [[1], ["a,b"]])
    with pytest.raises(ValueError, match="Out of range float values"):
        files.write_json(tmp_path / "a.csv", float("nan"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path / "folder", b"")
    assert names(tmp_path) == ["a.csv", "folder"]
    assert (tmp_path / "a.csv").read_bytes() == b'x\n1\n"a,b"\n'


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(kind: str, tmp_path: Path) -> None:
    left = tmp_path / LEFT
    if kind == "folder":
        (left / "some").mkdir(parents=True)
    lock = tmp_path / ".a.json.k3j2.lock.partial" if kind == "folder" else left
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        files.write_json(tmp_path / "a.json", 1)
        assert names(tmp_path) == sorted({left.name, lock.name, "a.json"})
    files.write_json(tmp_path / "b.json", 1)
    assert names(tmp_path) == sorted({left.name, lock.name, "a.json", "b.json"})
    files.write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == ["a.json", "b.json"]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with files.replacing_folder(tmp_path / "made") as folder:
            files.put(folder / name, b"whole")
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["other"]


@pytest.mark.parametrize("given", ["0", "1", None])
def test_the_same_is_written_whether_the_disk_is_waited_for_or_not(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("TRIALTREE_SYNC", given)
    files.write_json(tmp_path / "a.json", 1)
    with files.replacing(tmp_path / "b.json") as partial:
        partial.write_text("2", encoding="utf-8")
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"1\n", b"2"]


def test_another_word_for_it_is_refused(in_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = in_folder()
    monkeypatch.setenv("TRIALTREE_SYNC", "no")
    with pytest.raises(files.SyncError, match=r"^TRIALTREE_SYNC: must be 0 or 1, got 'no'$"):
        files.write_json(Path("a.json"), 1)
    assert not list(folder.glob("*a.json*"))
