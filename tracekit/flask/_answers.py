"""Which of Flask's answers run no code of the application's any more."""

from __future__ import annotations

from types import MethodType

from werkzeug.wrappers import response as _response
from werkzeug.wsgi import ClosingIterator

_CLOSE = _response.Response.close
_ENCODED = getattr(getattr(_response, "_iter_encoded", None), "__code__", None)


def is_passive(result: object) -> bool:
    """Whether a WSGI body is werkzeug's of one piece of bytes, as of views that return text.

    Werkzeug goes through a list, encodes what is text, and calls what ``call_on_close`` was given.
    All that is looked up in dictionaries, where nobody's properties are; what is not found (by
    another version of werkzeug, say) makes it a body like any other.
    """
    if type(result) is not ClosingIterator:
        return False
    try:
        of_pieces, of_response = result._callbacks  # of the iterator first
        if type(of_response) is not MethodType or of_response.__func__ is not _CLOSE:
            return False
        response = vars(of_response.__self__)
        pieces = response["response"]
        return (
            type(pieces) is list
            and len(pieces) == 1
            and type(pieces[0]) is bytes
            and not response["_on_close"]
            and of_pieces.__self__.gi_code is _ENCODED  # type: ignore[attr-defined]
        )
    except Exception:
        return False
