"""Members that predict together: what averaging in place gives is what a plain average of K copies gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.diffusion.conftest import PIPES, flux, pixart, stable_diffusion
from thickets.config import WeightsConfig
from thickets.config.diffusion import ImageSearchConfig
from thickets.diffusion.averaging import averaged, mean
from thickets.diffusion.denoiser import Denoiser
from thickets.diffusion.painting import Painter, shots
from thickets.errors import EnsembleError, ModelError, WeightsError
from thickets.noise import numbers
from thickets.types import Perturbation

MEMBERS = [Perturbation(11, 0.1), Perturbation(12, 0.2, -1), Perturbation(13, 0.2)]
SHOTS = shots(["a cat", "a dog", "a red house"], 1, 0, 0)


def images(pipe: Any, settings: dict[str, Any]) -> np.ndarray[Any, Any]:
    config = ImageSearchConfig.model_validate(settings)
    return np.stack([np.asarray(i) for i in Painter(pipe, config.call(), 2).paint(SHOTS)])


def around(pipe: Any, scheme: str = "gaussian/1", **weights: Any) -> Denoiser:
    return Denoiser(pipe, scheme, WeightsConfig(**weights))


def stepped(denoiser: Denoiser, member: Perturbation) -> nn.Module:
    """A copy of the denoiser with a step of the public noise function added by hand."""
    made = copy.deepcopy(denoiser.module)
    for name, tensor in made.named_parameters():
        noise = numbers("gaussian/1", member.seed, name, tensor.shape)
        tensor.data = (tensor.detach().float() + member.sign * member.sigma * noise).to(tensor.dtype)
    return made


class Together(nn.Module):
    """The plain way: K whole copies, asked one after the other, their first outputs averaged."""

    def __init__(self, copies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copies)

    @property
    def config(self) -> Any:
        return self.copies[0].config

    @property
    def dtype(self) -> torch.dtype:
        return self.copies[0].dtype  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        outputs = [one(*args, **kwargs)[0] for one in self.copies]
        return (torch.stack([o.float() for o in outputs]).mean(0).to(outputs[0].dtype),)


def test_the_average_of_k_is_that_of_k_copies(pipe: Any, kind: str, settings: dict[str, Any]) -> None:
    denoiser = around(pipe)
    before = images(pipe, settings)
    with averaged(denoiser, MEMBERS):
        mine = images(pipe, settings)
    plain = PIPES[kind][0]()
    setattr(plain, kind, Together([stepped(denoiser, m) for m in MEMBERS]).eval())
    theirs = images(plain, settings)
    # Sums in another order: the last digit of a pixel may differ.
    assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1
    # The test would see a member too few, or the base itself.
    plain = PIPES[kind][0]()
    setattr(plain, kind, Together([stepped(denoiser, m) for m in MEMBERS[:2]]).eval())
    assert np.abs(mine.astype(int) - images(plain, settings).astype(int)).max() > 1
    assert np.abs(mine.astype(int) - before.astype(int)).max() > 1


def test_one_member_averaged_is_that_member_to_the_bit(pipe: Any, settings: dict[str, Any]) -> None:
    denoiser = around(pipe)
    before = images(pipe, settings)
    denoiser.base.place(MEMBERS[1])
    alone = images(pipe, settings)
    denoiser.base.place(None)
    for hold in (False, True):
        with averaged(denoiser, [MEMBERS[1]], hold):
            assert np.array_equal(images(pipe, settings), alone)
    with averaged(denoiser, [None]):
        assert np.array_equal(images(pipe, settings), before)
    assert not np.array_equal(alone, before)


def test_holding_copies_changes_nothing_but_memory(pipe: Any, settings: dict[str, Any]) -> None:
    denoiser = around(pipe)
    with averaged(denoiser, MEMBERS):
        switched = images(pipe, settings)
    with averaged(denoiser, MEMBERS, hold=True):
        assert np.array_equal(images(pipe, settings), switched)


def test_in_place_no_more_than_one_copy_is_held() -> None:
    """Ten members, and at no moment more tensors of the denoiser's than the live ones and their base."""
    import gc

    pipe = stable_diffusion()
    denoiser = around(pipe)
    weight = max(denoiser.base.pristine.values(), key=torch.Tensor.numel)
    most = 0
    # Not those of other tests that have no shape yet.
    plain = (torch.Tensor, torch.nn.Parameter)

    def count(*_: Any) -> None:
        nonlocal most
        gc.collect()
        # Parameters are counted once: `data` of one is another object around the same memory.
        same = {t.data_ptr() for t in gc.get_objects() if type(t) in plain and t.shape == weight.shape}
        most = max(most, len(same))

    alone = {p.data_ptr() for p in pipe.unet.parameters() if p.shape == weight.shape}
    with averaged(denoiser, [Perturbation(i, 0.1) for i in range(10)]):
        handle = pipe.unet.register_forward_hook(count)
        pipe("a cat", num_inference_steps=1, guidance_scale=1.0, output_type="latent")
        handle.remove()
    assert most == 2 * len(alone)
    with averaged(denoiser, [Perturbation(i, 0.1) for i in range(10)], hold=True):
        count()
    assert most == 12 * len(alone)


@pytest.mark.parametrize("make", [stable_diffusion, pixart])
def test_in_bfloat16_sums_are_in_float32(make: Callable[..., Any]) -> None:
    pipe = make(dtype=torch.bfloat16)
    kind = "unet" if hasattr(pipe, "unet") else "transformer"
    denoiser = around(pipe)
    with averaged(denoiser, MEMBERS):
        mine = images(pipe, PIPES[kind][1])
    plain = make(dtype=torch.bfloat16)
    setattr(plain, kind, Together([stepped(denoiser, m) for m in MEMBERS]).eval())
    theirs = images(plain, PIPES[kind][1])
    assert (mine == theirs).mean() > 0.99


@pytest.mark.parametrize(
    "scheduler", ["EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler", "LCMScheduler"]
)
def test_any_scheduler_also_one_that_draws_noise_of_its_own(scheduler: str) -> None:
    pipe, settings = stable_diffusion(scheduler), PIPES["unet"][1]
    denoiser = around(pipe)
    with averaged(denoiser, MEMBERS):
        mine, again = images(pipe, settings), images(pipe, settings)
    assert np.array_equal(mine, again)
    plain = stable_diffusion(scheduler)
    plain.unet = Together([stepped(denoiser, m) for m in MEMBERS]).eval()
    assert np.abs(mine.astype(int) - images(plain, settings).astype(int)).max() <= 1


def test_flux_with_its_flow_and_embedded_guidance() -> None:
    settings = PIPES["unet"][1] | {"arguments": {"max_sequence_length": 24}}
    pipe = flux()
    denoiser = around(pipe)
    before = images(pipe, settings)
    with averaged(denoiser, MEMBERS):
        mine = images(pipe, settings)
    # It asks its transformer for more than a forward pass, so the copies answer through one of them.
    plain = flux()
    copies = [stepped(denoiser, m) for m in MEMBERS]
    plain.transformer.forward = Together(copies).forward
    theirs = images(plain, settings)
    assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1
    assert np.abs(mine.astype(int) - before.astype(int)).max() > 1


def test_the_noise_is_that_of_everywhere_and_the_base_comes_back(
    pipe: Any, kind: str, settings: dict[str, Any]
) -> None:
    denoiser = around(pipe)
    module = getattr(pipe, kind)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    denoiser.base.place(MEMBERS[1])
    for name, p in module.named_parameters():
        step = torch.tensor(-0.2) * numbers("gaussian/1", 12, name, p.shape)
        assert torch.equal(p.detach(), before[name] + step), name
    with pytest.raises(KeyboardInterrupt), averaged(denoiser, MEMBERS):
        images(pipe, settings)
        raise KeyboardInterrupt
    assert "forward" not in vars(module)
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())
    denoiser.base.verify()


def test_a_compiled_denoiser_takes_part() -> None:
    settings = PIPES["unet"][1]
    plain = stable_diffusion()
    with averaged(around(plain), MEMBERS):
        wanted = images(plain, settings)
    pipe = stable_diffusion()
    pipe.unet = torch.compile(pipe.unet, backend="eager")
    denoiser = around(pipe)
    assert not any(name.startswith("_orig_mod") for name in denoiser.base.live)
    before = pipe.unet.forward
    with averaged(denoiser, MEMBERS):
        mine = images(pipe, settings)
    assert np.abs(mine.astype(int) - wanted.astype(int)).max() <= 1
    assert pipe.unet.forward == before


def test_mean_of_whatever_a_denoiser_gives() -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

    a, b = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    assert torch.equal(mean([(a, 7), (b, 7)])[0], torch.ones(2, 3))
    assert torch.equal(mean([{"x": [a]}, {"x": [b]}])["x"][0], torch.ones(2, 3))
    made = mean([UNet2DConditionOutput(sample=a), UNet2DConditionOutput(sample=b)])
    assert isinstance(made, UNet2DConditionOutput)
    assert torch.equal(made.sample, torch.ones(2, 3))
    # 257 has no bfloat16; a sum in bfloat16 would stop at 256.
    many = [torch.ones(1, dtype=torch.bfloat16)] * 512
    assert mean(many).item() == 1
    with pytest.raises(ModelError, match="have no mean"):
        mean([("a",), ("b",)])


def offloaded(pipe: Any) -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    add_hook_to_module(pipe.unet, AlignDevicesHook(execution_device="cpu"))


def cached(pipe: Any) -> None:
    from diffusers.hooks import apply_layerwise_casting

    apply_layerwise_casting(pipe.unet, storage_dtype=torch.bfloat16, compute_dtype=torch.float32)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda pipe: pipe.unet.train(), r"call pipe\.unet\.eval\(\)"),
        (lambda pipe: pipe.text_encoder.train(), r"pipe\.text_encoder is in training mode"),
        (lambda pipe: pipe.unet.compile(backend="eager"), "compiled in place"),
        (offloaded, "offloaded"),
        (cached, "cast layer by layer"),
        (lambda pipe: setattr(pipe, "unet", None), "neither a unet nor a transformer"),
    ],
)
def test_a_denoiser_that_cannot_be_switched_is_refused(spoil: Callable[[Any], Any], sentence: str) -> None:
    pipe = stable_diffusion()
    spoil(pipe)
    with pytest.raises(ModelError, match=sentence):
        around(pipe)


def test_another_part_can_be_named_and_a_scope_given() -> None:
    pipe = stable_diffusion()
    assert Denoiser(pipe, "gaussian/1", WeightsConfig(), "vae").module is pipe.vae
    with pytest.raises(ModelError, match="no module 'denoiser' to move; its modules are: vae, text_encoder, unet"):
        Denoiser(pipe, "gaussian/1", WeightsConfig(), "denoiser")
    some = around(pipe, include=("mid_block.*",))
    assert all(name.startswith("mid_block.") for name in some.base.pristine)
    with pytest.raises(WeightsError, match="no tensor is named like"):
        around(pipe, include=("nothing.*",))
    with pytest.raises(EnsembleError, match="needs a member"), averaged(some, []):
        pass


@pytest.mark.parametrize("scale", ["relative", "spectral"])
@pytest.mark.parametrize("scheme", ["rademacher/1", "low_rank/1:2"])
def test_every_scheme_and_scale_rule_goes_with_convolutions(scheme: str, scale: str) -> None:
    denoiser = around(stable_diffusion(), scheme, scale=scale)
    convolution = next(p for p in denoiser.module.parameters() if p.ndim == 4)
    before = convolution.detach().clone()
    denoiser.base.place(Perturbation(1, 0.5))
    assert torch.equal(convolution, before) == scheme.startswith("low_rank")
    assert all(torch.isfinite(p).all() for p in denoiser.module.parameters())
    denoiser.base.verify()
