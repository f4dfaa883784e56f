"""A fake course platform with its CDN: courses as data, faults on demand, everything counted.

In: courses and tokens. Out: HTTP on two ports. See the README beside this folder for the whole
manual.
"""

from playground.portal import actions, courses
from playground.portal.accounts import ALL
from playground.portal.portal import TOKEN, Place, Portal

__all__ = ["ALL", "TOKEN", "Place", "Portal", "actions", "courses"]
