"""The error that a user sees as one line."""


class UserError(ValueError):
    """Something a user can put right.

    The message is one line: what was wrong, what was received, and what to do. Commands print it
    without a traceback and end with exit code 2.
    """
