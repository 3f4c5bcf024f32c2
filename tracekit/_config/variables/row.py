"""One row of the environment table, and how it reads its variable into a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tracekit._config import values as v
from tracekit._config.schema import SETTINGS
from tracekit._display import cited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._config.layers import Layer


class Joint(NamedTuple):
    """A parser that looks at other variables too."""

    parse: Callable[[str, Mapping[str, str]], object]


class Row(NamedTuple):
    """One variable: the setting that it feeds, who knows it, what reads its text."""

    name: str
    setting: str
    example: str
    known_to: str = "tracekit"
    wire: str = ""
    """Only for one receiver: "jaeger" (Thrift over HTTP) or "otlp"; "" for any."""
    note: str = ""
    """What the setting's own help does not say."""
    instead: str = ""
    """What to write today, if the variable is deprecated."""
    parse: Callable[[str], object] | Joint | None = None
    """What reads the text, where the setting's own check does not read it as it is written."""

    @property
    def help(self) -> str:
        """Return one sentence or two about the variable."""
        if self.instead:
            return f"Old name of `{self.instead}`."
        said = SETTINGS[self.setting].help
        return said[:1].upper() + said[1:] + "." + (f" {self.note}" if self.note else "")

    def old(self, name: str, known_to: str) -> Row:
        """Return the row of an older name of this variable."""
        return self._replace(name=name, known_to=known_to, instead=self.name)

    def read(self, environ: Mapping[str, str], layer: Layer) -> None:
        """Read this row's variable, which is set, into ``layer``; never raises."""
        written = environ[self.name]
        try:
            if self.parse is None:  # ``Layer.give`` has every value checked
                found: object = written
            elif isinstance(self.parse, Joint):
                found = self.parse.parse(written, environ)
            else:
                found = self.parse(written)
        except ValueError as error:
            layer.complain(self.setting, self.name, written, str(error))
            return
        if not isinstance(found, v.Several):
            found = v.Several({self.setting: found})
        for complaint in found.complaints:
            layer.complain(self.setting, self.name, written, complaint)
        for setting, value in found.values.items():
            layer.give(setting, value, self.name, written=written, wire=self.wire)
        if found.note:
            layer.notes.append(f"{self.name}={cited(written)} {found.note}")
        if self.instead:
            layer.notes.append(f"{self.name} is an old name; today's is {self.instead}")
