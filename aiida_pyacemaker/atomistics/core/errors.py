"""Errors that users see: each says where, what is wrong, and what helps."""

from __future__ import annotations


class InputError(ValueError):
    """Something that was given cannot be used.

    Science says `InputError('files', 'there is no file `x`', 'paths are relative to the run file')`; who handed the
    value on knows where it came from and says so with :meth:`under`: `raise error.under('structures')`.

    :param key: dotted name of the parameter, such as `label.ecutwfc`; empty for the input as a whole.
    :param problem: what is wrong with it.
    :param remedy: what helps; empty where the problem says it.
    """

    def __init__(self, key: str, problem: str, remedy: str = ''):
        self.key, self.problem, self.remedy = key, problem, remedy
        super().__init__(key, problem, remedy)

    def __str__(self) -> str:
        where = f'{self.key}: ' if self.key else ''
        return f'{where}{self.explanation}'

    @property
    def explanation(self) -> str:
        """The problem and the remedy, without the key."""
        return f'{self.problem}; {self.remedy}' if self.remedy else self.problem

    def under(self, prefix: str) -> InputError:
        """Return the same error with the key below another one."""
        key = f'{prefix}.{self.key}' if self.key else prefix
        return type(self)(key, self.problem, self.remedy)


class MissingEngineError(RuntimeError):
    """An engine that a task needs is not installed; the message names the remedy."""


class MissingLibraryError(ImportError):
    """A library of an extra is not installed; the message names the command that installs it."""
