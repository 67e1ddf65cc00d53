"""Say in one line why a store of MLflow cannot be used, and what to do about it; never a password."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

_LONGEST = 300  # characters of what others say
_THEIRS = {"mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3", "psycopg", "psycopg2", "botocore",
           "boto3", "azure", "databricks"}  # fmt: skip
_DRIVERS = {"psycopg", "psycopg2", "MySQLdb", "pymysql", "pyodbc", "pymssql"}
_CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_STATUS = {
    401: f"the server asks for a user and a password, and refuses these (401); set {_CREDENTIALS}",
    403: f"the user has no permission for this (403); ask for it, or see {_CREDENTIALS}",
}
# What databases say, and what MLflow says of folders and Databricks.
_SAID = (
    (r"readonly database|[Rr]ead-only", "it is read-only; see who owns the file and its folder"),
    (r"disk is full|No space left|disk I/O error", "{text}; make room"),
    (r"Permission denied|unable to open database", "{text}; see who owns the file and its folder"),
    (r"not a database|malformed", "{text}; move the file away, and `trialtree track --all` makes it anew"),
    (r"password authentication failed|no password supplied", "the database refuses the address's user and password"),
    (r"filesystem tracking backend", "a folder is no store to MLflow; name a database, sqlite:///PATH, or a server"),
    (r"Databricks credential", "there are no credentials for Databricks; set DATABRICKS_HOST and DATABRICKS_TOKEN"),
)  # fmt: skip


def of_store(error: BaseException) -> bool:
    """Say whether an error is the store's: of MLflow, its database, the network or the disk."""
    if isinstance(error, ImportError):
        return error.name in _DRIVERS
    return type(error).__module__.partition(".")[0] in _THEIRS or isinstance(error, OSError)


def line(error: BaseException, uri: str, shown: str) -> str:
    """Return what is wrong with the store at `uri`, which is to be called `shown`."""
    chain = list(_chain(error))
    # What the database said, inside SQLAlchemy's words with the whole statement.
    cause = next((found.orig for found in chain if getattr(found, "orig", None)), error)
    text = " ".join(str(cause).split()).replace(uri, shown)
    return _of_network(chain) or _of_server(error, text) or _of_schema(text, shown) or _of_database(cause, text)


def _chain(error: BaseException | None) -> Iterator[Any]:
    """Yield an error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_network(chain: list[Any]) -> str | None:
    """Return what keeps a server from being reached."""
    found = next((e for e in chain if type(e).__module__.partition(".")[0] in ("requests", "urllib3")), None)
    if found is None:
        return None
    name = type(found).__name__
    if "Timeout" in name:
        return "the server does not answer; see whether it is overloaded or stopped"
    if many := re.search(r"too many (\d+) error", str(found)):
        return f"the server fails ({many[1]}); see its log"
    return f"cannot be reached ({name})"


def _of_server(error: Any, text: str) -> str | None:
    """Return what a server's answer says, where it is a refusal or no answer of MLflow's."""
    if type(error).__module__ != "mlflow.exceptions" or not re.match(r"API request|[A-Z_]+: ", text):
        return None
    code = re.search(r"failed with error code (\d+)", text)
    # A refusal has a body in JSON from MLflow, and none from a proxy before it.
    status = int(code[1]) if code else int(error.get_http_status_code())
    if status in _STATUS:
        return _STATUS[status]
    if "not in a valid JSON format" in text or (code and status == 404):
        return "what answers there is no MLflow server"
    return f"the server fails ({status}); see its log" if code and status >= 500 else None


def _of_schema(text: str, shown: str) -> str | None:
    """Return what is wrong with a database that another version of MLflow made."""
    found = re.search(
        r"out-of-date database schema \(found version (\w+)|Can't locate revision identified by '(\w+)'", text
    )
    if not found:
        return None
    from mlflow import __version__

    revision = found[1] or found[2]
    if _is_older(revision):
        upgrade = f"after a backup, `mlflow db upgrade {shlex.quote(shown)}` upgrades it"
        return f"its schema ({revision}) is older than that of MLflow {__version__}; {upgrade}"
    return f"its schema ({revision}) is of a newer MLflow than {__version__}; install that version here"


def _is_older(revision: str) -> bool:
    """Say whether this MLflow's migrations know a schema."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config

    try:
        return ScriptDirectory.from_config(_get_alembic_config("")).get_revision(revision) is not None
    except CommandError:
        return False


def _of_database(cause: BaseException, text: str) -> str:
    for pattern, said in _SAID:
        if re.search(pattern, text):
            return said.format(text=text[:_LONGEST])
    if isinstance(cause, ImportError):
        return f"the driver of such a database is not installed ({text})"
    return text[:_LONGEST] or type(cause).__name__
