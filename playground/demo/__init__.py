"""The demo: the whole system at work on one machine, with two accidents, and the proof.

    orders -> course-runner local -> cut, kill -> watch -> checks -> summary

In: a folder. Out: a story on the screen, everything that was made in that folder, and an exit code
that is 0 only if every check held. The portal, the webhook receiver, the backend with its rows and
the accidents are the demo's; all else is the product as users run it, started as a child process.
"""
