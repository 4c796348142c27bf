"""The base is read-only, fingerprinted, and comes back bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import thickets.weights.base
from tests.conftest import build_model, build_tokenizer
from thickets.config import parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.engines.loading import _moved
from thickets.errors import EngineError, ModelError, WeightsError
from thickets.noise import normal
from thickets.types import Perturbation
from thickets.weights import ReadOnlyBase, canonical_tensors, fingerprint, moving, why_it_stays

DEMO = sorted(Path(__file__).parents[2].glob(".demo/*/model.safetensors"))


def test_tied_tensors_move_once_and_names_are_those_of_the_model() -> None:
    model = build_model("Llama")
    tensors = canonical_tensors(model)
    assert "model.embed_tokens.weight" in tensors
    assert "lm_head.weight" not in tensors
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_placed_perturbation_is_base_plus_step_times_noise_by_name(dtype: torch.dtype) -> None:
    model = build_model("Qwen2").to(dtype)
    tensors = canonical_tensors(model)
    before = {n: t.detach().clone() for n, t in tensors.items()}
    addresses = {n: t.data_ptr() for n, t in tensors.items()}
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "gaussian/1")
    base.place(Perturbation(seed=7, sigma=0.01, sign=-1))
    for name, tensor in tensors.items():
        wanted = (before[name].float() + torch.tensor(-0.01) * normal(7, name, tuple(tensor.shape))).to(dtype)
        ulps = (tensor.detach().float() - wanted.float()).abs()
        assert (ulps <= 1e-6 + wanted.float().abs() * torch.finfo(dtype).eps).all()
        assert not torch.equal(tensor.detach(), before[name])
        assert tensor.data_ptr() == addresses[name]
    base.verify()
    assert all(torch.equal(t.detach(), before[n]) for n, t in tensors.items())


def test_the_order_of_candidates_does_not_matter() -> None:
    model = build_model("Llama").to(torch.bfloat16)
    tensors = canonical_tensors(model)
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "rademacher/1")
    base.place(Perturbation(1, 0.01))
    first = fingerprint(tensors)
    for seed in range(2, 30):
        base.place(Perturbation(seed, 0.02))
    base.place(Perturbation(1, 0.01))
    assert fingerprint(tensors) == first
    base.verify()


def test_a_base_changed_behind_our_back_is_noticed() -> None:
    model = build_model("Llama")
    tensors = canonical_tensors(model)
    base = ReadOnlyBase(tensors, moving(tensors, ["*.mlp.*"], []), "gaussian/1")
    base.verify()
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    with pytest.raises(ModelError, match="changed during the run"):
        base.verify()


def test_the_fingerprint_is_of_names_types_shapes_and_bytes() -> None:
    tensor = torch.arange(6.0)
    prints = {
        fingerprint({"a": tensor}),
        fingerprint({"b": tensor}),
        fingerprint({"a": tensor.reshape(2, 3)}),
        fingerprint({"a": tensor.view(torch.int32)}),
        fingerprint({"a": tensor + 1}),
    }
    assert len(prints) == 5
    assert fingerprint({"a": tensor}) == fingerprint({"a": tensor.clone()})
    transposed = torch.arange(6.0).reshape(2, 3).t()
    assert fingerprint({"a": transposed}) == fingerprint({"a": transposed.contiguous()})


def test_scope_by_patterns() -> None:
    tensors = {
        "model.layers.0.mlp.up.weight": torch.nn.Parameter(torch.zeros(2)),
        "model.layers.0.attn.q.weight": torch.nn.Parameter(torch.zeros(2)),
        "model.visual.patch.weight": torch.nn.Parameter(torch.zeros(2)),
        "steps": torch.zeros(1),
        "packed": torch.nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False),
    }
    assert moving(tensors, ["*"], []) == ["model.layers.0.mlp.up.weight", "model.layers.0.attn.q.weight"]
    assert moving(tensors, ["*"], ["*.attn.*"]) == ["model.layers.0.mlp.up.weight"]
    assert moving(tensors, ["model.visual.patch.weight"], []) == ["model.visual.patch.weight"]
    with pytest.raises(WeightsError, match="no tensor is named like 'mlp'"):
        moving(tensors, ["mlp"], [])
    with pytest.raises(WeightsError, match="nothing to move"):
        moving(tensors, ["packe?"], [])
    for name, said in (("packed", "of type int8"), ("steps", "a buffer")):
        with pytest.raises(WeightsError, match=rf"weights\.include names {name}, which is {said}"):
            moving(tensors, ["*.mlp.*", name], [])


def test_what_quantised_checkpoints_keep_beside_their_weights_stays() -> None:
    def parameter(*shape: int, dtype: torch.dtype = torch.float32) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)

    scales = (
        "weight_scale", "weight_scale_inv", "input_scale", "weight_zero_point", "scales", "g_idx", "k_scale", "v_scale",
    )  # fmt: skip
    tensors: dict[str, torch.Tensor] = {f"model.layers.0.mlp.up_proj.{name}": parameter(2) for name in scales}
    tensors |= {
        "model.layers.0.mlp.up_proj.weight": parameter(2, 2, dtype=torch.float8_e4m3fn),
        "model.layers.0.mlp.up_proj.bias": parameter(2),
        "model.layers.0.mlp.up_proj.qweight": parameter(2, dtype=torch.int32),
        "model.scaled.weight": parameter(2),
    }
    assert moving(tensors, ["*"], []) == ["model.layers.0.mlp.up_proj.bias", "model.scaled.weight"]
    reasons = {name.rpartition(".")[2]: why_it_stays(name, tensor, ["*"], []) for name, tensor in tensors.items()}
    assert all(reasons[name] == "a quantisation scale" for name in scales)
    assert reasons["qweight"] == "of type int32"
    # A float tensor that happens to be called so moves for whoever names it outright.
    named = "model.layers.0.mlp.up_proj.scales"
    assert moving(tensors, [named], []) == [named]
    with pytest.raises(WeightsError, match=r"up_proj\.weight, which is of type float8_e4m3fn"):
        moving(tensors, ["model.layers.0.mlp.up_proj.weight"], [])


def test_why_a_tensor_stays() -> None:
    plain = torch.nn.Parameter(torch.zeros(2))
    assert why_it_stays("a.weight", plain, ["*"], []) is None
    assert why_it_stays("a.weight", plain, ["b.*"], []) == "not included"
    assert why_it_stays("a.weight", plain, ["*"], ["a.*"]) == "excluded"
    assert why_it_stays("model.visual.a.weight", plain, ["*"], []) == "in a vision tower"
    assert why_it_stays("model.visual.a.weight", plain, ["*.weight", "model.visual.b.*"], []) == "in a vision tower"
    assert why_it_stays("model.visual.a.weight", plain, ["*", "model.visual.a.*"], []) is None
    assert why_it_stays("model.visual.a.weight", plain, ["model.visual.*"], ["*.a.*"]) == "excluded"
    assert why_it_stays("a.weight", torch.zeros(2), ["*"], []) == "a buffer"


def test_a_model_without_data_is_refused() -> None:
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(WeightsError, match="meta device"):
        canonical_tensors(model)


def test_a_quantised_model_is_refused() -> None:
    model = build_model("Llama")
    model.config.quantization_config = {"quant_method": "fp8"}
    with pytest.raises(ModelError, match="is quantised, and its weights cannot take a step"):
        HuggingFaceEngine.start(parse({"model": "mine"}), model, build_tokenizer())


def test_a_quantised_folder_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    model = build_model("Llama")
    model.config.quantization_config = {"quant_method": "fp8"}
    model.config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="is quantised"):
        HuggingFaceEngine.start(parse({"model": str(tmp_path), "engine": {"device": "cpu"}}))


def odd_tensors() -> list[tuple[torch.Tensor, str]]:
    wide = torch.zeros(6, 8)
    return [
        (wide.t(), "shape [8, 6] has stride [1, 8]"),
        (wide[:, :4], "shape [6, 4] has stride [8, 1]"),
        (torch.zeros(3, 1).expand(3, 5), "shape [3, 5] has stride [1, 0]"),
        (torch.zeros(10)[::2], "shape [5] has stride [2]"),
        (wide.to_sparse(), "has no dense memory"),
        (torch.zeros(2, device="meta"), "has no dense memory"),
    ]


@pytest.mark.parametrize(("odd", "said"), odd_tensors(), ids=[said for _, said in odd_tensors()])
def test_a_layout_that_cannot_be_written_to_is_named_before_anything_is_written(odd: torch.Tensor, said: str) -> None:
    tensors = {"good.weight": torch.ones(4), "odd.weight": odd}
    with pytest.raises(WeightsError) as error:
        ReadOnlyBase(tensors, list(tensors), "gaussian/1")
    assert str(error.value).startswith("tensor odd.weight of shape")
    assert said in str(error.value)
    assert torch.equal(tensors["good.weight"], torch.ones(4))


def test_two_names_for_the_same_memory_are_refused() -> None:
    whole = torch.zeros(12)
    tensors = {"a": whole[:8], "b": torch.zeros(3), "c": whole[7:]}
    with pytest.raises(WeightsError, match="tensors a and c share memory"):
        ReadOnlyBase(tensors, ["a", "b", "c"], "gaussian/1")
    ReadOnlyBase(tensors, ["a", "b"], "gaussian/1")
    ReadOnlyBase({"a": whole[:8], "c": whole[8:]}, ["a", "c"], "gaussian/1")


@pytest.mark.parametrize("where", ["device", "host"])
def test_on_a_cpu_the_copy_is_in_host_memory_either_way(where: Any) -> None:
    tensors = canonical_tensors(build_model("Llama"))
    base = ReadOnlyBase(tensors, list(tensors), "gaussian/1", where=where)
    assert base.cost == "0.00 GiB on cpu"
    assert not {t.data_ptr() for t in base.pristine.values()} & {t.data_ptr() for t in tensors.values()}
    base.place(Perturbation(1, 0.1))
    base.verify()


class OnGpu(torch.Tensor):
    """A CPU tensor that says it is on a GPU, so that what is said about memory can be checked without one."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda:0")


@pytest.mark.parametrize(
    ("where", "copy", "error", "said"),
    [
        ("device", "_on_device", torch.OutOfMemoryError("CUDA out of memory."), "0.25 GiB on cuda:0 beside the model"),
        ("device", "_on_device", torch.OutOfMemoryError("CUDA out of memory."), "--engine.base host"),
        ("host", "_to_host", RuntimeError("CUDA error: out of memory"), "0.25 GiB of host memory"),
    ],
)
def test_no_room_for_the_copy_is_one_sentence_that_says_what_helps(
    monkeypatch: pytest.MonkeyPatch, where: Any, copy: str, error: Exception, said: str
) -> None:
    def fail(tensor: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(thickets.weights.base, copy, fail)
    moved = {"w": torch.empty(2**27, dtype=torch.bfloat16).as_subclass(OnGpu)}
    with pytest.raises(EngineError) as caught:
        thickets.weights.base.copies(moved, where)
    assert said in str(caught.value)


def test_another_failure_of_the_copy_is_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(thickets.weights.base, "_on_device", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        ReadOnlyBase({"w": torch.ones(2)}, ["w"], "gaussian/1")


def test_a_transfer_at_every_switch_is_said() -> None:
    pristine = {"w": torch.empty(2**27, dtype=torch.bfloat16)}
    live = {"w": pristine["w"].as_subclass(OnGpu)}
    assert thickets.weights.base.cost(pristine, live) == "0.25 GiB on cpu, sent to cuda:0 at every switch"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1", "low_rank/1:4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_base_in_pinned_host_memory_gives_the_same_weights(scheme: str, dtype: torch.dtype) -> None:
    wanted = []
    for where in ("device", "host"):
        model = build_model("Llama").to("cuda", dtype)
        tensors = canonical_tensors(model)
        base = ReadOnlyBase(tensors, list(tensors), scheme, where=where)  # type: ignore[arg-type]
        assert all(t.is_cuda if where == "device" else t.is_pinned() for t in base.pristine.values())
        assert ("sent to cuda:0 at every switch" in base.cost) is (where == "host")
        for seed in range(50):
            base.place(Perturbation(seed, 0.01))
        wanted.append(fingerprint(tensors))
        base.verify()
    assert wanted[0] == wanted[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_copy_that_the_gpu_has_no_room_for() -> None:
    free = torch.cuda.mem_get_info()[0]
    model = {"w": torch.empty(int(free * 0.7) // 2, dtype=torch.bfloat16, device="cuda")}
    with pytest.raises(EngineError, match=r"--engine\.base host"):
        thickets.weights.base.copies(model, "device")


def test_after_5000_switches_the_base_comes_back_bit_for_bit() -> None:
    model = build_model("Llama").to(torch.bfloat16)
    tensors = canonical_tensors(model)
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "gaussian/1")
    for seed in range(5000):
        base.place(Perturbation(seed, 0.01 * (1 + seed % 3), 1 if seed % 2 else -1))
    assert not any(torch.equal(t.detach(), before[n]) for n, t in tensors.items())
    base.verify()
    assert all(torch.equal(t.detach(), before[n]) for n, t in tensors.items())


@pytest.mark.skipif(not DEMO, reason="no demo model; `make demo` fetches it")
def test_after_200_switches_the_demo_model_comes_back_bit_for_bit() -> None:
    """Signs, the quicker scheme, three times of four, so that it takes seconds on two cores."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(DEMO[0].parent, dtype=torch.bfloat16)
    tensors = canonical_tensors(model)
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "rademacher/1")
    start = fingerprint(tensors)
    for seed in range(200):
        base.placer.scheme = "gaussian/1" if seed % 4 == 0 else "rademacher/1"
        base.place(Perturbation(seed, 1e-3))
    assert fingerprint(tensors) != start
    base.verify()
    assert fingerprint(tensors) == start


def test_a_model_that_the_gpu_has_no_room_for_is_one_sentence() -> None:
    class Large:
        def to(self, device: torch.device) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

    with pytest.raises(
        EngineError, match=r"^cuda:0 has not room for model 'm' \(CUDA out of memory.*2\.00 GiB\); free"
    ):
        _moved(Large(), torch.device("cuda:0"), "m")
