"""What moves on a terminal: `course-runner watch` and `course-runner top`.

They read Redis, and `top` what the executor holds; they change nothing. With rich and a terminal
they draw, elsewhere they print plain lines, so that a pipe or a log gets something readable.
"""
