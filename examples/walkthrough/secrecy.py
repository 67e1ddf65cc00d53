"""Look for credentials wherever the walk-through has left something."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from examples.walkthrough.machines import WalkError


def search(folder: Path, output: str, store: str, endpoint: str) -> str:
    """Search files, Git objects, the bucket and the output for the credentials in use; return what was searched.

    Raises:
        WalkError: something holds one; the message names it, not the credential.
    """
    import boto3

    used = boto3.Session().get_credentials()
    hidden = [text.encode() for text in (used.secret_key, used.token) if text]
    found = {"files": _files(folder), "Git objects": _git(folder), "objects in the bucket": _bucket(store, endpoint)}
    searched = []
    for kind, contents in found.items():
        count = 0
        for name, content in contents:
            if any(text in content for text in hidden):
                raise WalkError(f"{name} holds a credential")
            count += 1
        searched.append(f"{count} {kind}")
    if any(text in output.encode() for text in hidden):
        raise WalkError("the output holds a credential")
    return f"the credentials are in none of {', '.join(searched)}, and not in what is printed above"


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all files: working trees, homes, caches, Git's and DVC's configurations, MLflow's store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def _git(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the objects of all Git repositories, unpacked."""
    for head in sorted(folder.rglob("HEAD")):
        if (head.parent / "objects").is_dir():
            git = ["git", "-C", str(head.parent), "cat-file", "--batch-all-objects"]
            listed = subprocess.run([*git, "--batch-check"], capture_output=True, check=True).stdout.decode()
            packed = subprocess.run([*git, "--batch"], capture_output=True, check=True).stdout
            at = 0
            for line in listed.splitlines():
                name, _, size = line.split()
                start = at + len(line) + 1
                at = start + int(size) + 1
                yield f"the Git object {name} of {head.parent}", packed[start : at - 1]


def _bucket(store: str, endpoint: str) -> Iterator[tuple[str, bytes]]:
    """Yield all objects below an address."""
    import boto3

    bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(urlsplit(store).netloc)
    for item in bucket.objects.filter(Prefix=urlsplit(store).path.lstrip("/")):
        yield f"s3://{bucket.name}/{item.key}", item.get()["Body"].read()
