"""What of a URL may be exported: secrets in user info, query and fragment are not.

A parameter is taken for a secret by its name, in any letter case and percent-encoded or not;
rather one value too few in a trace than one token too many. Linear in the input.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTED = "REDACTED"

# Patterns are compiled when something is first looked at: it takes a start as long as ten modules.
# Parts of names that say "secret" wherever they stand …
_PART = (
    "token|secret|passw|pwd|signature|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key"
    "|auth(?!or(?!i))|session|jwt|assertion|ticket|^x-amz-|^x-goog-|^x-oss-"
)
# … and names that say it only when they stand alone (AWS and Azure signatures, OAuth codes).
_WHOLE = frozenset(
    {
        "awsaccesskeyid",
        "sig",
        "sign",
        "hmac",
        "key",
        "code",
        "pass",
        "pin",
        "otp",
        "sid",
        "subscription-key",
    }
)
# Each of those names has one of these in it, and a user stands before an ``@``: without any there
# is nothing to redact, and one look tells that of most queries. It distinguishes cases, unlike the
# patterns: so it is done in a twentieth of the time, on text in lower case.
_HINT = (
    "[%@]|assertion|auth|code|credential|hmac|jwt|key|otp|pass|pin|pwd|secret|session|sid|sig"
    "|ticket|token|x-amz-|x-goog-|x-oss-"
)
# A value may hold a URL of its own (redirect targets).
_NESTED = r"(?:^|[?&;#])([^?&;#=]{1,256})="
_USER_INFO = r"//[^/?#\s]*@"
_QUOTED_USER = r"(://)[^/?#\s@'\"]*@"
_QUOTED_QUERY = r"(?<=[?#])[^\s'\"<>)]+"
_SEPARATORS = "([&;])"


@functools.cache
def _finding(pattern: str, flags: int = re.IGNORECASE) -> Callable[[str], object]:
    """Return the search for one of the patterns above; ``re`` has a cache too, but in Python."""
    return re.compile(pattern, flags).search


def is_secret(name: str) -> bool:
    """Whether a parameter of that (decoded) name holds what must not leave the process."""
    return name.lower().strip() in _WHOLE or _finding(_PART)(name) is not None


def redact_query(query: str) -> str:
    """Return a query string (or fragment) with the values of secret parameters replaced."""
    # (Outside of ASCII there are letters that are an s or a k in another case.)
    if query.isascii() and not _finding(_HINT, 0)(query.lower()):
        return query
    pieces = re.split(_SEPARATORS, query)
    for at in range(0, len(pieces), 2):
        name, equals, value = pieces[at].partition("=")
        if value and (is_secret(_decoded(name)) or _hides_secret(value)):
            pieces[at] = f"{name}{equals}{REDACTED}"
    return "".join(pieces)


def redact_url(url: str) -> str:
    """Return an absolute URL without user info and without secrets in query and fragment."""
    if "@" not in url and "#" not in url:  # as nearly all are
        rest, question, query = url.partition("?")
        return f"{rest}?{redact_query(query)}" if query else url
    rest, hash_, fragment = url.partition("#")
    rest, question, query = rest.partition("?")
    scheme, separator, rest = rest.partition("://")
    if not separator:
        scheme, rest = "", scheme
    elif "@" in rest:
        end = min((at for at in (rest.find("/"), rest.find("\\")) if at >= 0), default=len(rest))
        authority, path = rest[:end], rest[end:]
        user, at_sign, host = authority.rpartition("@")
        if at_sign:
            mask = f"{REDACTED}:{REDACTED}" if ":" in user else REDACTED
            rest = f"{mask}@{host}{path}"
    if question:
        rest = f"{rest}?{redact_query(query)}"
    if hash_:
        rest = f"{rest}#{redact_query(fragment)}"
    return f"{scheme}{separator}{rest}"


def redact_text(text: str) -> str:
    """Return free text, an error message say, with the URLs that it quotes redacted."""
    if "=" not in text and "@" not in text:
        return text
    text = re.sub(_QUOTED_USER, rf"\1{REDACTED}@", text)
    return re.sub(_QUOTED_QUERY, lambda found: redact_query(found.group()), text)


def _decoded(name: str) -> str:
    return unquote_plus(name) if "%" in name or "+" in name else name


def _hides_secret(value: str) -> bool:
    """Whether a value is a URL, or a query, that contains a secret itself."""
    if "%" not in value and "=" not in value and "@" not in value:
        return False
    for _ in range(3):  # encoded once for every time that it was handed on
        decoded = _decoded(value)
        if re.search(_USER_INFO, decoded) or any(map(is_secret, re.findall(_NESTED, decoded))):
            return True
        if decoded == value:
            break
        value = decoded
    return False
