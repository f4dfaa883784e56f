"""Playground: a course portal, a webhook receiver and sample media, all real, all on this machine.

In: course descriptions and fault scripts. Out: HTTP servers that behave like the outside world on a
good or a bad day. It knows nothing of the programs it is used to try out, so that neither can share
the other's mistake.
"""
