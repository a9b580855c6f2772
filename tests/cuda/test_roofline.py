import pytest

from streamprn.errors import InputError
from tools.cuda import roofline
from tools.cuda.toolchain import CAPABILITIES, Resources

pytest.importorskip("numba_cuda", reason="numba-cuda missing: pip install '.[cuda-tools]' (Linux)")


def found():
    one = Resources(registers=32, shared=0, stack=0, spills=0, instructions={"FFMA": 7})
    return {name: dict.fromkeys(CAPABILITIES, one) for name in roofline.costs(roofline.Workload())}


def test_every_kernel_has_a_cost_and_every_cost_a_kernel():
    from streamprn.kernels.cuda.catalogue import KERNELS

    assert set(roofline.costs(roofline.Workload())) == set(KERNELS)


def test_where_a_kernel_moves_twice_the_least_bytes_it_says_why():
    for name, cost in roofline.costs(roofline.Workload()).items():
        assert cost.least <= cost.ours, name
        assert cost.ours <= 2 * cost.least or cost.why, name


def test_the_documentation_has_the_tables_of_every_kernel():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text()
    made = text.split(roofline.BEGIN)[1].split(roofline.END)[0]
    for name in roofline.costs(roofline.Workload()):
        assert made.count(f"`{name}`") == 2


def test_tables_replace_what_stands_between_the_marks():
    text = f"before\n{roofline.BEGIN}\nold\n{roofline.END}\nafter\n"
    made = roofline.replace_tables(text, roofline.tables(found()))
    assert "old" not in made
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert "| `warp_yuv` | 32 |" in made
    with pytest.raises(InputError, match="no place"):
        roofline.replace_tables("nothing", "")
