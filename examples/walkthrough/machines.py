"""Machines that share a Git remote, a bucket and an MLflow server, and nothing else: each a folder, with its own user,
home and caches."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from examples.walkthrough.page import Step


class WalkError(Exception):
    """The walk-through cannot go on; the message is one line."""


@dataclass
class Machines:
    """The machines below a folder."""

    folder: Path
    shared: Mapping[str, str]  # variables of all machines
    standing: dict[str, Path] = field(default_factory=dict)  # the working folder of each

    def __enter__(self) -> Self:
        """Return the machines."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the endpoints of a walk that did not come to their end."""
        for place in self.folder.glob("*/.local/state/trialtree/endpoints/[!.]*"):
            machine = place.relative_to(self.folder).parts[0]
            subprocess.run(
                ["trialtree", "endpoint", "delete", place.name, "--force"], cwd=self.standing[machine],
                env=self._environment(machine), stdout=subprocess.DEVNULL, check=False,
            )  # fmt: skip

    def run(self, step: Step) -> str:
        """Run a command in bash where its machine stands, print what it prints as it comes, and return that.

        Raises:
            WalkError: its exit status is not 0.
        """
        machine = str(step.machine)
        home = self.folder / machine
        home.mkdir(exist_ok=True)
        last = self.folder / ".standing"
        printed = []
        print(f"{machine}$ {step.text}", flush=True)
        with subprocess.Popen(
            ["bash", "-c", f'set -eo pipefail\n{step.text}\npwd > "{last}"'],
            cwd=self.standing.get(machine, home), env=self._environment(machine), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            for line in process.stdout or ():
                printed.append(line)
                print(line, end="", flush=True)
        if process.returncode:
            raise WalkError(f"walkthrough.md:{step.line}: `{step.text}` on {machine} exited {process.returncode}")
        self.standing[machine] = Path(last.read_text(encoding="utf-8").strip())
        return "".join(printed)

    def _environment(self, machine: str) -> dict[str, str]:
        """Return a machine's variables: of the caller's own only PATH, language and what Amazon's libraries read."""
        home, email = self.folder / machine, f"{machine}@example.org"
        kept = {k: v for k, v in os.environ.items() if k.startswith("AWS_") or k in {"LANG", "LC_ALL", "TMPDIR"}}
        for name, file in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
            kept.setdefault(name, str(Path.home() / ".aws" / file))  # for AWS_PROFILE
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home), "USER": machine, "COLUMNS": "100",
            "DVC_SITE_CACHE_DIR": str(home / ".cache/site"), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": machine, "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": machine, "GIT_COMMITTER_EMAIL": email,
            "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", **self.shared,
        }  # fmt: skip
