"""What can go wrong, as a tree. Every message names the argument, the rule, what came and the remedy.

ExportError
├── TargetError         a name, version or folder that can not be exported to
├── ConversionError     a format that can not be made of this model
├── VerificationError   a format that does not load, or does not say what the source says
└── ArtifactError       an exported folder that is missing, damaged or holds something else
"""

from typing import ClassVar

__all__ = ["ArtifactError", "ConversionError", "ExportError", "TargetError", "VerificationError"]


class ExportError(ValueError):
    """Base of all errors of this package; the command line prints it in one line and ends with `exit_code`."""

    exit_code: ClassVar[int] = 1


class TargetError(ExportError):
    """A name, version or folder that can not be exported to."""

    exit_code = 2


class ConversionError(ExportError):
    """A format that can not be made of this model."""


class VerificationError(ExportError):
    """A format that does not load, or does not say what the source says."""


class ArtifactError(ExportError):
    """An exported folder that is missing, damaged or holds something else."""

    exit_code = 2
