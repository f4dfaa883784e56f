"""A webhook receiver that checks every delivery strictly and answers as a script tells it.

In: secrets and a script. Out: HTTP on one port, and every delivery with its verdicts.
"""

from playground.receiver.receiver import Delivery, Receiver
from playground.receiver.script import Answer

__all__ = ["Answer", "Delivery", "Receiver"]
