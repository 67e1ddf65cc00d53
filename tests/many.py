"""Trials by the thousand: commits as the pipeline makes them, each with values and outputs of its own, without a fit."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

from tests.conftest import Repo

_VARIED = {"reports/plots": "importance.csv", "models/model": "manifest.json"}  # a file of each folder


def experiments(ran: Repo, count: int) -> list[str]:
    """Give a repository in which the pipeline ran `count` DVC experiments, and return their names."""
    head = ran.git("rev-parse", "HEAD")
    names = [f"exp-{number:05}" for number in range(count)]
    stream = []
    for number, name in enumerate(names):
        files = _files(ran, number)
        stream.append(
            f"commit refs/exps/{head[:2]}/{head[2:]}/{name}\ncommitter Test <t@example.org> {1790000000 + number} +0000\n"
            f"data 3\nrun\nfrom {head}\n"
        )
        stream += [f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in files.items()]
    subprocess.run(
        ["git", "fast-import", "--quiet"], input="".join(stream), cwd=ran.path, env=ran.env, text=True, check=True
    )
    return names


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
