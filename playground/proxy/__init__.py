"""A TCP proxy that makes a fast, safe loopback slow or broken.

In: the address of a real server. Out: another address that leads there, by a way whose weather can
be changed: latency, freezes, cuts, refusals.
"""

from playground.proxy.proxy import Proxy

__all__ = ["Proxy"]
