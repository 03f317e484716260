"""Absolute paths in the texts of a page: only what lies below a known folder, or the last parts, is shown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

LEADING = re.compile(r"""(?<![\w:/\\<.~-])(?:[A-Za-z]:|~)?(?:[\\/][^\s\\/'"<>|]+)+[\\/](?=[^\s\\/])""")
"""The folders at the start of an absolute path, without its last part."""


class Shortened:
    """Shortens the absolute paths in texts; ``values`` are settings, whose paths may contain spaces."""

    def __init__(self, values: Any):
        roots = sorted({text.rstrip("/\\") for text in _texts(values) if _absolute(text)}, key=len, reverse=True)
        self._roots = [
            (re.compile(rf"(?<![\w:/\\.~-]){re.escape(root)}(?![\w-])"), re.split(r"[\\/]", root)[-1]) for root in roots
        ]

    def text(self, text: str) -> str:
        """Shorten the paths in a text; data URIs do not change."""
        if text.startswith("data:image/"):
            return text
        for root, name in self._roots:
            text = name.join(root.split(text))
        return LEADING.sub("", text)

    def __call__(self, value: Any) -> Any:
        """Shorten the paths in all texts of nested values; HTML and what is no text does not change."""
        if isinstance(value, str) and not isinstance(value, Markup):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self(name): self(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(entry) for entry in value]
        return value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _texts(entry)


def _absolute(text: str) -> bool:
    return re.fullmatch(r"(?:[A-Za-z]:[\\/]|~?/|\\\\)[^\n]+", text) is not None
