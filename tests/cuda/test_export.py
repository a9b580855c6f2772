import json
import re

import pytest

from streamprn.kernels import export
from tests.cuda.test_compile import missing
from tools.cuda import toolchain

pytestmark = pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} missing")


def header(text):
    lines = [line[3:] for line in text.splitlines() if line.startswith("// ")]
    end = lines.index("}")
    return json.loads("\n".join(lines[: end + 1]))


def test_every_kernel_is_written_with_what_a_launcher_must_know(tmp_path, capsys):
    assert export.main([str(tmp_path), "--cc", "7.5"]) == 0
    from streamprn.kernels.cuda.catalogue import KERNELS

    assert "sm_75" in capsys.readouterr().out
    assert {path.stem for path in tmp_path.iterdir()} == set(KERNELS)
    for path in tmp_path.iterdir():
        text = path.read_text()
        said = header(text)
        assert said["name"] == path.stem
        entry = re.search(rf"\.visible \.entry {path.stem}\((.*?)\)", text, re.DOTALL)
        entries = entry[1].count(".param")
        assert entries == sum(parameter["entries"] for parameter in said["parameters"])


def test_an_exported_file_assembles(tmp_path):
    export.main([str(tmp_path)])
    cubin, _ = toolchain.assemble((tmp_path / "resolve_depth.ptx").read_text(), (8, 6))
    assert cubin.startswith(b"\x7fELF")


def test_a_capability_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main([str(tmp_path), "--cc", "turing"])
    assert "write it as 75" in capsys.readouterr().err
