from __future__ import annotations

import numpy as np
import pytest

from streamprn.apps.covering import covered_texels, occluded_texels, without_cover
from streamprn.apps.reconstruction import Reconstruction
from streamprn.apps.textures import vertex_mask_map
from streamprn.engines.topology import Topology

SKIN, HAIR, BLACK, GLARE = (205, 155, 125), (70, 45, 25), (15, 15, 18), (250, 235, 225)


@pytest.fixture(scope="module")
def topology(face: Reconstruction) -> Topology:
    return face.topology


def skin(topology: Topology) -> np.ndarray:
    return np.where(topology.mask[:, :, None], np.uint8(SKIN), np.uint8(0))


def covered(texture: np.ndarray, topology: Topology, *, chin: bool = False) -> np.ndarray:
    return covered_texels(texture, np.ones(topology.vertex_count, bool), topology, chin=chin)


def test_plain_skin_is_not_covered_even_at_the_rim(topology: Topology) -> None:
    for chin in (False, True):
        assert not covered(skin(topology), topology, chin=chin).any()


def test_a_fringe_is_found_with_a_margin(topology: Topology) -> None:
    texture = skin(topology)
    texture[:25][topology.mask[:25]] = HAIR
    found = covered(texture, topology)
    assert found[:30][topology.mask[:30]].all()
    assert not found[40:].any()


def test_hair_down_the_cheek_is_found_and_the_arm_of_spectacles_is_not(
    topology: Topology,
) -> None:
    hair, arm = skin(topology), skin(topology)
    hair[60:150, :20][topology.mask[60:150, :20]] = HAIR
    arm[75:95, :80][topology.mask[75:95, :80]] = BLACK
    assert covered(hair, topology)[80:140, 2:18][topology.mask[80:140, 2:18]].all()
    assert not covered(arm, topology).any()


def test_what_does_not_reach_the_rim_is_part_of_the_face(topology: Topology) -> None:
    texture = skin(topology)
    texture[75:90, 70:110] = BLACK
    texture[15:25, 120:136] = GLARE
    assert not covered(texture, topology).any()


def test_the_shadow_below_the_chin_counts_only_where_asked(topology: Topology) -> None:
    texture = skin(topology)
    texture[246:, 90:166][topology.mask[246:, 90:166]] = BLACK
    assert not covered(texture, topology).any()
    assert covered(texture, topology, chin=True)[246:, 100:150][topology.mask[246:, 100:150]].all()


def test_cover_is_replaced_by_the_skin_beside_it(topology: Topology) -> None:
    texture = skin(topology)
    texture[:25][topology.mask[:25]] = HAIR
    bare = without_cover(texture, covered(texture, topology), topology.mask)
    assert np.abs(bare[topology.mask].astype(int) - SKIN).max() < 4


def test_a_texture_that_is_all_covered_is_left_alone(topology: Topology) -> None:
    texture = skin(topology)
    np.testing.assert_array_equal(without_cover(texture, topology.mask, topology.mask), texture)


def test_a_thing_before_the_mouth_is_an_occlusion_and_eyes_beside_hair_are_not(
    topology: Topology,
) -> None:
    texture = skin(topology)
    texture[160:, 60:200][topology.mask[160:, 60:200]] = (60, 100, 170)
    texture[60:130, :60][topology.mask[60:130, :60]] = HAIR
    texture[72:88, 60:110] = BLACK
    seen = np.ones(topology.vertex_count, bool)
    found = occluded_texels(texture, seen, topology)
    assert found[165:, 70:190][topology.mask[165:, 70:190]].all()
    assert found[90:120, 5:40][topology.mask[90:120, 5:40]].all()
    assert not found[76:84, 85:105].any()
    assert not found[100:150, 80:200].any()


@pytest.mark.parametrize("side", [np.s_[:, :128], np.s_[:, 128:]], ids=["right", "left"])
def test_a_brow_near_hair_is_no_hair(topology: Topology, side: tuple[slice, slice]) -> None:
    """Dark brows, and hair that touches one of them: both brows are edited alike."""
    texture = skin(topology)
    brows = vertex_mask_map(topology.parts["brows"], topology)
    texture[brows] = HAIR
    one = np.zeros_like(brows)
    one[side] = brows[side]
    rows, columns = np.nonzero(one)
    tail = columns.min() if side[1].start is None else columns.max()
    strip = np.s_[:, max(tail - 6, 0) : tail + 7]
    hair = np.zeros_like(brows)
    hair[: int(rows.max())][strip] = True
    texture[hair & topology.mask] = HAIR
    found = covered(texture, topology)
    assert found[:20][strip].any(), "the hair itself is found"
    assert not found[brows].any()
