"""What a model, a run, a revision or data came from, and what came of it: from Git, DVC and MLflow together.

    chain.py      commits, runs, versions, data and trials, and how they hang together
    from_git.py   the trials in all of the repository's history
    from_mlflow.py  the runs and versions of them
    asking.py     what was asked about
    finding.py    the chain of that
    tree.py       the chain as a tree

Commits are named, never branches: these move.
"""

import json
import sys

from trialtree.lineage import finding, tree


def show(asked: str, *, as_json: bool = False) -> None:
    """Print the chain of a model version, run, revision or data; a tracking server that is away is one line on stderr.

    Raises:
        UserError: there is nothing of that name, or it has several meanings.
    """
    chain = finding.chain(asked)
    if chain.warning:
        print(chain.warning, file=sys.stderr)
    if as_json:
        print(json.dumps(chain.as_json(), indent=2, ensure_ascii=False, default=str))
    else:
        tree.show(chain)
