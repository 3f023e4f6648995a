"""Errors that are the user's to fix: the command line prints them as one message, without a traceback."""

INTERRUPTED = 130
"""The exit status of a command stopped by Ctrl-C or SIGTERM: what a shell expects."""


class UserError(Exception):
    """Base of the errors whose message says all there is to say."""


class ConfigError(UserError):
    """A configuration has an unknown key, an ill-typed value or contradicts itself."""


class DataError(UserError):
    """A data file is absent, truncated or not what it should be."""
