"""A stand-in for `gh` and `glab`: the calls of the CI files, on pull requests and comments in a JSON file.

    python -m tests.forge gh|glab ARGS...

The file is named by FORGE. A call that the CI files do not make is refused.
"""

import json
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LIMIT = 65_536  # characters of a comment on GitHub
_PAGE = 2  # comments that a page has here, so that there are several
State = dict[str, Any]


def install(folder: Path, state: Path, content: State) -> dict[str, str]:
    """Put `gh` and `glab` into a folder, and return the environment that they need."""
    folder.mkdir(parents=True)
    for name in ("gh", "glab"):
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.forge {name} "$@"\n', encoding="utf-8")
        file.chmod(0o755)
    state.write_text(json.dumps(content), encoding="utf-8")
    return {"FORGE": str(state), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}


def _asked(args: list[str]) -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--method")
    parser.add_argument("--paginate", action="store_true")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--jq")
    parser.add_argument("-f", dest="raw", action="append", default=[])
    parser.add_argument("-F", "--field", dest="fields", action="append", default=[])
    asked = parser.parse_args(args)
    address = urlsplit(asked.path)
    asked.path, asked.given = address.path, dict(parse_qsl(address.query))
    asked.given |= dict(pair.split("=", 1) for pair in asked.raw)
    for pair in asked.fields:
        name, value = pair.split("=", 1)
        asked.given[name] = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    asked.method = asked.method or ("POST" if asked.raw or asked.fields else "GET")
    return asked


def _refused(said: str) -> SystemExit:
    print(said, file=sys.stderr)
    return SystemExit(1)


def _pages(found: list[Any], asked: Namespace) -> Iterator[list[Any]]:
    """Yield what is listed, page by page; the first alone where the others are not asked for."""
    yield found[:_PAGE]
    if asked.paginate:
        for start in range(_PAGE, len(found), _PAGE):
            yield found[start : start + _PAGE]


def _write(comments: list[Any], asked: Namespace, author: Any, made: Callable[[int], Any]) -> Any:
    """Make a comment, or change one of one's own."""
    body = asked.given["body"]
    if len(body) > LIMIT:
        raise _refused("HTTP 422: body is too long (maximum is 65536 characters)")
    if asked.method == "POST":
        comments.append(made(1 + max((comment["id"] for comment in comments), default=0)))
        return comments[-1]
    number = int(asked.path.rpartition("/")[2])
    comment = next(comment for comment in comments if comment["id"] == number)
    if author not in (comment.get("user"), comment.get("author")):
        raise _refused("HTTP 403: this is another's comment")
    comment["body"] = body
    return comment


def gh(args: list[str], state: State) -> Iterator[Any]:
    """Do what gh is asked for; yield what it would print, page by page."""
    if args[:2] == ["run", "download"]:
        number, *rest = args[2:]
        assert rest[:3:2] == ["--name", "--dir"]
        if number not in state["runs"]:
            raise _refused("no valid artifacts found to download")
        shutil.copytree(state["runs"][number], rest[3], symlinks=True)
        return
    asked = _asked(args[1:])
    repo = f"repos/{os.environ['GH_REPO']}"
    me = {"login": "github-actions[bot]", "type": "Bot"}
    match asked.method, asked.path.removeprefix(f"{repo}/").split("/"):
        case "GET", ["pulls"]:
            owner, _, branch = asked.given["head"].partition(":")
            yield [
                pull for pull in state["pulls"]
                if pull["state"] == asked.given["state"]
                and (pull["head"]["repo"]["owner"]["login"], pull["head"]["ref"]) == (owner, branch)
            ]  # fmt: skip
        case "GET", ["issues", number, "comments"]:
            yield from _pages([c for c in state["comments"] if c["issue"] == int(number)], asked)
        case "POST", ["issues", number, "comments"]:
            yield _write(
                state["comments"], asked, me,
                lambda new: {"id": new, "issue": int(number), "user": me, "body": asked.given["body"]},
            )  # fmt: skip
        case "PATCH", ["issues", "comments", _]:
            yield _write(state["comments"], asked, me, lambda _: None)
        case _:
            raise _refused(f"gh has no such call here: {asked.method} {asked.path}")


def glab(args: list[str], state: State) -> Iterator[Any]:
    """Do what glab is asked for; yield what it would print, page by page."""
    asked = _asked(args[1:])
    me = {"id": state["me"]}
    match asked.method, asked.path.removeprefix(state["merge request"]).split("/"):
        case "GET", ["user"]:
            yield me
        case "GET", ["", "notes"]:
            yield from _pages(state["notes"], asked)
        case "POST", ["", "notes"]:
            yield _write(state["notes"], asked, me, lambda new: {"id": new, "author": me, "body": asked.given["body"]})
        case "PUT", ["", "notes", _]:
            yield _write(state["notes"], asked, me, lambda _: None)
        case _:
            raise _refused(f"glab has no such call here: {asked.method} {asked.path}")


def main() -> None:
    """Do what is asked, and keep what came of it."""
    name, *args = sys.argv[1:]
    file = Path(os.environ["FORGE"])
    state = json.loads(file.read_text(encoding="utf-8"))
    pages = [json.dumps(page) for page in {"gh": gh, "glab": glab}[name](args, state)]
    file.write_text(json.dumps(state), encoding="utf-8")
    wanted = args[args.index("--jq") + 1] if "--jq" in args else None
    for page in [] if "--silent" in args else pages:
        if wanted is None:
            print(page)
        else:
            subprocess.run(["jq", "-r", wanted], input=page, text=True, check=True)  # gh has it within it


if __name__ == "__main__":
    main()
