"""Errors a user can act on.

Exception
└── InputError         the user's input is wrong: one line on stderr, exit code 2
    └── StorageLost    the study's database was there and did not come back
"""


class InputError(Exception):
    """The user's input is wrong.

    The message is one line: which setting, what was expected, what came, what to do.
    """


class StorageLost(InputError):
    """The study's database was reached before and cannot be any more; the study is kept."""
