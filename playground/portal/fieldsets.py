"""Leaving out the fields nobody asked for, as the platform does.

In: a JSON value and the `fields[<class>]` parameters of a query. Out: the value with only those
fields, and always `_class` and `id`. A class without a parameter keeps all; `@min` adds the title;
`@default` and `@all` keep all.
"""

from collections.abc import Mapping
from typing import Any

ALWAYS = frozenset({"_class", "id"})
MINIMUM = frozenset({"title"})
EVERYTHING = frozenset({"@all", "@default"})


def parse(query: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Class to the names asked for."""
    found = {}
    for name, value in query.items():
        if name.startswith("fields[") and name.endswith("]"):
            found[name[7:-1]] = frozenset(part.strip() for part in value.split(","))
    return found


def keep(value: Any, wanted: Mapping[str, frozenset[str]]) -> Any:
    """The value with every object of a named class reduced to what was asked for."""
    if isinstance(value, list):
        return [keep(one, wanted) for one in value]
    if not isinstance(value, dict):
        return value
    names = wanted.get(value.get("_class", ""))
    return {
        key: keep(one, wanted) for key, one in value.items() if names is None or _asked(key, names)
    }


def _asked(key: str, names: frozenset[str]) -> bool:
    return (
        key in ALWAYS
        or key in names
        or bool(names & EVERYTHING)
        or ("@min" in names and key in MINIMUM)
    )
