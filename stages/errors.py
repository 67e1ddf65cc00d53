"""The one family of errors for what a person can mend.

They are printed as they are, without a traceback, and end the command with
their status; every other exception keeps its traceback.
"""


class UserError(Exception):
    """Something to mend: a line, or several lines, each naming the file, the key, the rule and the value."""

    status = 1  # that the command exits with
