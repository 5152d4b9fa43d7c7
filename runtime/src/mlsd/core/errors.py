"""The one exception that a user may see: what is wrong, where, and what was expected."""


class UserError(Exception):
    """Bad input or a missing part; the command line prints the message and exits with code 2."""


class GateError(Exception):
    """A gate fired: the work was done and measured, and the number is not good enough (exit code 1)."""
