"""A server whose plan stands in a file: `version folder`, or a line that starts with ! and is why there is none.

python -m tests.fakeserver PLAN STATUS WORKERS PORT GRACE [PROVE]
"""

import sys
from pathlib import Path

from stages.errors import UserError
from trialtree import repository
from trialtree.serving import supervisor
from trialtree.serving.settings import Plan, Planned, Settings


class InFile:
    """A plan in a file, which is looked at ten times a second."""

    pace = 0.1

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, ""

    def first(self) -> Plan:
        text = self.path.read_text()
        if text.startswith("!"):
            raise UserError(text[1:])
        self.seen = text
        version, folder = text.split()
        return Plan(0, "fake", (Planned("fake", version, folder, "0" * 64, alias="champion"),))

    def poll(self) -> Plan | None:
        return None if self.path.read_text() == self.seen else self.first()


def main() -> None:
    plan, status, workers, port, grace, *prove = sys.argv[1:]
    wanted = supervisor.Wanted(
        lambda: Settings("fake"), port=int(port), workers=int(workers), grace=float(grace), status=Path(status),
        command=(sys.executable, "-m", "tests.fakeworker"), prove=prove or None,
    )  # fmt: skip
    supervisor.run(wanted, InFile(Path(plan)), lambda line: print(line, flush=True))


if __name__ == "__main__":
    repository.run(main)
