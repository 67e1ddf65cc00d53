"""A dvc.lock that is read piece by piece says what a parser finds in the whole."""

import pytest

from tests.conftest import PROJECT
from trialtree.tracking import locks

LOCK = b"""schema: '2.0'
stages:
  fetch:
    cmd: python -m stages.fetch
    deps:
    - path: stages/fetch.py
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 10
    - path: 'a: b'
      md5: '00000000000000000000000000000001'
    params:
      params.yaml:
        fetch:
          source: sklearn:iris
          rate: 1e-3
          no: no
    outs:
    - path: data/raw.parquet
      md5: 1234567890abcdef0123456789abcdef.dir
      size: 1
  split:
    cmd:
    - echo "two
      lines"
    - echo two
    outs:
"""


def test_this_projects_lock_is_read_so() -> None:
    content = (PROJECT / "dvc.lock").read_bytes()
    assert locks._in_pieces(content) == locks.load(content)["stages"]


@pytest.mark.parametrize(
    "content",
    [
        LOCK,
        LOCK.replace(b"python -m stages.fetch", b"|\n      first\n        second\n\n      third"),
        LOCK.replace(b"python -m stages.fetch", b">-\n      first\n      - path: not one"),
        LOCK.replace(b"    - path: stages/fetch.py\n", b"    -\n      path: stages/fetch.py\n"),
        LOCK.replace(b"    - path: stages/fetch.py\n", b"    # said by hand\n    - path: stages/fetch.py\n"),
        LOCK.replace(b"size: 10", b"size: &ten 10").replace(b"size: 1\n", b"size: *ten\n"),
        LOCK.replace(b"  split:\n", b"  split@1:\n"),
        LOCK.replace(b"\n", b"\r\n"),
        LOCK.replace(b"  split:\n", b"\n  split:\n"),
        LOCK.replace(b"schema: '2.0'\n", b"schema: '2.0'\nextra: 1\n"),
        LOCK.removesuffix(b"\n"),
        b"schema: '2.0'\nstages:\n  fetch: {cmd: a, outs: }\n",
        b"schema: '2.0'\nstages: {}\n",
        b"schema: '2.0'\n",
        b"",
    ],
)
def test_a_lock_of_any_form_says_the_same_of_its_stages(content: bytes) -> None:
    whole = (locks.load(content) or {}).get("stages") or {}
    assert locks._in_pieces(content) in (whole, None)
    assert locks.entries(content) == {name: whole[name] for name in locks.STAGES if name in whole}


@pytest.mark.parametrize(
    "content", [LOCK.replace(b"  split:\n", b"  fetch:\n"), LOCK.replace(b"    outs:\n    - ", b"    deps:\n    - ")]
)
def test_a_key_that_is_there_twice_is_for_the_parser(content: bytes) -> None:
    assert locks._in_pieces(content) is None


def test_what_is_cut_off_is_read_as_the_parser_reads_it_or_left_to_it() -> None:
    for end in range(len(LOCK)):
        read = locks._in_pieces(LOCK[:end])
        if read is not None:
            assert read == (locks.load(LOCK[:end])["stages"] or {}), end
