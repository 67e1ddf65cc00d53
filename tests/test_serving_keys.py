"""Keys of which only hashes are kept, shares that add up, and hosts that need keys."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stages.errors import UserError
from trialtree.serving import access, keys, serve, traffic
from trialtree.serving.faults import Refused
from trialtree.serving.registry.asking import Asked

HASH = "a" * 64


def test_a_new_key_is_told_once_and_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    token, other = keys.make("alice", file), keys.make("bob", file)
    assert re.fullmatch(r"tt_[\w-]{43}", token)
    assert token != other
    assert keys.gathered(file, {}) == tuple(
        (name, hashlib.sha256(each.encode()).hexdigest()) for name, each in (("alice", token), ("bob", other))
    )
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_name_has_one_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys.make("alice", file)
    with pytest.raises(keys.KeysError, match="has a key 'alice' already"):
        keys.make("alice", file)
    for odd in ("", "a b", "a:b", "x" * 65):
        with pytest.raises(keys.KeysError, match="a key's name has letters"):
            keys.make(odd, file)
    with pytest.raises(keys.KeysError, match="the key 'alice' is there twice"):
        keys.gathered(file, {"TRIALTREE_KEYS": f"alice:{HASH}"})


def test_comments_and_a_missing_line_end_stay(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\nbob:{HASH}")
    keys.make("alice", file)
    assert file.read_text().startswith(f"# ours\n\nbob:{HASH}\nalice:")


def test_keys_come_from_the_environment_too() -> None:
    env = {"TRIALTREE_KEYS": f"a:{HASH},b:{HASH}\nc:{HASH}\n", "TRIALTREE_TOKEN": "a-token-of-my-own"}
    assert [name for name, _ in keys.gathered(None, env)] == ["a", "b", "c", "token"]


def test_a_bad_line_is_named_by_its_number_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# fine\nbob:{HASH}\nsecret-in-plain\n")
    with pytest.raises(keys.KeysError, match="line 3 must be NAME:SHA256") as refused:
        keys.gathered(file, {})
    assert "secret" not in str(refused.value)
    with pytest.raises(keys.KeysError, match="TRIALTREE_KEYS: line 2 must be"):
        keys.gathered(None, {"TRIALTREE_KEYS": f"a:{HASH},b"})
    with pytest.raises(keys.KeysError, match="at least 16 characters, got 5"):
        keys.gathered(None, {"TRIALTREE_TOKEN": "short"})
    with pytest.raises(keys.KeysError, match="cannot be read: No such file"):
        keys.gathered(tmp_path / "none", {})


def test_shares_are_of_one() -> None:
    assert traffic.parts("iris", "champion=90, challenger=7.5%,3=2.5", "prod") == (
        traffic.Part(Asked("iris", "champion"), 0.9),
        traffic.Part(Asked("iris", "challenger"), 0.075),
        traffic.Part(Asked("iris", version="3"), 0.025),
        traffic.Part(Asked("iris", "prod"), 0.0, shadow=True),
    )
    assert traffic.parts("iris@champion") == (traffic.Part(Asked("iris", "champion")),)


@pytest.mark.parametrize(
    ("model", "shares", "shadow", "line"),
    [
        ("iris", "champion=90", None, "--traffic champion=90: must add up to 100, got 90"),
        ("iris", "champion", None, "must be like champion=90,challenger=10, got 'champion'"),
        ("iris", "champion=-5,b=105", None, "must be like champion=90,challenger=10, got 'champion=-5'"),
        ("iris", "champion=nan", None, "must be like"),
        ("iris", "a=50,a=50", None, "a is there twice"),
        ("iris", "../x=100", None, "--traffic: must name an alias or version of iris, got '../x'"),
        ("iris@prod", "champion=100", None, "iris@prod has no part in it"),
        ("iris@prod", None, "prod", "--shadow prod: iris@prod answers requests already"),
    ],
)
def test_shares_that_do_not_fit_are_refused(model: str, shares: str | None, shadow: str | None, line: str) -> None:
    with pytest.raises(traffic.TrafficError) as refused:
        traffic.parts(model, shares, shadow)
    assert line in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_a_host_that_others_reach_needs_keys(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIALTREE_KEYS", raising=False)
    with pytest.raises(serve.ServeError, match=f"--host {host}: whoever reaches it could ask"):
        serve.check(serve.Options("iris", host=host))
    assert serve.check(serve.Options("iris", host=host, anonymous=True)) is None
    monkeypatch.setenv("TRIALTREE_TOKEN", "a-token-of-my-own")
    assert serve.check(serve.Options("iris", host=host)) is None
    with pytest.raises(serve.ServeError, match="--anonymous: there are keys"):
        serve.check(serve.Options("iris", host=host, anonymous=True))


def test_without_keys_on_loopback_it_says_so() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        assert serve.check(serve.Options("iris", host=host)) == serve._LOCAL


def test_files_of_tls_are_tried_first(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no certificate")
    given = {"tls_cert": str(tmp_path / "cert")}
    for options, line in (
        (given, "--tls-cert and --tls-key: give both or none"),
        ({**given, "tls_key": str(tmp_path / "key")}, "there is no such file"),
        ({**given, "tls_key": str(tmp_path / "cert")}, "is no certificate with that key"),
    ):
        with pytest.raises(UserError) as refused:
            serve.check(serve.Options("iris", **options))
        assert line in str(refused.value)


def test_a_file_that_lost_its_keys_is_refused_when_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRIALTREE_KEYS", "TRIALTREE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "keys"
    keys.make("alice", file)
    options = serve.Options("iris", host="0.0.0.0", keys=str(file))
    assert serve.settings(options, "iris", tmp_path).keyed
    for text in ("", "# nobody\n"):
        file.write_text(text)
        with pytest.raises(serve.ServeError, match="has no key"):
            serve.settings(options, "iris", tmp_path)


def test_where_keys_were_asked_for_and_none_is_there_nobody_may_ask() -> None:
    assert access.Keys(()).admit({}) is None
    for headers in ({}, {b"x-api-key": b"a-key"}):
        with pytest.raises(Refused) as refused:
            access.Keys((), keyed=True).admit(headers)
        assert refused.value.status == 401


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: keys.make(f"k{number}", file), range(24)))
    assert {name for name, _ in keys.gathered(file, {})} == {f"k{number}" for number in range(24)}
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_not_for_this_user_is_no_reason_to_make_one(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"bob:{HASH}\n")
    file.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read everything
            os.seteuid(65534)
        with pytest.raises(keys.KeysError) as refused:
            keys.gathered(file, {})
    finally:
        os.seteuid(user)
    assert str(refused.value) == f"{file} cannot be read: Permission denied"


def test_more_keys_than_a_worker_takes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("".join(f"key{number}:{HASH}\n" for number in range(70_000)))
    with pytest.raises(keys.KeysError, match=r"70000 keys are too many: 5\.\d MB of at most 5"):
        keys.gathered(file, {})


def test_keys_in_another_order_are_the_same() -> None:
    assert keys.digest([("a", HASH), ("b", HASH)]) == keys.digest([("b", HASH), ("a", HASH)])
    assert keys.digest([("a", HASH)]) != keys.digest([("a", "b" * 64)])
