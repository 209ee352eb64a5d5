"""The schema of every key that minitf owns, and the errors that users see."""

from minitf.config.errors import UserError

__all__ = ["UserError"]
