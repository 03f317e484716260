"""Names that people type: two spellings of one name, and words that stand for no name."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from heatproof.errors import DataError
from heatproof_cohorts.tables import Row

ABSENT = frozenset(("na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "unknown", "-", "--", ".", "?", ""))
"""Words by which tables say that there is no value; ``nan`` is what pandas writes."""


def spelling_key(name: str) -> str:
    """Reduce a name to what it is whichever way it is spelled: numbers by value; case, blanks, ``_`` and ``-`` aside.

    >>> spelling_key("Mild  DR") == spelling_key("mild_dr"), spelling_key("1.0") == spelling_key("01")
    (True, True)
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    try:
        return str(float(text))
    except ValueError:
        return re.sub(r"[\s_-]+", " ", text).strip()


def require_single_spellings(sources: Mapping[str, str], kind: str, advice: str) -> None:
    """Raise ``DataError`` where two names are spellings of one; ``sources``: name → where it occurs first."""
    spellings: dict[str, str] = {}
    for name, source in sources.items():
        first = spellings.setdefault(spelling_key(name), name)
        if first != name:
            raise DataError(
                f"{kind} {first!r} ({sources[first]}) and {name!r} ({source}) differ in their spelling only; {advice}"
            )


def require_names(sources: Mapping[str, str], kind: str, advice: str) -> None:
    """Raise ``DataError`` for a name by which tables say that there is none; ``sources`` as above."""
    for name, source in sources.items():
        if name.casefold() in ABSENT:
            raise DataError(f"{kind} {name!r} ({source}) may be a name, or say that there is none; {advice}")


def require_patients(rows: Iterable[Row]) -> None:
    """Raise ``DataError`` where the column ``patient`` has two spellings of one name, or a word for none."""
    patients = first_sources((row["patient"], row.source) for row in rows)
    require_single_spellings(patients, "patients", "one person must have one name: correct the table.")
    require_names(patients, "patient", "leave the patient empty where it is not known, or give another name.")


def first_sources(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name → the source where it occurs first, without empty names."""
    sources: dict[str, str] = {}
    for name, source in names:
        if name:
            sources.setdefault(name, source)
    return sources
