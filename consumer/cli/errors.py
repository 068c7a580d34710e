"""Error messages of the command line."""

import sys


def report(*problems: str) -> None:
    """Prints each problem as one line on stderr."""
    sys.stderr.writelines(f"consumer: {problem}\n" for problem in problems)
