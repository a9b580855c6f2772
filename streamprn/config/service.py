"""Settings of what is around the engine: the control interface, other machines, the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamprn.config.checked import NOT_EMPTY, Checked
from streamprn.config.rules import setting

__all__ = ["ClusterConfig", "HttpConfig", "LogConfig"]


@dataclass(frozen=True, slots=True)
class HttpConfig(Checked):
    """The control interface: streams, health, metrics and pictures over HTTP."""

    bind: str | None = setting(
        None,
        "Address to serve, such as 127.0.0.1:8088; null serves nothing, port 0 takes any free "
        "port; an address that other machines reach needs token_file",
        pattern=r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}",
        pattern_doc="HOST:PORT or [IPV6]:PORT",
    )
    token_file: str | None = setting(
        None,
        "File that holds the token which every request must bring, readable by its owner alone; "
        "null asks for none",
        pattern=NOT_EMPTY,
    )
    preview_fps: float = setting(
        10.0, "Most pictures a second in overlay.mjpg", unit="frames/s", minimum=0.1, maximum=60
    )
    max_viewers: int = setting(
        8, "Most pictures and films served at a time", unit="viewers", minimum=1, maximum=64
    )


@dataclass(frozen=True, slots=True)
class ClusterConfig(Checked):
    """The head of a cluster of machines."""

    address: str = setting(
        "127.0.0.1:6379",
        "Address of the head, HOST:PORT, which other machines join",
        pattern=NOT_EMPTY,
    )
    folder: str | None = setting(
        None,
        "Folder for what this machine keeps of the cluster; null is STREAMPRN_HOME/cluster",
        pattern=NOT_EMPTY,
    )


@dataclass(frozen=True, slots=True)
class LogConfig(Checked):
    """What the program says on standard error."""

    level: Literal["error", "warning", "info", "debug"] = setting(
        "info",
        "Least important message shown",
        choices=("error", "warning", "info", "debug"),
    )
    format: Literal["text", "json"] = setting(
        "text",
        "Lines to read, or one JSON object a line with time, level, stream and run",
        choices=("text", "json"),
    )
