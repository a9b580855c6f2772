"""What a publisher has done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PublishCounters"]


@dataclass(slots=True)
class PublishCounters:
    """What a publisher did so far.

    Attributes:
        messages: sent, each counted once whatever the number of subscribers; without those
            on `_publisher/status`.
        bytes: of those messages.
        overruns: times that a subscriber's queue was found full; from then on that subscriber
            misses messages, which it sees as gaps in `seq`, until it reads again.
        ignored: messages from peers that were no usable subscription.
    """

    messages: int = 0
    bytes: int = 0
    overruns: int = 0
    ignored: int = 0
