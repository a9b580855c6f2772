"""Small meshes shared by the kernel tests."""

from __future__ import annotations

import pytest

from tests.reference.meshes import Mesh, face_mesh


@pytest.fixture(scope="session")
def face() -> Mesh:
    return face_mesh(48)
