"""What the dispatcher and the job's program must agree on; standard library only.

Whatever both programs spell (names, exit codes, the message, the log line) is spelled here and
nowhere else, so that one side cannot drift from the other. Nothing here does input or output
but `log` (standard output) and `env` (files of the settings folder).
"""
