"""Records to parts and back; parts that lie."""

import contextlib
import time
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.camera import Camera
from streamprn.errors import WireError
from streamprn.kernels.quantise import quantise
from streamprn.records import BLENDSHAPES, Kind, SourceState, SourceStatus
from streamprn.wire import (
    FRAME_KINDS,
    decode,
    dequantise,
    encode_faces,
    encode_frame,
    encode_stats,
    encode_status,
    encode_topology,
    peek,
)
from tests.support.wire import HEIGHT, WIDTH, make_result, make_topology


def parts_of(kind: Kind, result=None, **options) -> list[bytes]:
    result = result or make_result()
    parts = encode_frame(kind, result, encode_faces(result, visible=True), 77, **options)
    return [bytes(part) for part in parts]


def all_kinds() -> list[list[bytes]]:
    status = SourceStatus("cam1", SourceState.LIVE, "because", 3, 5)
    every = [parts_of(kind, make_result(faces=2)) for kind in FRAME_KINDS]
    every.append(parts_of(Kind.MESH, mesh_format="int16"))
    every.append(encode_topology("cam1", make_topology(), 0, 1, 2))
    every.append(encode_status(status, 4, 1, 2))
    every.append(encode_stats("cam1", {"fps": 29.5, "name": "x", "none": None}, 4, 1, 2))
    return [[bytes(part) for part in parts] for parts in every]


def with_header(parts: list[bytes], **changes) -> list[bytes]:
    header = msgpack.unpackb(parts[1])
    for key, value in changes.items():
        header[key] = value
    return [parts[0], msgpack.packb(header), *parts[2:]]


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_everything_about_a_frame_survives(kind):
    result = make_result(seq=7, faces=2)
    message = decode(parts_of(kind, result), received_ns=123, received_wall_ns=456)
    frame = result.frame
    assert (message.stream, message.kind, message.seq) == ("cam1", kind, 7)
    assert message.pts_ns == frame.pts_ns
    assert message.frame_size_wh == (WIDTH, HEIGHT)
    assert message.spans_ns == result.spans_ns
    assert (message.received_ns, message.received_wall_ns) == (123, 456)
    stamps = message.stamps
    assert (stamps.captured, stamps.decoded) == (frame.captured_ns, frame.decoded_ns)
    assert (stamps.tracked, stamps.inferred) == (result.tracked_ns, result.inferred_ns)
    assert (stamps.published, stamps.wall) == (77, frame.wall_ns)
    for sent, got in zip(result.faces, message.faces, strict=True):
        assert (got.id, got.score, got.roi) == (sent.id, sent.score, sent.roi)
        np.testing.assert_array_equal(got.box_xyxy, sent.box_xyxy)
        np.testing.assert_array_equal(got.landmarks, sent.landmarks)
        np.testing.assert_array_equal(got.visible, sent.visible)
        for name in sent.pose.__slots__:
            np.testing.assert_array_equal(getattr(got.pose, name), getattr(sent.pose, name))


def test_arrays_of_every_kind_survive():
    result = make_result(faces=2)
    mesh, texture, depth, image = (decode(parts_of(kind, result)) for kind in FRAME_KINDS[1:])
    assert set(mesh.vertices) == set(texture.textures) == {1, 2}
    for face in result.faces:
        np.testing.assert_array_equal(mesh.vertices[face.id], face.vertices)
        np.testing.assert_array_equal(texture.textures[face.id], face.texture)
    np.testing.assert_array_equal(depth.depth, result.depth)
    np.testing.assert_array_equal(image.image, result.frame.image.rgb)


def test_a_topology_survives():
    sent = make_topology()
    got = decode([bytes(part) for part in encode_topology("cam1", sent, 0, 1, 2)])
    for name in ("triangles", "uv", "texel", "canonical", "landmarks", "pose_weights", "mirror"):
        array = getattr(got, name)
        np.testing.assert_array_equal(array, getattr(sent, name))
        assert array.dtype == getattr(sent, name).dtype
    assert set(got.parts) == set(sent.parts)
    for name, mask in sent.parts.items():
        np.testing.assert_array_equal(got.parts[name], mask)
    assert (got.name, got.licence, got.provenance) == (sent.name, sent.licence, sent.provenance)


def test_a_status_and_statistics_survive():
    status = SourceStatus("cam1", SourceState.FAILED, "no such path", 3, 99)
    message = decode([bytes(part) for part in encode_status(status, 4, 1, 2)])
    assert (message.state, message.cause, message.attempt) == ("failed", "no such path", 3)
    assert (message.seq, message.stamps.wall) == (4, 99)
    stats = {"fps": 29.5, "drops": 3, "backend": "x", "gpu": None, "live": True}
    message = decode([bytes(part) for part in encode_stats("cam1", stats, 5, 1, 2)])
    assert message.stats == stats


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_a_frame_without_faces_is_still_a_message(kind):
    message = decode(parts_of(kind, make_result(faces=0)))
    assert message.faces == ()


def test_which_landmarks_can_be_seen_is_told_only_where_it_is_wanted():
    result = make_result()
    parts = encode_frame(Kind.MESH, result, encode_faces(result, visible=False), 77)
    assert decode([bytes(part) for part in parts]).faces[0].visible is None


def headers(result, **asked) -> list[dict]:
    """The faces of a `face` message, as MessagePack has them."""
    parts = encode_frame(Kind.FACE, result, encode_faces(result, visible=False, **asked), 77)
    return msgpack.unpackb(parts[1])["faces"]


def test_the_metric_pose_is_there_only_where_the_camera_is_known():
    assert all("metric" not in face for face in headers(make_result(faces=2)))
    result = make_result(camera=Camera(500, 510, 16, 12, pupil_distance_mm=60))
    sent = result.faces[0].metric_pose(result.frame.camera)
    (face,) = decode(parts_of(Kind.FACE, result)).faces
    got = face.metric_pose
    for name in ("rotation", "translation_mm", "eyes_mm", "quaternion"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))
        assert not getattr(got, name).flags.writeable
    for name in ("mm_per_unit", "yaw", "pitch", "roll", "error_px"):
        assert getattr(got, name) == getattr(sent, name)


def test_blendshapes_are_there_only_where_they_are_wanted():
    result = make_result(faces=2)
    assert all("blendshapes" not in face for face in headers(result))
    for face, header in zip(result.faces, headers(result, blendshapes=True), strict=True):
        assert header["blendshapes"] == face.blendshapes.tolist()
    without = replace(result, faces=(replace(result.faces[0], blendshapes=None),))
    assert [face["blendshapes"] for face in headers(without, blendshapes=True)] == [None]


def with_blendshapes(values) -> list[bytes]:
    result = make_result()
    faces = headers(result, blendshapes=True)
    faces[0]["blendshapes"] = values
    return with_header(parts_of(Kind.FACE, result), faces=faces)


def test_blendshapes_survive_and_those_without_a_name_are_left_out():
    sent = np.linspace(0, 1, 52, dtype=np.float32)
    for values in (sent.tolist(), [*sent.tolist(), 0.5]):
        (face,) = decode(with_blendshapes(values)).faces
        np.testing.assert_array_equal(face.blendshapes, sent)
        assert face.blendshapes.dtype == np.float32
        assert not face.blendshapes.flags.writeable
    assert decode(with_blendshapes(None)).faces[0].blendshapes is None
    assert decode(parts_of(Kind.FACE)).faces[0].blendshapes is None
    with pytest.raises(WireError, match="51 blendshapes, expected 52"):
        decode(with_blendshapes(sent[:51].tolist()))


def test_the_gaze_is_there_only_where_it_is_wanted_and_survives():
    result = make_result()
    (sent,) = result.faces
    assert "gaze" not in headers(result)[0]
    for gaze in (sent.gaze, None):
        given = replace(result, faces=(replace(sent, gaze=gaze),))
        parts = encode_frame(Kind.FACE, given, encode_faces(given, visible=False, gaze=True), 1)
        (got,) = decode([bytes(part) for part in parts]).faces
        if gaze is None:
            assert got.gaze is None
            continue
        for side in ("left", "right"):
            eye, expected = getattr(got.gaze, side), getattr(gaze, side)
            np.testing.assert_array_equal(eye.direction, expected.direction)
            assert not eye.direction.flags.writeable
            assert (eye.yaw, eye.pitch) == (expected.yaw, expected.pitch)
            assert eye.openness == expected.openness


def test_a_topology_names_the_blendshapes():
    got = decode([bytes(part) for part in encode_topology("cam1", make_topology(), 0, 1, 2)])
    assert got.blendshapes == BLENDSHAPES
    assert len(set(BLENDSHAPES)) == 52


def test_received_arrays_are_read_only_views_of_the_parts():
    parts = parts_of(Kind.MESH)
    vertices = decode(parts).vertices[1]
    assert not vertices.flags.writeable
    assert np.shares_memory(vertices, np.frombuffer(parts[2], np.uint8))


def test_sent_arrays_are_views_of_the_result():
    result = make_result()
    parts = encode_frame(Kind.MESH, result, encode_faces(result, visible=True), 1)
    assert np.shares_memory(np.asarray(parts[2]), result.faces[0].vertices)


def test_arrays_that_are_not_in_c_order_are_sent_right():
    result = make_result()
    vertices = np.asfortranarray(result.faces[0].vertices)
    turned = replace(result, faces=(replace(result.faces[0], vertices=vertices),))
    np.testing.assert_array_equal(decode(parts_of(Kind.MESH, turned)).vertices[1], vertices)


def test_a_score_that_the_engine_does_not_give_arrives_as_nan():
    result = make_result()
    unknown = replace(result, faces=(replace(result.faces[0], score=float("nan")),))
    assert np.isnan(decode(parts_of(Kind.FACE, unknown)).faces[0].score)


def test_ages_count_from_the_capture():
    message = decode(parts_of(Kind.FACE))
    assert 0 <= message.age_ns() < 10**10
    assert 0 <= message.wall_age_ns() < 10**10
    assert decode(parts_of(Kind.FACE), received_ns=80).transit_ns == 3


def test_the_age_of_a_status_counts_from_its_publication():
    status = SourceStatus("cam1", SourceState.LIVE)
    parts = encode_status(status, 0, time.monotonic_ns(), time.time_ns())
    assert 0 <= decode([bytes(part) for part in parts]).age_ns() < 10**10


COORDINATES = st.floats(-1e5, 1e5, width=32)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 200), st.just(3)), elements=COORDINATES))
def test_int16_vertices_are_off_by_half_a_step_at_most(vertices):
    steps, scale, offset = quantise(vertices)
    back = dequantise(steps, scale, offset).astype(np.float64)
    rounding = 4 * np.spacing(np.abs(vertices).max(axis=0, initial=1.0).astype(np.float32))
    assert (np.abs(back - vertices) <= 0.5 * scale * (1 + 1e-5) + rounding).all()


ANYTHING = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 150), st.just(3)), elements=ANYTHING))
def test_int16_vertices_are_finite_whatever_they_were(vertices):
    steps, scale, offset = quantise(vertices)
    assert steps.dtype == np.int16
    assert steps.shape == vertices.shape
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    assert np.isfinite(offset).all()


def test_an_int16_mesh_arrives_as_float32_within_its_error_bound():
    result = make_result(vertices=1000)
    parts = parts_of(Kind.MESH, result, mesh_format="int16")
    assert len(parts[2]) == 1000 * 3 * 2
    got = decode(parts).vertices[1]
    assert got.dtype == np.float32
    assert np.abs(got - result.faces[0].vertices).max() < 300 / 65534 / 2 * 1.02


def test_keys_kinds_of_arrays_and_values_that_are_new_are_ignored():
    parts = parts_of(Kind.MESH)
    header = msgpack.unpackb(parts[1])
    extra = {"name": "colours", "face": 1, "dtype": "|u1", "shape": [2], "unit": "rgb"}
    header |= {"later": {"deep": [1, {}]}, "arrays": [*header["arrays"], extra]}
    header["faces"][0]["mood"] = "calm"
    message = decode([parts[0], msgpack.packb(header), parts[2], b"ab"])
    assert set(message.vertices) == {1}


def test_another_version_is_refused_with_both_numbers():
    with pytest.raises(WireError, match="version 2, this reader knows 1"):
        decode(with_header(parts_of(Kind.FACE), v=2))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"stream": "cam2"}, "under the topic"),
        ({"seq": -1}, "seq"),
        ({"arrays": []}, "0 arrays announced, 1 sent"),
        ({"faces": [{"id": 1}]}, "cannot be read"),
        ({"stamps": []}, "cannot be read"),
    ],
)
def test_a_header_that_contradicts_itself_is_a_wire_error(changes, complaint):
    with pytest.raises(WireError, match=complaint):
        decode(with_header(parts_of(Kind.MESH), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O"},
        {"dtype": "<f8"},
        {"dtype": "nonsense"},
        {"shape": [10**9, 10**9, 3]},
        {"shape": [50, 4]},
        {"shape": [150]},
        {"shape": [-50, -3]},
        {"shape": [1] * 40},
    ],
)
def test_an_array_that_does_not_fit_its_description_is_a_wire_error(changes):
    parts = parts_of(Kind.MESH)
    described = msgpack.unpackb(parts[1])["arrays"][0] | changes
    with pytest.raises(WireError):
        decode(with_header(parts, arrays=[described]))


@pytest.mark.parametrize("shape", [[2**64 - 1, 0], [2**63, 0], [2**31 - 1] * 3 + [0]])
def test_an_empty_array_of_an_absurd_shape_is_a_wire_error(shape):
    parts = parts_of(Kind.MESH)
    described = msgpack.unpackb(parts[1])["arrays"][0] | {"shape": shape}
    changed = with_header(parts, arrays=[described])
    with pytest.raises(WireError):
        decode([*changed[:2], b""])


def test_a_topology_that_points_outside_itself_is_a_wire_error():
    sent = make_topology()
    sent.mirror[3] = sent.vertex_count
    with pytest.raises(WireError, match="mirror"):
        decode([bytes(part) for part in encode_topology("cam1", sent, 0, 1, 2)])


def test_a_state_of_a_later_version_is_a_text_to_show():
    parts = [bytes(part) for part in encode_status(SourceStatus("a", SourceState.LIVE), 0, 1, 2)]
    message = decode(with_header(parts, status={"state": "asleep", "cause": "it is night"}))
    assert (message.state, message.cause) == ("asleep", "it is night")
    assert not isinstance(message.state, SourceState)


@pytest.mark.parametrize("state", SourceState)
def test_every_state_of_a_source_survives(state):
    parts = [bytes(part) for part in encode_status(SourceStatus("a", state), 0, 1, 2)]
    assert decode(parts).state is state


@pytest.mark.parametrize("status", [{}, {"state": 3}, {"state": None}, "live"])
def test_a_status_without_a_state_in_words_is_a_wire_error(status):
    parts = [bytes(part) for part in encode_status(SourceStatus("a", SourceState.LIVE), 0, 1, 2)]
    with pytest.raises(WireError):
        decode(with_header(parts, status=status))


@pytest.mark.parametrize("parts", all_kinds(), ids=lambda parts: parts[0].decode())
def test_a_message_without_its_arrays_or_own_key_is_a_wire_error_or_empty(parts):
    header = msgpack.unpackb(parts[1])
    for key in ("status", "stats", "topology"):
        header.pop(key, None)
    header["arrays"] = []
    try:
        decode([parts[0], msgpack.packb(header)])
    except WireError:
        return
    assert parts[0].split(b"/")[1] in (b"face", b"mesh", b"depth", b"texture")


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_are_wire_errors(parts):
    with pytest.raises(WireError):
        decode(parts)


EVERY = all_kinds()


@settings(max_examples=400)
@given(st.sampled_from(EVERY), st.data())
def test_a_damaged_message_is_a_message_or_a_wire_error(parts, data):
    damaged = list(parts)
    where = data.draw(st.integers(0, len(parts) - 1))
    part = bytearray(damaged[where])
    for _ in range(data.draw(st.integers(1, 4))):
        if part:
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        part = part[: data.draw(st.integers(0, len(part)))]
    damaged[where] = bytes(part)
    with contextlib.suppress(WireError):
        decode(damaged)


def test_a_header_nested_a_million_deep_is_a_wire_error():
    bomb = b"\x81\xa1x" + b"\x91" * 1_000_000 + b"\xc0"
    with pytest.raises(WireError):
        peek(bomb)
    with pytest.raises(WireError):
        decode([b"cam1/face", bomb])


def test_peeking_tells_the_number_alone():
    assert peek(parts_of(Kind.FACE, make_result(seq=12))[1]).seq == 12
    with pytest.raises(WireError):
        peek(b"\x80")
