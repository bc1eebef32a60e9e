"""How a command ends when it cannot do what was asked; `kdlib.__main__` turns both into one line."""


class UsageError(ValueError):
    """The arguments are wrong: exit code 2."""


class Failed(RuntimeError):
    """What was asked for did not work out: exit code 1."""
