"""An entry's experiment by DVC itself, as a worker of `dvc queue start` makes it.

    python -m trialtree.queue.bydvc REPOSITORY MESSAGE

MESSAGE is JSON. The entry stays in DVC's stash until it has ended.
"""

import json
import os
import shlex
import sys
from pathlib import Path

import trialtree
from trialtree.queue.messages import Message
from trialtree.queue.state import WHERE

HOME = Path(trialtree.__file__).parents[1]  # where the command is to be run: an entry's code may have another trialtree


def line(message: Message, root: Path) -> str:
    """Return the command line for an entry of a DVC repository."""
    given = {"entry": dict(message.entry), "copied": list(message.copied), "said": message.said}
    return shlex.join([sys.executable, "-m", "trialtree.queue.bydvc", str(root), json.dumps(given)])


def main() -> int:
    """Make the experiment, and return DVC's exit status."""
    os.chdir(sys.argv[1])
    given = json.loads(sys.argv[2])
    from dvc.cli import main as dvc
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.experiments.executor.base import ExecutorInfo
    from dvc.repo.experiments.executor.local import TempDirExecutor
    from dvc.repo.experiments.queue.base import BaseStashQueue, QueueEntry
    from dvc.repo.experiments.stash import ExpStashEntry

    entry = QueueEntry.from_dict(given["entry"])
    of = ExpStashEntry(None, entry.head_rev or entry.baseline_rev, entry.baseline_rev, entry.branch, entry.name)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with Repo() as repo:
        exp = repo.experiments
        infofile = exp.celery_queue.get_infofile_path(entry.stash_rev)
        executor = TempDirExecutor.from_stash_entry(repo, of, location=WHERE)
        try:
            executor.init_git(repo, repo.scm, entry.stash_rev, of, infofile, branch=entry.branch)
            executor.init_cache(repo, entry.stash_rev)
            executor.info.dump_json(infofile)
            said = [] if given["said"] is None else ["--message", given["said"]]
            copied = [part for path in given["copied"] for part in ("--copy-paths", path)]
            status = int(dvc(["exp", "exec-run", "--infofile", infofile, *copied, *said]))
            result = ExecutorInfo.load_json(infofile).result
            if status == 0 and result is not None:
                BaseStashQueue.collect_executor(exp, executor, result)
        except DvcException as error:  # such as an experiment of that name
            print(error, file=sys.stderr)
            status = 1
        finally:
            executor.cleanup(infofile)
    return status


if __name__ == "__main__":
    sys.exit(main())
