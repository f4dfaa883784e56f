"""What can go wrong with an answer: one small class per fault.

In: values. Out: values. See the README for the whole table.
"""

from playground.portal.actions.answers import (
    Challenge,
    EndlessNext,
    Expired,
    Garbage,
    Html,
    Json,
    Redirect,
    Status,
)
from playground.portal.actions.base import Action
from playground.portal.actions.ranges import (
    IgnoreIfRange,
    IgnoreRange,
    NoEtag,
    RangeWith200,
    ReplaceObject,
    ResizeObject,
    Unsatisfiable,
    WeakEtag,
    WrongContentRange,
)
from playground.portal.actions.sending import (
    Chunked,
    CutBody,
    Delay,
    Drop,
    Gzip,
    Rate,
    StallBody,
    Unframed,
)

__all__ = [
    "Action",
    "Challenge",
    "Chunked",
    "CutBody",
    "Delay",
    "Drop",
    "EndlessNext",
    "Expired",
    "Garbage",
    "Gzip",
    "Html",
    "IgnoreIfRange",
    "IgnoreRange",
    "Json",
    "NoEtag",
    "RangeWith200",
    "Rate",
    "Redirect",
    "ReplaceObject",
    "ResizeObject",
    "StallBody",
    "Status",
    "Unframed",
    "Unsatisfiable",
    "WeakEtag",
    "WrongContentRange",
]
