"""Whether a publisher lives, in words and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from streamprn.wire.subscribe import Life

if TYPE_CHECKING:
    from streamprn.wire.subscribe import Liveness


def silence(liveness: Liveness) -> str:
    """What is wrong with a publisher, in words; nothing while it lives or is still waited for."""
    if liveness.state is Life.SILENT:
        return f"silent for {liveness.silent_s:.0f} s"
    return "publisher ended" if liveness.state is Life.ENDED else ""


def liveness_json(liveness: Liveness) -> dict[str, Any]:
    """A change of a publisher's life as plain data for one JSON line."""
    known = math.isfinite(liveness.silent_s)
    return {
        "kind": "liveness",
        "state": str(liveness.state),
        "silent_s": round(liveness.silent_s, 3) if known else None,
        "run": liveness.run,
        "restarts": liveness.restarts,
    }
