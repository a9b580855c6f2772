"""Every kernel through NVVM and ptxas for every architecture in use; no GPU needed."""

import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamprn.errors import BackendError
from streamprn.kernels.export import ptx
from tools.cuda import toolchain

missing = [
    name
    for name, found in (
        ("numba-cuda", importlib.util.find_spec("numba_cuda")),
        ("ptxas", toolchain.find_tool("ptxas")),
    )
    if found is None
]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"{' and '.join(missing)} missing: pip install '.[cuda-tools]' (Linux)"
)

# Registers of a thread: at 96 and 128 threads a block, an SM holds at least 5 blocks.
REGISTERS = 96
# Bytes of a block: well below the 48 KiB that every GPU gives without asking.
SHARED = 24 * 1024


def kernels():
    from streamprn.kernels.cuda.catalogue import KERNELS

    return KERNELS


NAMES = sorted(kernels()) if not missing else []


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_fits_every_architecture_without_spilling(name):
    text = ptx(kernels()[name], (7, 5))
    with ThreadPoolExecutor(2) as pool:
        built = pool.map(lambda cc: toolchain.assemble(text, cc)[1], toolchain.CAPABILITIES)
        for capability, resources in zip(toolchain.CAPABILITIES, built, strict=True):
            assert resources.spills == 0, capability
            assert resources.stack == 0, capability
            assert 0 < resources.registers <= REGISTERS, capability
            assert resources.shared <= SHARED, capability


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_uses_neither_shuffles_nor_local_memory(name):
    text = ptx(kernels()[name], (7, 5))
    assert "shfl" not in text
    assert ".local" not in text
    assert "vote" not in text


def test_quantising_rounds_each_operation_as_the_cpu_does():
    text = ptx(kernels()["settle_vertices"], (7, 5))
    assert "div.rn.f32" in text
    assert not re.findall(r"fma\.|\.approx|\.ftz", text)
    # ptxas fuses a product with the sum that takes it.
    products = set(re.findall(r"mul\.f32\s+(%f\d+),", text))
    summands = re.findall(r"(?:add|sub)\.f32\s+%f\d+, (%?\w+), (%?\w+);", text)
    assert products
    assert products.isdisjoint(one for pair in summands for one in pair)


@pytest.mark.parametrize("capability", [(9, 0), (12, 0)])
def test_the_newest_targets_compile_from_source_too(capability):
    text = ptx(kernels()["draw_triangles"], capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert toolchain.assemble(text, capability)[1].spills == 0


def test_bad_ptx_is_one_clear_error():
    with pytest.raises(BackendError, match="ptxas"):
        toolchain.assemble(".version 9.9\nnonsense", (7, 5))
