"""Following redirects, where that was asked for, without carrying anything to where it does not belong."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit

from skerry.client.transport import Request, Response
from skerry.errors import RedirectRefused

MOST_REDIRECTS = 10
"""However many were asked for."""
_FOLLOWED = frozenset([301, 302, 303, 307, 308])
_KEPT_ABROAD = frozenset(["accept", "accept-encoding", "accept-language", "content-type", "user-agent"])
"""Headers that go along to another origin. Any other may be a credential, or tell of what goes on inside."""
_OF_A_BODY = ("content-type", "content-length", "content-encoding")
_PORTS = {"http": 80, "https": 443}


def next_request(request: Request, response: Response) -> Request | None:
    """The request that a reply redirects to; None when it is none (RFC 9110, section 15.4).

    Raises `RedirectRefused` for a way from https to http, to anything but HTTP, or for a body that cannot be sent again.
    """
    location = response.headers.get("location")
    if response.status not in _FOLLOWED or location is None:
        return None
    before, after, url = urlsplit(request.url), *_target(request, location)
    if after.scheme not in _PORTS or not after.hostname:
        raise RedirectRefused(request.service, "a redirect leads out of HTTP")
    if before.scheme == "https" and after.scheme == "http":
        raise RedirectRefused(request.service, "a redirect leads from https to http")
    method, headers, body = request.method, request.headers, request.body
    if response.status == 303 or (response.status in {301, 302} and method == "POST"):
        method, body = ("HEAD" if method == "HEAD" else "GET"), b""
        headers = [pair for pair in headers if pair[0] not in _OF_A_BODY]
    elif not request.replayable:
        raise RedirectRefused(request.service, "the body is sent already and cannot be sent again")
    if _origin(before) != _origin(after):
        headers = [pair for pair in headers if pair[0] in _KEPT_ABROAD]
    return Request(request.service, method, url, headers, body)


def _target(request: Request, location: str) -> tuple[SplitResult, str]:
    try:
        url = urljoin(request.url, location).partition("#")[0]
        target = urlsplit(url)
        _origin(target)  # a port that is no number raises here
    except ValueError as error:
        raise RedirectRefused(request.service, "a redirect leads to no valid URL") from error
    if target.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise RedirectRefused(request.service, "a redirect leads to no plain URL")
    return target, url


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
