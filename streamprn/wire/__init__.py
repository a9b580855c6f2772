"""The wire format, version 1: records to message parts and back. See docs/wire-format.md.

Nothing here knows about sockets: `streamprn.wire.publish` and `streamprn.wire.subscribe` do.
"""

from __future__ import annotations

from streamprn.records import FRAME_KINDS
from streamprn.wire.decode import decode, peek
from streamprn.wire.encode import (
    MeshFormat,
    Parts,
    encode_faces,
    encode_frame,
    encode_stats,
    encode_status,
    encode_topology,
)
from streamprn.wire.header import VERSION
from streamprn.wire.messages import (
    DepthMessage,
    Face,
    FaceMessage,
    FrameMessage,
    ImageMessage,
    MeshMessage,
    Message,
    StatsMessage,
    StatusMessage,
    TextureMessage,
    TopologyMessage,
)
from streamprn.wire.quantise import dequantise
from streamprn.wire.topics import check_stream, kinds_wanted, parse_topic, topic

__all__ = [
    "FRAME_KINDS",
    "VERSION",
    "DepthMessage",
    "Face",
    "FaceMessage",
    "FrameMessage",
    "ImageMessage",
    "MeshFormat",
    "MeshMessage",
    "Message",
    "Parts",
    "StatsMessage",
    "StatusMessage",
    "TextureMessage",
    "TopologyMessage",
    "check_stream",
    "decode",
    "dequantise",
    "encode_faces",
    "encode_frame",
    "encode_stats",
    "encode_status",
    "encode_topology",
    "kinds_wanted",
    "parse_topic",
    "peek",
    "topic",
]
