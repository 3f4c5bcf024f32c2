"""The way in: from a carrier of any kind to a context."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter

from tracekit.propagation._extracted import enter, fill
from tracekit.propagation._headers import collect, pairs_of
from tracekit.propagation._reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tracekit._context import Headers
    from tracekit.propagation._remote import Extracted

NOTHING: Extracted = (None, ())
"""What most requests from outside say."""


class Extractor(Reader):
    """Extracts from what holds headers: a carrier of OpenTelemetry's, or what an edge is given."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Return ``context`` (None: an empty one) with what ``carrier`` says. Never raises."""
        try:
            if type(carrier) is dict and getter is default_getter:
                plain: dict[str, str] = carrier  # type: ignore[assignment] # codecs do not trust it
                if self._reads.issuperset(plain):
                    if self._only in plain and len(plain) == 1:
                        parts = self._decode_only(plain[self._only], self._note)
                    else:
                        decode = self._decode  # a local, as in ``inject``
                        parts = decode(plain, self._note)  # as in ``_enter``
                    if parts is None:
                        return Context() if context is None else context
                    return fill(Context() if context is None else Context(context), parts, ())
                if "\n".join(plain).islower():  # nothing to fold: codecs can read it as it is
                    return self._enter(plain, context, self._capture(plain))
        except Exception:  # noqa: S110 - names or values that are no text: read below
            pass
        try:
            headers = self._gather(carrier, getter)
            return self._enter(headers, context, self._capture(headers))
        except Exception:  # a getter or a carrier of somebody else's
            self.counters.decode_error("carrier", "error")
            return Context() if context is None else context

    def extract_pairs(
        self, pairs: Iterable[tuple[str | bytes, object]], context: Context | None = None
    ) -> Context:
        """Like ``extract``, of header pairs (text or bytes) in any letter case with repetitions."""
        return enter(self.read_pairs(pairs), Context() if context is None else context)

    def read_pairs(self, pairs: Iterable[tuple[str | bytes, object]]) -> Extracted:
        """Return what header pairs say: ``extract_pairs`` in two steps.

        For who looks at what arrived before there is a context to ``enter``.
        """
        headers = self._found(pairs)
        return self._read(headers, self._capture(headers))

    def read_metadata(self, metadata: Iterable[tuple[str | bytes, object]]) -> Extracted:
        """Return what metadata says, as ``read_pairs``.

        Quickest for what gRPC itself received: named tuples of text, in lower case.
        """
        try:
            if type(metadata) is tuple:
                only, idle, alone = self._only, self._idle, None
                for name, value in metadata:  # nearly always one header that matters, if any
                    if name == only and alone is None and type(value) is str:
                        alone = value
                    elif name not in idle:
                        return self._read_received(metadata)
                return None if alone is None else self._decode_only(alone, self._note), ()
        except Exception:  # noqa: S110 - no text, no pairs: read below
            pass
        return self.read_pairs(metadata)

    def _read_received(self, metadata: tuple[tuple[str | bytes, object], ...]) -> Extracted:
        """Read more than one header, or others. May raise; then they are no text, no pairs."""
        reads, others, prefix = self._reads, self._captured, self._prefix
        found: dict[str, str] = {}
        for pair in metadata:
            name, value = pair
            if name not in reads:
                if pair.__class__ is tuple:
                    break  # not gRPC's own named one: in whatever case
                if name not in others and not name.startswith(prefix):  # type: ignore[arg-type]
                    continue
            if type(value) is not str or name in found:
                break  # bytes or a repetition: to be joined
            found[name] = value  # type: ignore[index] # text, as its prefix was looked at
        else:
            return self._read(found, self._capture(found))
        return self.read_pairs(metadata)

    def _found(self, pairs: Iterable[tuple[str | bytes, object]]) -> dict[str, str]:
        try:
            return self._wanted(pairs)
        except Exception:  # pairs that are none
            self.counters.decode_error("carrier", "error")
            return {}

    def _wanted(self, pairs: Iterable[tuple[str | bytes, object]]) -> dict[str, str]:
        """Return what concerns us; most headers of a request do not, and are not looked into."""
        reads, captured, prefix = self._reads, self._captured, self._prefix
        found: dict[str, str] = {}
        others: list[tuple[str, object]] = []  # repeated, or bytes
        for name, value in pairs:
            key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
            if key in reads or key in captured or key.startswith(prefix):
                if type(value) is str and key not in found:
                    found[key] = value
                else:
                    others.append((key, value))
        if not others:
            return found
        note = partial(self.counters.decode_error, "carrier")
        return collect([*found.items(), *others], note)

    def extract_environ(
        self, environ: Mapping[str, object], context: Context | None = None
    ) -> Context:
        """Like ``extract``, of a WSGI environ, whose headers are keys: ``HTTP_X_REQUEST_ID``."""
        return enter(self.read_environ(environ), Context() if context is None else context)

    def read_environ(self, environ: Mapping[str, object]) -> Extracted:
        """Return what a WSGI environ says: ``extract_environ`` in two steps."""
        names, prefix = self._environ_names, self._environ_prefix
        found = {}
        if not names.keys().isdisjoint(environ):  # most requests from outside have none of them
            found = {names[key]: environ[key] for key in environ if key in names}
        try:
            listed = "\n".join(environ)
        except TypeError:  # keys that are no text
            return self.read_environ({key: environ[key] for key in environ if type(key) is str})
        if prefix in listed:  # one look into all names is cheaper than one into each
            for key in environ:
                if key.startswith(prefix):
                    found[key[5:].replace("_", "-").lower()] = environ[key]
        if not found:
            return NOTHING
        headers: dict[str, str] = found  # type: ignore[assignment] # as in ``extract``
        try:
            return self._read(headers, self._capture(headers))
        except Exception:  # values that are no text, or no plain one
            return self.read_pairs((name, _plain(value)) for name, value in found.items())

    def read_raw(self, pairs: Iterable[tuple[bytes, bytes]]) -> Extracted:
        """Return what ASGI's header pairs say: bytes, names in lower case, repetitions."""
        names, prefix = self._raw_names, self._raw_prefix
        found: dict[str, str] = {}
        try:
            for pair in pairs:
                raw, value = pair
                if raw in names:
                    name = names[raw]
                elif raw.startswith(prefix):
                    name = raw.decode("latin-1")
                else:
                    continue
                if name in found:  # to be joined
                    return self.read_pairs(pairs)
                found[name] = value.decode("latin-1")
            return self._read(found, self._capture(found)) if found else NOTHING
        except Exception:  # no bytes, no pairs
            return self.read_pairs(pairs)

    def _gather(self, carrier: CarrierT, getter: Getter[CarrierT]) -> dict[str, str]:
        """Read a carrier of unknown type through its getter; names may be in any case."""
        note = partial(self.counters.decode_error, "carrier")
        if getter is default_getter:
            if hasattr(carrier, "items"):  # all values of a repeated name; ``get`` has one
                return collect(pairs_of(carrier), note)
            names = dict.fromkeys(getter.keys(carrier))
        else:
            # Some getters list no keys, or list them in another spelling, and still answer.
            names = dict.fromkeys(_listed(getter, carrier))
            lowered = {name.lower() for name in names}
            names.update(dict.fromkeys((self._reads | self._captured) - lowered))
        return collect(((name, getter.get(carrier, name)) for name in names), note)

    def _enter(
        self, headers: Mapping[str, str], context: Context | None, captured: Headers
    ) -> Context:
        """Return ``context`` with what lower-case ``headers`` say."""
        parts = self._decode(headers, self._note)
        if parts is None:
            if not captured:
                return Context() if context is None else context
            parts = self._not_joined(captured)
        return fill(Context() if context is None else Context(context), parts, captured)


def _listed(getter: Getter[CarrierT], carrier: CarrierT) -> Iterable[str]:
    """Return what ``getter`` lists; OpenTelemetry's own propagators never ask it."""
    try:
        return list(getter.keys(carrier))
    except Exception:  # not implemented, or None
        return ()


def _plain(value: object) -> object:
    """Return a value that can be worked with; a subclass of text may do anything."""
    return str.__str__(value) if issubclass(type(value), str) else value
