"""Cameras over TLS: who they are is checked before they get a password."""

from __future__ import annotations

import ssl

import pytest
import trustme

from streamprn.records import SourceState
from tests.support.clips import draw
from tests.support.http_server import HttpServer

USER = ("admin", "hunter2")


@pytest.fixture(scope="module")
def images(clips):
    clip = clips.moving(frames=45)
    return [draw(transforms, 320, 240) for transforms in clip.transforms[:10]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, and the file that tells of it."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, str(path)


def serve(images, authority, host):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return HttpServer(images, credentials=USER, tls=context)


def test_a_camera_with_a_trusted_certificate_plays(images, authority, play):
    ca, path = authority
    with serve(images, ca, "127.0.0.1") as server:
        player = play(server.url("/mjpeg", "admin:hunter2"), ca_file=path)
        assert len(player.take(3, timeout=6)) == 3


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", False), ("other.example", True)])
def test_a_camera_that_cannot_prove_who_it_is_gets_no_password(
    images, authority, play, host, trusted
):
    ca, path = authority
    with serve(images, ca, host) as server:
        options = {"ca_file": path} if trusted else {}
        player = play(server.url("/mjpeg", "admin:hunter2"), **options)
        cause = player.wait_for(SourceState.RECONNECTING).cause
        assert "its certificate is not trusted" in cause
        assert "ca_file" in cause
        assert server.requests == []


def test_who_says_so_trusts_anybody(images, authority, play):
    ca, _ = authority
    with serve(images, ca, "other.example") as server:
        player = play(server.url("/mjpeg", "admin:hunter2"), tls_verify=False)
        assert len(player.take(3, timeout=6)) == 3
