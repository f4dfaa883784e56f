"""The operator's page and its API: a process of its own that looks at Redis and the executor.

Not part of the dispatcher's process, whose memory and pace must not hang on who is looking. It
writes nothing but what the command line writes too: orders, requests, the pause, dead letters.
"""
