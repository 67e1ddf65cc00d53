"""Trials by the thousand: commits as the pipeline makes them, with values and outputs of their own, without a fit."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.conftest import Repo

_VARIED = {"reports/plots": "importance.csv", "models/model": "manifest.json"}  # a file of each folder


def experiments(ran: Repo, count: int) -> list[str]:
    """Give a repository in which the pipeline ran `count` DVC experiments, and return their names."""
    names = [f"exp-{number:05}" for number in range(count)]
    _make(ran, dict.fromkeys(names, "run"))
    return names


def sweep(ran: Repo, sweep: str, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Make the experiments of these numbers of a sweep, and return the name and the commit of each."""
    names = {number: f"{sweep}-{number:04}" for number in numbers}
    message = "dvc: commit experiment {0:064}\n\nTrial-Sweep: {1}\nTrial-Number: {0}\n"
    _make(ran, {name: message.format(number, sweep) for number, name in names.items()}, [*names])
    said = ran.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=4)", "refs/exps")
    commits = {name: commit for commit, name in (line.split() for line in said.splitlines())}
    return {number: (name, commits[name]) for number, name in names.items()}


def _make(ran: Repo, messages: Mapping[str, str], numbers: Sequence[int] = ()) -> None:
    """Make experiments with these messages, by name."""
    head = ran.git("rev-parse", "HEAD")
    stream = []
    for number, (name, message) in zip(numbers or range(len(messages)), messages.items(), strict=True):
        files = _files(ran, number)
        stream.append(
            f"commit refs/exps/{head[:2]}/{head[2:]}/{name}\n"
            f"committer Test <t@example.org> {1790000000 + number} +0000\ndata {len(message)}\n{message}\nfrom {head}\n"
        )
        stream += [f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in files.items()]
    subprocess.run(
        ["git", "fast-import", "--quiet"], input="".join(stream), cwd=ran.path, env=ran.env, text=True, check=True
    )


def _files(ran: Repo, number: int) -> dict[str, str]:
    """Return the files of a trial that Git holds, after putting its outputs into DVC's cache."""
    params = (ran.path / "params.yaml").read_text(encoding="utf-8").replace("C: 1.0\n", f"C: {number + 2}.5\n")
    metrics = json.loads((ran.path / "reports/metrics.json").read_text(encoding="utf-8"))
    metrics["test"]["accuracy"] = number / 100_000
    scores = json.dumps(metrics, indent=2) + "\n"
    changed = {"reports/metrics.json": _md5(scores.encode())}
    changed |= {folder: _varied(ran, folder, name, number) for folder, name in _VARIED.items()}
    lock = (ran.path / "dvc.lock").read_text(encoding="utf-8").replace("C: 1.0\n", f"C: {number + 2}.5\n")
    for path, md5 in changed.items():
        lock = re.sub(rf"(- path: {path}\n(?: .*\n)*?.* md5: )\S+", rf"\g<1>{md5}", lock)
    return {"params.yaml": params, "reports/metrics.json": scores, "dvc.lock": lock}


def _varied(ran: Repo, folder: str, name: str, number: int) -> str:
    """Put a folder with one other file into the cache, and return its hash."""
    listed = [
        {"md5": _md5(path.read_bytes()), "relpath": path.relative_to(ran.path / folder).as_posix()}
        for path in sorted((ran.path / folder).rglob("*")) if path.is_file()
    ]  # fmt: skip
    content = (ran.path / folder / name).read_bytes() + b" " * number
    for entry in listed:
        if entry["relpath"] == name:
            entry["md5"] = _kept(ran, content, "")
    return _kept(ran, json.dumps(listed).encode(), ".dir")


def _kept(ran: Repo, content: bytes, suffix: str) -> str:
    """Put an object into the cache, and return its hash."""
    md5 = _md5(content) + suffix
    place: Path = ran.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return md5


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
