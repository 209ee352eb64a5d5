"""The exceptions of this room."""


class AttentionError(ValueError, AssertionError, RuntimeError):
    """Attention was asked for something it cannot do.

    The message is one line: the rule, what was received and, where it is not plain, what to do.
    torch's module raises AssertionError for some of these cases and RuntimeError for others; code
    written for it keeps working because this error is all three.
    """


class OutputError(AttentionError):
    """An attention's forward returned something else than (output, weights or None)."""
