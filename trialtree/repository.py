"""The repository that a command is run in: its top folder, and its own `stages` package."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path


def enter() -> Path:
    """Go to the top folder of the repository around the working folder, and import `stages` from there.

    A clear line and status 1 where there is none.
    """
    for folder in (here := Path.cwd(), *here.parents):
        if (folder / "dvc.yaml").exists() and (folder / "stages" / "__init__.py").exists():
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            return folder
    sys.exit(f"{here} is not inside a trialtree repository: no folder above has dvc.yaml and stages/")


def run(main: Callable[[], object]) -> None:
    """Call `main` as a stage's main is called: one line for what a person can mend, a traceback for the rest.

    A letter that the terminal does not know is printed as a question mark.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        main()
    except Exception as error:
        # `stages` is the repository's own, known only after `enter`: before it there is no UserError either.
        if "stages" not in sys.modules:
            raise
        from stages import command, errors

        said = str(error) if isinstance(error, errors.UserError) else command.refused(error)
        if said is None and type(error).__name__ == "OperationalError" and "disk" in str(error):
            said = f"{error}, in a database below {Path.cwd()} or DVC's site cache; see that the disk has room"
        if said is None:
            raise
        sys.exit(said)
