"""Download objects of S3, or of a server that speaks its language.

Credentials are those of a DVC remote in the same bucket, of the environment,
or of a profile; never of params.yaml.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from stages import downloads, masking, streams
from stages.content import Facts, File, is_data_name
from stages.keeping import repository
from stages.tables import DataError

SCHEME = "s3://"
_SETTINGS = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2, "mode": "standard"}}
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
_UNKNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure", "InvalidClientTokenId")
_FORBIDDEN = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem")
_ELSEWHERE = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_PASSING = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504")


def fault(name: str) -> str | None:
    """Return what is wrong with an address as a source."""
    if masking.opens_a_door(name):
        return "must not carry credentials, for it stands in Git; put them into the environment or .dvc/config.local"
    return None if urlsplit(name).netloc else "must name a bucket, as s3://bucket/key"


def download(name: str, endpoint: str | None, folder: Path, known: Sequence[Facts] | None = None) -> list[File] | None:
    """Download an object, or all below a prefix by name, into a folder; None where they are the `known` ones.

    A name with `/` at its end is a prefix; any other is one where there is no such object.

    Raises:
        DataError: there is nothing, or it may not be read, or the server cannot be reached.
    """
    bucket, key = split(name)
    with explained(name, bucket):
        client = make_client(bucket, endpoint)
        if key and not key.endswith("/"):
            etag = known[0].get("etag") if known and len(known) == 1 and known[0].get("source") == name else None
            try:
                return _one(client, bucket, key, folder / f"0{downloads.suffix(key)}", etag)
            except _UnchangedError:
                return None
            except client.exceptions.NoSuchKey:
                pass
        return _below(client, bucket, key, folder, known)


def split(name: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`; the key may have any sign in it."""
    bucket, _, key = name.removeprefix(SCHEME).partition("/")
    return bucket, key


class _UnchangedError(Exception):
    """The object is the one that is known."""


def _one(client: Any, bucket: str, key: str, path: Path, known: str | None = None) -> list[File]:
    """Download one object."""
    shown = f"{SCHEME}{bucket}/{key}"

    @contextmanager
    def opened(start: int, validator: str | None) -> Iterator[streams.Stream]:
        part = {"Range": f"bytes={start}-", "IfMatch": validator} if start and validator else {}
        with _passing(path):
            got = client.get_object(Bucket=bucket, Key=key, **part)
            if known is not None and got["ETag"].strip('"') == known:
                got["Body"].close()
                raise _UnchangedError
            begin = start if part else 0
            facts = {"etag": got["ETag"].strip('"')}
            if got.get("VersionId", "null") != "null":  # a bucket that keeps no versions
                facts["version_id"] = got["VersionId"]
            total = begin + got["ContentLength"]
            chunks = got["Body"].iter_chunks(streams.CHUNK)
            yield streams.Stream(begin, total, got["ETag"], chunks, facts)

    return [File(shown, path, streams.save(path, shown, opened, "see that the network is there, then run it again"))]


def _below(client: Any, bucket: str, prefix: str, folder: Path, known: Sequence[Facts] | None) -> list[File] | None:
    """Download the objects below a prefix, in the order of their names."""
    below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
    listed = [each for page in pages for each in page.get("Contents", ())]
    found = sorted((each["Key"], each["ETag"].strip('"'), each["Size"]) for each in listed if _is_table(each, below))
    if not found:
        raise DataError(
            f"{SCHEME}{bucket}/{prefix}: there is no such object and no table below it; see that fetch.source in "
            "params.yaml is right, or put the data back"
        )
    if known is not None and found == [(split(k["source"])[1], k.get("etag"), k.get("bytes")) for k in known]:
        return None
    files = []
    for place, (key, _, _) in enumerate(found):
        files += _one(client, bucket, key, folder / f"{place}{downloads.suffix(key)}")
    return files


def _is_table(listed: Any, below: str) -> bool:
    """Say whether an object below a prefix is a table: no marker of a folder, and no part of its name is hidden."""
    key = listed["Key"]
    return not key.endswith("/") and all(map(is_data_name, PurePosixPath(key.removeprefix(below)).parts))


@contextmanager
def _passing(path: Path) -> Iterator[None]:
    """Turn what may pass into another attempt."""
    from botocore import exceptions as boto

    broken = (boto.IncompleteReadError, boto.ResponseStreamingError, boto.ReadTimeoutError, boto.ConnectionClosedError)
    try:
        yield
    except broken as error:
        raise streams.BrokenOffError(f"cannot be read: {downloads.reason(error)}") from None
    except boto.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("PreconditionFailed", "412", "InvalidRange", "416"):  # another object is there now
            path.unlink(missing_ok=True)
            raise streams.BrokenOffError("has changed while it was read") from None
        if code in _PASSING:
            raise streams.BrokenOffError(f"the server answers {code}") from None
        raise


def make_client(bucket: str, endpoint: str | None) -> Any:
    """Return a client for a bucket; what a DVC remote in the bucket says counts, an endpoint given counts more."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    remote = _remote(bucket)
    names = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key",
             "session_token": "aws_session_token"}  # fmt: skip
    keys = {theirs: remote[ours] for ours, theirs in names.items() if remote.get(ours)}
    session = boto3.Session(profile_name=remote.get("profile"))
    url = endpoint or remote.get("endpointurl")
    own = url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    # A server of one's own seldom has a host name for each bucket.
    style = {"s3": {"addressing_style": "path"}} if own else {}
    signing = {"signature_version": UNSIGNED} if remote.get("allow_anonymous_login") else {}
    return session.client(
        "s3", endpoint_url=url, region_name=remote.get("region") or session.region_name or "us-east-1",
        verify=remote.get("ssl_verify"), config=Config(**_SETTINGS, **style, **signing), **keys,
    )  # fmt: skip


def _remote(bucket: str) -> dict[str, Any]:
    """Return what DVC's configuration says of a remote in the bucket, the default remote first; nothing if none is."""
    top = repository()
    if not (top / ".dvc" / "config").is_file():
        return {}
    from dvc.config import Config, ConfigError

    try:
        config = Config(str(top / ".dvc"))
    except ConfigError as error:
        raise DataError(f"{top / '.dvc' / 'config'}: cannot be read: {' '.join(str(error).split())}") from None
    remotes = dict(config.get("remote") or {})
    default = config.get("core", {}).get("remote")
    for name in sorted(remotes, key=lambda name: name != default):
        if urlsplit(remotes[name].get("url", ""))[:2] == ("s3", bucket):
            return dict(remotes[name])
    return {}


@contextmanager
def explained(name: str, bucket: str) -> Iterator[None]:
    """Turn what boto3 raises into one line about `name`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise DataError(f"{name}: {_refused(error, bucket)}") from None
    except (BotoCoreError, Boto3Error, ResponseParserError, ValueError) as error:
        raise DataError(f"{name}: {_failed(error)}") from None


def _refused(error: Any, bucket: str) -> str:
    """Return what a server's refusal means, and the next step."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = masking.masked(" ".join(str(error.response.get("Error", {}).get("Message", "")).split()))[:200]
    meant = {
        ("NoSuchBucket",): f"there is no bucket {bucket}; see that its name and the endpoint are right",
        ("NoSuchKey",): "an object was removed while it was read; run it again",
        _EXPIRED: f"the credentials have expired ({code}); log in again (`aws sso login`) or renew AWS_SESSION_TOKEN",
        _UNKNOWN: f"the server does not take the credentials ({code}); "
        "see AWS_ACCESS_KEY_ID, AWS_PROFILE, .dvc/config.local",
        _FORBIDDEN: "access denied; the credentials need s3:GetObject on it and s3:ListBucket on the bucket "
        "(without the latter, S3 says so of what is not there, too)",
        _ELSEWHERE: f"the bucket is in another region ({code}); set AWS_REGION, or region of the DVC remote",
    }
    other = f"the server answers {code}: {said or 'no more'}; see that the endpoint is one of S3"
    return next((line for codes, line in meant.items() if code in codes), other)


def _failed(error: Exception) -> str:
    """Return what kept the request from being answered, and the next step."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    where = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    at = f" at {where.scheme}://{where.netloc.rpartition('@')[2]}" if where.netloc else ""
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return (
            "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or those of the DVC remote by `dvc remote modify --local`"
        )
    if isinstance(error, boto.ProfileNotFound):
        return f"{error}; see AWS_PROFILE, ~/.aws/config and profile of the DVC remote"
    if isinstance(error, boto.TokenRetrievalError | boto.SSOError | boto.CredentialRetrievalError):
        return f"the credentials cannot be had: {downloads.reason(error)}; log in again (`aws sso login`)"
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        why = downloads.reason(error)
        return f"the server cannot be reached{at}: {why}; see that the network and the endpoint are right"
    if isinstance(error, ResponseParserError):
        return "the server does not answer as S3 does; see that the endpoint is right"
    return f"cannot be read: {downloads.reason(error)}; see that bucket, key and endpoint are right"
