"""Errors that a user can act on: what happened, where, and what to do next."""

from __future__ import annotations

from streamprn.redact import redact, redact_text


class StreamPRNError(Exception):
    """Base of every error that StreamPRN raises on purpose.

    Args:
        what: the situation in one clause, naming the file, key or address.
        hint: the next step for the user, or an empty string.

    `str(error)` is one line without credentials; the command line prints it and exits with
    `exit_code`.
    """

    exit_code = 2

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.what = " ".join(redact_text(what).split())
        self.hint = " ".join(redact_text(hint).split())
        super().__init__(f"{self.what} ({self.hint})" if self.hint else self.what)


class InputError(StreamPRNError, ValueError):
    """A value, file or address given by the user cannot be used."""


class ConfigError(InputError):
    """A key or value of the configuration is wrong; `where` names file and key."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.where = where
        super().__init__(f"{where}: {what}" if where else what, hint=hint)


class TooManyPixelsError(InputError):
    """A picture or clip has more pixels than it may have."""


class NoSuchStreamError(InputError):
    """No stream has the name that was asked for."""


class StreamExistsError(ConfigError):
    """A stream has the name already that another one was to get."""


class SourceError(StreamPRNError):
    """A video source cannot be opened or read; `uri` carries no credentials."""

    def __init__(self, what: str, *, uri: str, hint: str = "") -> None:
        self.uri = redact_text(redact(uri))
        super().__init__(f"{self.uri}: {what}", hint=hint)


class SourceRefusedError(SourceError):
    """The server answered, and said no: wrong credentials or wrong path. Retried slowly."""


class CredentialsError(SourceRefusedError):
    """A server refuses user and password, or their rights."""


class EngineError(StreamPRNError):
    """An engine bundle is missing, damaged, or does not fit its network."""


class BackendError(StreamPRNError):
    """A runtime or device is absent or failed; another backend may still work."""


class FaceLostError(BackendError):
    """A face cannot be computed any more: the GPU that holds its vertices has failed."""


class PublishError(StreamPRNError):
    """The publisher cannot bind or send."""


class WireError(StreamPRNError, ValueError):
    """A received message does not follow docs/wire-format.md."""
