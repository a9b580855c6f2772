"""What the pages need of whoever serves them: one pipeline, or many workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamprn.serve.liveness import Health

__all__ = ["Figures", "Steered", "Watched"]


class Steered(Protocol):
    """Lists and changes streams; see `Control`, which is the one of a pipeline."""

    def streams(self) -> list[dict[str, Any]]:
        """Every stream."""

    def stream(self, name: str) -> dict[str, Any]:
        """One of them."""

    def exists(self, name: str) -> bool:
        """Whether there is a stream of this name."""

    def add(self, body: object) -> dict[str, Any]:
        """Add a stream."""

    def change(self, name: str, body: object) -> dict[str, Any]:
        """Change settings of a stream."""

    def remove(self, name: str) -> None:
        """Remove a stream."""

    def pause(self, name: str) -> dict[str, Any]:
        """Pause a stream."""

    def resume(self, name: str) -> dict[str, Any]:
        """Let a stream go on."""

    def reload(self) -> dict[str, Any]:
        """Read the configuration file again."""

    def not_ready(self) -> list[dict[str, str]]:
        """The streams that must be live and are not."""


class Watched(Protocol):
    """Whether somebody gets on with the work; see `Liveness`."""

    @property
    def health(self) -> Health:
        """As the last tick found it."""

    def tick(self) -> Health:
        """Look once; called about once a second."""


class Figures(Protocol):
    """What Prometheus reads; see `Metrics`."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, for the header `Accept` of a request."""
