"""What the exit codes of `manage.py counter` say."""

FAILED = 1
USAGE = 2
NOT_FOUND = 3
PROBLEMS = 4
UNREACHABLE = 5
INTERRUPTED = 130  # by Ctrl-C, as shells have it
