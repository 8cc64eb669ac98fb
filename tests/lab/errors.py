"""Errors of the lab.  Each ends with what to install, or with the last lines of the guest's console."""


class LabError(Exception):
    """Anything that keeps the lab from doing what was asked; a test that sees one fails."""


class MissingPrerequisiteError(LabError):
    """A program or kernel module the lab needs is not installed; the text is the command that installs it."""


class GuestDiedError(LabError):
    """The guest ended, or never became ready, while something was expected of it."""


class GuestTimeoutError(LabError):
    """A command reached its time limit; it has been killed, and the guest with it if that did not help."""


class CommandFailedError(LabError):
    """A command that had to succeed ended with another exit status than 0."""
