"""Building plans for real with TensorRT-RTX, which needs no GPU for that."""

from dataclasses import replace

import pytest

from streamprn.engines import registry
from streamprn.engines.bundle import Bundle
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.engines.runtimes.tensorrt import obtain_plan, open_runtime, recipe_for, unusable
from streamprn.engines.tensorrt import api as packages
from streamprn.engines.tensorrt.build import Recipe, batches, build
from streamprn.engines.tensorrt.plans import PlanStore
from streamprn.errors import BackendError, EngineError, InputError
from tests.support.resfcn import make_random_bundle

needs_rtx = pytest.mark.skipif(
    "tensorrt-rtx" not in packages.installed(), reason="tensorrt-rtx is not installed"
)


@pytest.fixture(scope="module")
def rtx() -> packages.Api:
    return packages.load("tensorrt-rtx")


@pytest.fixture(scope="module")
def prn(tmp_path_factory) -> Bundle:
    return Bundle.load(make_random_bundle(tmp_path_factory.mktemp("engines") / "prn"))


@pytest.fixture(scope="module")
def facemesh() -> Bundle:
    return registry.find("facemesh")


@pytest.fixture(scope="module")
def facemesh2() -> Bundle:
    return registry.find("facemesh2")


@pytest.fixture
def store(tmp_path) -> PlanStore:
    return PlanStore(tmp_path)


@needs_rtx
@pytest.mark.parametrize(
    ("precision", "megabytes"), [("fp32", (50, 60)), ("tf32", (50, 60)), ("fp16", (25, 31))]
)
def test_the_prn_network_builds_in_every_precision(rtx, prn, store, precision, megabytes):
    recipe = Recipe(precision, max_batch=16)
    plan, reason = obtain_plan(rtx, prn.name, prn.networks, recipe, store=store)
    assert reason == "there was none"
    assert megabytes[0] < len(plan.data) / 1e6 < megabytes[1]
    assert plan.key.profile == (1, 4, 16)
    assert plan.key.version == rtx.version
    assert plan.key.target == "any RTX GPU"
    assert obtain_plan(rtx, prn.name, prn.networks, recipe, store=store) == (plan, "")


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_the_default_engine_builds_in_every_precision(rtx, facemesh, store, precision):
    plan, _ = obtain_plan(
        rtx, facemesh.name, facemesh.networks, Recipe(precision, max_batch=16), store=store
    )
    assert 2 < len(plan.data) / 1e6 < 10
    assert (plan.key.precision, plan.key.profile) == (precision, (1, 4, 16))


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_engine_with_irises_builds(rtx, facemesh2, store, precision):
    recipe = Recipe(precision, max_batch=16)
    plan, _ = obtain_plan(rtx, facemesh2.name, facemesh2.networks, recipe, store=store)
    assert 3 < len(plan.data) / 1e6 < 12


@needs_rtx
def test_the_engine_that_was_trained_here_builds(rtx, store):
    bundle = registry.find("prn")
    recipe = Recipe("fp16", max_batch=16)
    plan, _ = obtain_plan(rtx, bundle.name, bundle.networks, recipe, store=store)
    assert 1 < len(plan.data) / 1e6 < 10


@needs_rtx
def test_the_default_engine_builds_for_named_gpus(rtx, facemesh, store):
    recipe = Recipe("tf32", max_batch=8, compute_capabilities=("8.6", "sm89"))
    plan, _ = obtain_plan(rtx, facemesh.name, facemesh.networks, recipe, store=store)
    assert plan.key.target == "sm86 sm89"
    assert len(plan.data) > 2_000_000
    assert store.path("facemesh", plan.key).name == "tensorrt-rtx-tf32-b8-sm86-sm89.plan"


@needs_rtx
def test_the_profile_holds_the_batches_of_the_recipe(rtx, facemesh):
    builder = rtx.module.Builder(rtx.logger)
    network = builder.create_network(rtx.strongly_typed())
    assert rtx.module.OnnxParser(network, rtx.logger).parse(facemesh.networks["fp16"].read_bytes())
    profile = batches(builder, network, Recipe(max_batch=12), "facemesh")
    shapes = [tuple(shape) for shape in profile.get_shape("input")]
    assert shapes == [(1, 192, 192, 3), (4, 192, 192, 3), (12, 192, 192, 3)]


@needs_rtx
def test_what_was_built_ahead_serves_smaller_batches_unless_the_exact_plan_is_wanted(
    rtx, facemesh, store
):
    arguments = (rtx, facemesh.name, facemesh.networks)
    ahead, _ = obtain_plan(*arguments, Recipe(max_batch=16), store=store)
    assert obtain_plan(*arguments, Recipe(max_batch=8), store=store) == (ahead, "")
    exact, reason = obtain_plan(*arguments, Recipe(max_batch=8), store=store, exact=True)
    assert (exact.key.profile, reason) == ((1, 4, 8), "there was none")


@needs_rtx
def test_a_damaged_network_is_refused_by_name(rtx, facemesh, tmp_path, store):
    whole = facemesh.networks["fp32"].read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no network" * 50):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged)
        with pytest.raises(EngineError, match=r"damaged\.onnx: tensorrt-rtx cannot read"):
            obtain_plan(rtx, "x", {"fp32": path}, Recipe("fp32"), store=store)
    assert store.plans("x") == []


@needs_rtx
def test_a_damaged_plan_is_built_again(rtx, facemesh, store):
    recipe = Recipe("fp32", max_batch=1)
    plan, _ = obtain_plan(rtx, "facemesh", facemesh.networks, recipe, store=store)
    path = store.path("facemesh", plan.key)
    path.write_bytes(path.read_bytes()[:-100])
    again, reason = obtain_plan(rtx, "facemesh", facemesh.networks, recipe, store=store)
    assert reason.endswith("plan refused: it is damaged or cut short")
    assert again.key == plan.key


@needs_rtx
def test_a_network_with_a_fixed_batch_is_refused(rtx, facemesh):
    import onnx

    model = onnx.load(facemesh.networks["fp32"])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(EngineError, match="the batch, and nothing else, must be free"):
        build(rtx, model.SerializeToString(), Recipe("fp32"))


@needs_rtx
def test_an_unknown_compute_capability_lists_the_known_ones(rtx, facemesh, store):
    recipe = Recipe("fp32", compute_capabilities=("4.2",))
    with pytest.raises(InputError, match=r"capability 4\.2 .*SM86"):
        obtain_plan(rtx, "facemesh", facemesh.networks, recipe, store=store)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"max_batch": 0}, "must be 1 to 64, not 0"),
        ({"max_batch": 65}, "must be 1 to 64, not 65"),
    ],
)
def test_a_wrong_recipe_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Recipe(**options)


def test_a_precision_that_the_engine_lacks_is_refused(facemesh):
    single = {"fp32": facemesh.networks["fp32"]}
    with pytest.raises(EngineError, match=r"mine has no fp16 network .*fp32"):
        Recipe("fp16").network("mine", single)


def test_the_typical_batch_is_never_above_the_largest():
    assert Recipe(max_batch=2).typical_batch == 2
    assert Recipe(max_batch=16).typical_batch == 4


def test_half_precision_is_taken_where_it_is_offered(prn, facemesh):
    spec = NetworkSpec("x", prn.networks, 256, max_batch=8)
    assert recipe_for(spec) == Recipe("fp16", 8)
    assert recipe_for(replace(spec, precision="fp32")) == Recipe("fp32", 8)
    single = {"fp32": facemesh.networks["fp32"]}
    assert recipe_for(replace(spec, networks=single)).precision == "tf32"


def test_a_flavour_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(packages.MODULES, "tensorrt", ("no_such_module",))
    with pytest.raises(BackendError, match=r"tensorrt is not installed \(pip install tensorrt\)"):
        packages.load("tensorrt")


def test_an_unknown_flavour_is_refused():
    with pytest.raises(InputError, match="no TensorRT flavour 'x'"):
        packages.load("x")


@needs_rtx
def test_the_package_has_every_name_that_is_used(rtx):
    for name, members in packages.USED.items():
        missing = [member for member in members if not hasattr(getattr(rtx.module, name), member)]
        assert not missing, name


@pytest.mark.skipif(unusable() == "", reason="there is a GPU")
def test_without_a_gpu_the_runtime_says_so(facemesh):
    reason = unusable()
    assert "NVIDIA driver" in reason or "installed" in reason
    if packages.installed():
        with pytest.raises(BackendError):
            from streamprn.engines.cuda import driver

            driver.driver()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "precision", "bound"),
    [
        ("prn", "fp32", 0.3),
        ("prn", "fp16", 1.5),
        ("facemesh", "fp32", 0.1),
        ("facemesh", "fp16", 0.5),
        ("facemesh2", "fp32", 0.1),
        ("facemesh2", "fp16", 0.7),
    ],
)
def test_a_plan_gives_the_maps_of_the_cpu(request, tmp_path, monkeypatch, name, precision, bound):
    import numpy as np

    from streamprn.engines.engine import open_engine
    from streamprn.engines.verify import compare, invented_pictures

    monkeypatch.setenv("STREAMPRN_HOME", str(tmp_path))
    if reason := unusable():
        pytest.skip(reason)
    bundle = request.getfixturevalue(name)
    crops = invented_pictures(3, bundle.crop.size)
    cpu = open_engine(bundle.folder, backend="openvino", threads=2)
    gpu = open_engine(bundle.folder, backend="tensorrt", precision=precision, max_batch=4)
    assert compare(gpu, cpu, crops).largest_px < bound
    together = gpu.infer(crops).maps.copy()
    alone = np.concatenate([gpu.infer(crop[None]).maps.copy() for crop in crops])
    assert np.abs(together - alone).max() < bound
    gpu.close()


@pytest.mark.gpu
def test_a_runtime_frees_its_memory(prn, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPRN_HOME", str(tmp_path))
    if reason := unusable():
        pytest.skip(reason)
    spec = NetworkSpec("prn", prn.networks, 256, max_batch=4)
    for _ in range(5):
        runtime = open_runtime(spec)
        runtime.close()
        runtime.close()
