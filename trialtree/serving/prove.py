"""Prove in a process of its own that a model loads and predicts, before an endpoint takes it up.

    python -m trialtree.serving.prove '{"folder": ..., "digest": ..., "gaps": [...]}'

Status 0, or 1 and a line on standard error. A model whose loading ends its
process ends this one, and no worker.
"""

import sys
from pathlib import Path

from orjson import loads


def main() -> None:
    """Load the model that the first argument describes, and predict a row that it might get."""
    from stages.errors import UserError
    from trialtree.serving import scoring
    from trialtree.serving.settings import Planned

    given = loads(sys.argv[1])
    planned = Planned.of({"name": "", "version": "", **given})
    try:
        scorer = scoring.load(
            Path(planned.folder), planned.digest, planned.gaps, allow_pickle=given.get("allow_pickle", False)
        )
        scorer.predict(scoring.made_up(scorer.schema, 8))
    except (UserError, OSError, ImportError) as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
