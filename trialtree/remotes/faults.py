"""Say in one line why a remote does not work, and what to do about it."""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import UserError
from trialtree.tracking import git


class RemoteFaultError(UserError):
    """A remote that does not do what DVC asks of it."""


@dataclass(frozen=True)
class Where:
    """A remote, as far as a message needs it; never a secret."""

    url: str
    endpoint: str | None = None
    profile: str | None = None
    saved: bool = False  # its credentials stand in .dvc/config.local

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "Where":
        """Return what may be said of a remote with these options."""
        shown = git.without_credentials(str(section.get("url", "")))
        endpoint = section.get("endpointurl")
        return cls(
            shown,
            git.without_credentials(endpoint) if endpoint else None,
            section.get("profile"),
            "access_key_id" in section,
        )


# What S3 answers, by its code: what is wrong, and what to do.
_EXPIRED = ("the credentials have expired", "get new ones")
_BAD_KEY = ("the access key is not known there", "see that key and endpoint belong together")
_BAD_SECRET = ("the secret key does not fit the access key", "set both anew")
_REFUSED = ("the credentials have no permission for this", "ask its owner for s3:GetObject, PutObject and ListBucket")
_NO_BUCKET = ("there is no such bucket", "make it, or mend the name")
_REGION = ("the bucket is in another region", "name it: --region")
_NO_S3 = ("what answers there is no S3 server", "mend --endpoint")
_CODES = {
    "ExpiredToken": _EXPIRED, "ExpiredTokenException": _EXPIRED, "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": ("the session token is not valid", "get new credentials"),
    "InvalidAccessKeyId": _BAD_KEY, "InvalidClientTokenId": _BAD_KEY,
    "SignatureDoesNotMatch": _BAD_SECRET,
    "AccessDenied": _REFUSED, "AllAccessDisabled": _REFUSED, "403": _REFUSED,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": ("this is no name of a bucket", "mend it"),
    "PermanentRedirect": _REGION, "AuthorizationHeaderMalformed": _REGION, "301": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set it"),
    "SlowDown": ("the server asks to slow down", "try again later"),
    "503": ("the server is not available", "try again later"),
    "ServiceUnavailable": ("the server is not available", "try again later"),
    "InternalError": ("the server failed", "try again later"),
    "NotImplemented": _NO_S3, "501": _NO_S3, "405": _NO_S3, "MethodNotAllowed": _NO_S3,
    "500": ("the server failed", "try again later"),
}  # fmt: skip
# botocore's exceptions, by class name so that botocore is imported only where it raised one.
_CLASSES = {
    "NoCredentialsError": ("there are no credentials",
                           "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile"),
    "PartialCredentialsError": ("half of the credentials is missing",
                                "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "ProfileNotFound": ("there is no such profile", "see ~/.aws/config, or name another --profile"),
    "TokenRetrievalError": _EXPIRED, "UnauthorizedSSOTokenError": _EXPIRED, "SSOTokenLoadError": _EXPIRED,
    "CredentialRetrievalError": ("the credentials could not be got", "see the profile's credential process"),
    "SSLError": ("the server's certificate is not trusted", "see that the endpoint's https:// is right"),
    "ProxyConnectionError": ("the proxy does not answer", "see HTTPS_PROXY and NO_PROXY"),
    "ResponseParserError": _NO_S3,
    "InvalidRegionError": ("this is no region", "mend --region"),
    "ParamValidationError": ("this is no name of a bucket", "mend it"),
}  # fmt: skip
_UNREACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
              "HTTPClientError", "ConnectionError")  # fmt: skip
_PLAIN = {
    errno.ENOSPC: ("no space is left on the disk", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room"),
    errno.EROFS: ("the file system is read-only", "name another place"),
    errno.EACCES: ("permission denied", "see who owns the folder, or name another place"),
    errno.EPERM: ("permission denied", "see who owns the folder, or name another place"),
    errno.ENOENT: ("the folder cannot be made", "name another place"),
    errno.ENOTDIR: ("this is no folder", "name a folder"),
    errno.EEXIST: ("this is no folder", "name a folder"),
}


def is_object_store(fs: Any) -> bool:
    """Say whether a DVC file system has no folders of its own."""
    return str(fs.protocol) in ("s3", "gs", "azure", "oss")


def line(error: BaseException, where: Where, step: str) -> str:
    """Return why the remote could not be `step` (written to, read, listed, reached), and what to do."""
    wrong, mend = _reason(error, where)
    return f"{where.url} cannot be {step}: {wrong}{_credentials(error, where)}; {mend}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str | None:
    """Return the code that S3 answered, if it did."""
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code")) if isinstance(response, dict) and "Error" in response else None


def _reason(error: BaseException, where: Where) -> tuple[str, str]:
    """Return what is wrong and what to do."""
    chain = list(_chain(error))
    for found in chain:
        names = [cls.__name__ for cls in type(found).__mro__]
        code = _code(found)
        if code == "404":
            return ("there is no such bucket, or what answers there is no S3 server", "mend the name or --endpoint")
        if code in _CODES:
            return _CODES[code]
        if known := next((_CLASSES[name] for name in names if name in _CLASSES), None):
            return known
        if set(names) & set(_UNREACHED):
            return _unreached(where)
    number = next((found.errno for found in chain if isinstance(found, OSError) and found.errno in _PLAIN), None)
    if number is not None:
        return _PLAIN[number]
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:200], "see that the address is right"


def _unreached(where: Where) -> tuple[str, str]:
    if where.endpoint:
        return f"nothing answers at {where.endpoint}", "mend --endpoint, or start the server"
    if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        return "nothing answers at AWS_ENDPOINT_URL", "mend the variable, or start the server"
    return "the network or its name service does not reach it", "see the network, the proxy, and --region"


def _credentials(error: BaseException, where: Where) -> str:
    """Return where the credentials came from, when they are what is wrong."""
    chain = list(_chain(error))
    profile = any(type(found).__name__ == "ProfileNotFound" for found in chain)
    if not (profile or (where.url.startswith("s3://") and any(isinstance(found, PermissionError) for found in chain))):
        return ""
    if where.profile:
        return f" ({where.profile})" if profile else f" (those of the profile {where.profile})"
    if where.saved:
        return " (those of .dvc/config.local)"
    return " (those of AWS_ACCESS_KEY_ID)" if os.environ.get("AWS_ACCESS_KEY_ID") else ""
