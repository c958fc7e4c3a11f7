"""Errors a user can act on.

Exception
└── InputError    the user's input is wrong: one line on stderr, exit code 2
"""


class InputError(Exception):
    """The user's input is wrong.

    The message is one line: which setting, what was expected, what came, what to do.
    """
