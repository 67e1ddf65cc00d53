"""Which `dvc repro` or `dvc exp run` a stage runs in, told by its process, and where its logs are kept.

Only files are read, of Git and of the system: no process is started for it.
"""

import os
import re
import shutil
import time
import zlib
from pathlib import Path

LOGS = Path(".dvc/tmp/trialtree/logs")
KEPT = 1000  # invocations of which logs are kept; the oldest go
FORM = re.compile(r"\d+-\d+-\d+-[0-9a-f]{8}")  # of a folder's name, see `folder`
_PROCESSES = Path("/proc")  # Linux; elsewhere a process is told by its number alone


def place(folder: Path) -> Path | None:
    """Return where logs are kept for a folder: in the main working tree of its repository; None without DVC around."""
    # In a temporary folder of `dvc exp run`, DVC_ROOT is the repository that the experiment goes to.
    if {"DVC_ROOT", "DVC_EXP_NAME"} <= os.environ.keys():
        folder = Path(os.environ["DVC_ROOT"])
    top, _, _ = repository(folder)
    own = next((parent for parent in (folder, *folder.parents) if (parent / ".dvc").is_dir()), None)
    found = top if top is not None and (top / ".dvc").is_dir() else own
    return None if found is None else found / LOGS


def repository(folder: Path) -> tuple[Path | None, Path | None, Path | None]:
    """Return the top of a repository's main working tree, the Git folder of the tree here, and the one all share.

    None, three times, outside of a repository.
    """
    for parent in (folder, *folder.parents):
        own = parent / ".git"
        if own.is_file():  # a worktree or a submodule
            own = parent / own.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
        if (own / "HEAD").is_file():
            if not (own / "commondir").is_file():
                return parent, own, own
            shared = (own / (own / "commondir").read_text(encoding="utf-8").strip()).resolve()
            return (shared.parent if shared.name == ".git" else shared), own, shared
    return None, None, None


def head(folder: Path) -> tuple[str | None, str | None]:
    """Return the commit and the branch that are checked out, each None where there is none."""
    _, own, shared = repository(folder)
    if own is None or shared is None:
        return None, None
    said = (own / "HEAD").read_text(encoding="utf-8").strip()
    if not said.startswith("ref: "):
        return said, None
    name = said.removeprefix("ref: ")
    if (shared / name).is_file():
        commit = (shared / name).read_text(encoding="utf-8").strip()
    else:
        packed = (shared / "packed-refs").read_bytes() if (shared / "packed-refs").is_file() else b""
        at = packed.find(f" {name}\n".encode())
        commit = packed[max(at - 40, 0) : at].decode() if at > 0 else ""
    return commit or None, name.removeprefix("refs/heads/")


def machine() -> str:
    """Return what tells this machine, since it was started, and this container on it; empty where nothing does."""
    try:
        boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot} {(_PROCESSES / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def process(pid: int) -> tuple[str, int] | None:
    """Return when a living process was started, in the system's ticks, and its parent; None for one that has ended."""
    if not (_PROCESSES / "self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass  # another user's
        return "0", 1
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (fields[19].decode(), int(fields[1]))


def invoker() -> int:
    """Return the process of DVC that runs this stage; this process itself where DVC does not."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return os.getpid()
    pid = os.getppid()
    # Between the two stand shells and whatever wraps Python: they have the stage's environment, DVC has not.
    while (known := process(pid)) and known[1] > 1 and f"\0DVC_STAGE={stage}\0".encode() in _environment(pid):
        pid = known[1]
    return pid


def _environment(pid: int) -> bytes:
    try:
        return b"\0" + (_PROCESSES / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def folder(logs: Path, of: Path, experiment: str | None, taken: str) -> Path:
    """Return the folder of this invocation's trial, made where it is not there or has a file `taken` already.

    Its name is when it was made, in milliseconds, the process and its start,
    and a digest of the working folder and the experiment.
    """
    pid = invoker()
    known = process(pid)
    end = f"-{pid}-{known[0] if known else 0}-{zlib.crc32(f'{of} {experiment}'.encode(errors='replace')):08x}"
    logs.mkdir(parents=True, exist_ok=True)
    names = sorted(os.listdir(logs))  # noqa: PTH208  # twice as quick, among a thousand
    mine = [name for name in names if name.endswith(end)]
    if mine and not (logs / mine[-1] / taken).exists():
        return logs / mine[-1]
    _remove(logs, names)
    made = int(time.time() * 1000)
    while True:
        try:
            (logs / f"{made:013d}{end}").mkdir()
            return logs / f"{made:013d}{end}"
        except FileExistsError:
            made += 1


def over(name: str) -> bool:
    """Say whether the process of an invocation's folder has ended, as seen from the machine that it ran on."""
    _, pid, start, _ = name.split("-")
    known = process(int(pid))
    return known is None or known[0] != start


def _remove(logs: Path, names: list[str]) -> None:
    """Remove the oldest invocations beyond those that are kept, of processes that have ended."""
    for name in names[: max(len(names) + 1 - KEPT, 0)]:
        if FORM.fullmatch(name) and over(name):
            shutil.rmtree(logs / name, ignore_errors=True)
