"""Text in CSV cells that spreadsheets would run as a formula: an apostrophe before it makes it plain text.

OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection.
"""

import re
from typing import Any

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def neutral(value: Any) -> Any:
    """Put an apostrophe before text that begins like a formula; numbers, also negative ones, do not change.

    >>> neutral("=1+1"), neutral(-1.5), neutral("plain")
    ("'=1+1", -1.5, 'plain')
    """
    if isinstance(value, str) and FORMULA.match(value):
        return f"'{value}"
    return value


def literal(text: str) -> str:
    """Undo ``neutral``.

    >>> literal("'=1+1"), literal("'tis")
    ('=1+1', "'tis")
    """
    if text.startswith("'") and FORMULA.match(text):
        return text[1:]
    return text
