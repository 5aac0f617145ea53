"""Skills beside foreign policies: nothing changes without one, everything stays after one, and what would fail in
silence is refused by the name of the module."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from tests.attached.policies import KINDS, STATE, Decoder, Layer, Transformer, Unet, acted, batch, policy
from torch import Tensor, nn

from skilltokens.attached.beside import Attached, attach
from skilltokens.attached.kinds import KINDS as FORMS
from skilltokens.attached.skill import AttachedSkill
from skilltokens.types import AttachError, SettingError

POLICIES = tuple(KINDS)
SHARE = 0.4
"""Of a small policy 8 % are hardly a row: tests take more."""


def attached(kind: str, form: str = "rows", **more: object) -> Attached:
    return attach(policy(kind), share=SHARE, kind=form, rows=2, **more)  # pyright: ignore[reportArgumentType]


def teach(beside: Attached, seed: int = 0, steps: int = 4, start: AttachedSkill | None = None) -> AttachedSkill:
    """A skill after a few steps of AdamW; it is active then, and the policy acts."""
    skill = beside.new(seed, start)
    beside.use(skill)
    optimizer = torch.optim.AdamW(skill.groups(1e-2, 1e-2))
    beside.train()
    for step in range(steps):
        loss = beside.policy(batch(seed=100 * seed + step))
        loss = loss[0] if isinstance(loss, tuple) else loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    beside.policy.eval()
    return skill.frozen()


@torch.no_grad()
def stir(skill: AttachedSkill, seed: int = 0) -> None:
    """Gives the rows of a skill an effect without training."""
    for name, parameter in skill.trained().items():
        if name.endswith(".key"):
            parameter.normal_(generator=torch.Generator().manual_seed(seed))


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other)


# ---------------------------------------------------------------- the invariants


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", POLICIES)
def test_a_new_skill_changes_nothing_and_a_learned_one_does(kind: str, form: str) -> None:
    before = acted(policy(kind).requires_grad_(False))  # matmul may take another kernel where a weight has a gradient
    beside = attached(kind, form)
    assert same(acted(beside.policy), before)
    beside.use(beside.new().frozen())
    assert same(acted(beside.policy), before)
    teach(beside)
    assert not same(acted(beside.policy), before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", POLICIES)
def test_old_skills_and_the_base_keep_their_bits(kind: str, form: str) -> None:
    beside = attached(kind, form)
    base = acted(beside.policy)
    first = teach(beside, seed=1)
    actions = acted(beside.policy)
    second = teach(beside, seed=2, start=first)
    later = acted(beside.policy)
    beside.use(first)
    assert same(acted(beside.policy), actions)
    beside.use(None)
    assert same(acted(beside.policy), base)
    beside.use(second)
    assert same(acted(beside.policy), later)
    assert not same(later, actions)
    beside.check_base()


@pytest.mark.parametrize("kind", POLICIES)
def test_what_is_learned_is_the_skills_alone_and_all_of_it(kind: str) -> None:
    beside = attached(kind)
    frozen = {name: p.clone() for name, p in beside.policy.named_parameters()}
    skill = beside.new()
    beside.use(skill)
    trained = [p for group in skill.groups(1e-2, 1e-3) for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in skill.trained().values()}
    assert {id(p) for p in beside.policy.parameters() if p.requires_grad} <= {id(p) for p in trained}
    assert all(group["weight_decay"] == 0 for group in skill.groups(1e-2, 1e-3))
    before = {name: p.detach().clone() for name, p in skill.trained().items()}
    teach(beside, start=skill)
    assert beside.active is not None
    moved = beside.active.trained()
    assert all(not same(moved[name], value) for name, value in before.items())
    beside.use(None)
    assert all(same(p, frozen[name]) for name, p in beside.policy.named_parameters())


@pytest.mark.parametrize("kind", POLICIES)
def test_a_skill_comes_back_from_its_tensors_in_another_copy_of_the_policy(kind: str) -> None:
    beside = attached(kind)
    skill = teach(beside)
    actions = acted(beside.policy)
    other = attached(kind)
    again = other.skill_of(skill.tensors(), "rows")
    other.use(again)
    assert other.base == beside.base
    assert same(acted(other.policy), actions)
    assert not any(p.requires_grad for p in again.trained().values())


def test_names_and_types_stay_and_detach_gives_the_policy_back() -> None:
    plain = policy("decoder")
    names, first = list(plain.state_dict()), next(plain.parameters())
    trained = [p.requires_grad for p in plain.parameters()]
    beside = attach(plain, share=SHARE, rows=2)
    with beside.using(beside.new()):
        assert [name for name, _ in plain.named_parameters()] == names
        assert isinstance(plain.model.lm_expert.layers[0].mlp.up_proj, nn.Linear)  # pyright: ignore
    assert list(plain.state_dict()) == names
    assert beside.detach() is plain
    assert [p.requires_grad for p in plain.parameters()] == trained
    assert next(plain.parameters()) is first
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._state_dict_pre_hooks for m in plain.modules())
    attach(plain, share=SHARE, rows=2)


def test_the_policys_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    beside = attached("unet")
    with beside.using(beside.new()):
        pass
    assert same(torch.get_rng_state(), before)


def test_dropout_without_a_skill_is_what_it_was() -> None:
    plain = policy("transformer").train()
    torch.manual_seed(3)
    before = float(plain(batch())[0].detach())
    beside = attach(plain, share=SHARE, rows=2)
    torch.manual_seed(3)
    assert float(plain(batch())[0].detach()) == before
    beside.use(beside.new())
    torch.manual_seed(3)
    assert float(plain(batch())[0].detach()) == pytest.approx(before)


# ---------------------------------------------------------------- sizes


def test_a_line_says_what_part_of_the_policy_is_reached() -> None:
    beside = attached("unet")
    size = sum(p.numel() for p in beside.policy.parameters())
    conv = sum(
        p.numel() for m in beside.policy.modules() if isinstance(m, nn.Conv1d) for p in m.parameters(recurse=False)
    )
    assert beside.reach.size == size
    assert beside.reach.convolutions == conv
    assert f"convolutions: {conv / size:.1%}" in beside.summary()
    assert f"a skill has {beside.new().parameters:,} numbers" in beside.summary()


def test_rows_keep_under_the_ceiling_and_are_sixteen_where_they_fit() -> None:
    large = attach(policy("decoder", width=256))
    assert large.rows == 16
    small = attach(policy("transformer", width=96))
    assert 1 <= small.rows < 16
    assert small.new().parameters <= 0.08 * small.reach.size
    with pytest.raises(AttachError, match=r"rows beside each of 6 maps are not between 1 and"):
        attach(policy("transformer", width=96), rows=16)
    with pytest.raises(AttachError, match="leaves no row for 6 maps"):
        attach(policy("transformer"), share=0.03)
    with pytest.raises(AttachError, match=r"own copies have .* where 8.0% is the ceiling"):
        attach(policy("transformer"), ["model.encoder.layers.*.linear?"], ["model"])
    with pytest.raises(SettingError, match="share"):
        attach(policy("transformer"), share=0)


# ---------------------------------------------------------------- refused, by the name of the module


def refused(targets: list[str], own: list[str], match: str, plain: nn.Module | None = None) -> None:
    plain = plain or policy("transformer")
    before = acted(plain) if hasattr(plain, "predict_action_chunk") else None
    with pytest.raises(AttachError, match=match):
        attach(plain, targets, own, share=0.9)
    assert before is None or same(acted(plain), before)
    assert not any(m._forward_hooks for m in plain.modules())


def test_patterns_that_name_nothing_useful_are_refused() -> None:
    refused(["model.nothing"], [], "no module of the policy is called 'model.nothing'")
    refused(["model.encoder.layers.*.linear?", "model.x*"], [], r"called 'model.x\*'")
    refused(["model.encoder"], [], "model.encoder is a Module and no nn.Linear.* such as 'model.encoder.layers'")
    refused(["model.encoder.layers.*.linear?"], ["model.heads.*"], r"no parameter .* called 'model.heads.\*'")
    refused([], [], "neither a map nor a parameter")
    with pytest.raises(AttachError, match="type 'Linear' is not known: name its linear maps"):
        attach(nn.Linear(3, 3))
    with pytest.raises(AttachError, match="there is no kind 'row': did you mean 'rows'"):
        attach(policy("transformer"), kind="row")  # pyright: ignore[reportArgumentType]


def test_multihead_attention_is_refused() -> None:
    refused(["*.out_proj"], [], "encoder.layers.0.self_attn.out_proj is read as a matrix by nn.MultiheadAttention")
    refused(["*.self_attn"], [], "encoder.layers.0.self_attn is nn.MultiheadAttention, which calls no linear map")


def test_convolutions_are_refused() -> None:
    refused(["*.conv1.0"], [], r"down_modules.0.conv1.0 is a convolution, which carries no rows", policy("unet"))


def test_shared_and_unsized_parameters_are_refused() -> None:
    plain = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    plain[1].weight = plain[0].weight
    refused(["1"], ["0"], "0.weight is shared by several modules", plain)
    refused(["0"], [], "0 has no size before its first input", nn.Sequential(nn.LazyLinear(3)))


def test_a_policy_with_skills_is_not_attached_to_again() -> None:
    beside = attached("transformer")
    with pytest.raises(AttachError, match="has skills attached already: detach"):
        attach(beside.policy, share=SHARE)


# ---------------------------------------------------------------- what failed in silence


class Skipping(nn.Module):
    """Has a map that its forward pass never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + x @ self.unused.weight.T


def test_a_map_that_is_never_called_is_refused_at_the_first_forward_pass() -> None:
    beside = attach(Skipping(), ["*used"], share=0.9, rows=1)
    beside.policy(torch.ones(2, 4))
    beside.use(beside.new())
    with pytest.raises(AttachError, match="unused was never called by the policy's forward pass"):
        beside.policy(torch.ones(2, 4))


@pytest.mark.parametrize("own", [["1"], []])
@pytest.mark.parametrize("first", ["attached", "compiled"])
def test_torch_compile_before_and_after(first: str, own: list[str]) -> None:
    """What was compiled before hooks were added does not see them: it is compiled again."""
    beside: Attached
    with torch.no_grad():
        if first == "compiled":
            frozen = nn.Sequential(Layer(16).eval(), nn.Linear(16, 3)).requires_grad_(False)  # torch looks at that too
            whole = torch.compile(frozen, backend="eager")
            plain, x = whole(torch.ones(2, 3, 16)), torch.ones(2, 3, 16)
            beside = attach(whole, ["0.linear?"], own, share=0.9, rows=2)  # pyright: ignore[reportArgumentType]
        else:
            beside = attach(nn.Sequential(Layer(16).eval(), nn.Linear(16, 3)), ["0.linear?"], own, share=0.9, rows=2)
            whole, x = torch.compile(beside.policy, backend="eager"), torch.ones(2, 3, 16)
            plain = whole(x)
        assert list(beside.slots) == (["1.weight", "1.bias"] if own else [])
        skills = []
        for seed in range(12):  # more than the number of times that torch compiles a function anew
            skill = beside.new(seed)
            stir(skill, seed)
            for copied in skill.own.values():
                copied.add_(seed)
            skills.append(skill)
        for skill in skills:
            beside.use(skill)
            assert torch.allclose(whole(x), beside.root(x), atol=1e-5)
            assert not torch.allclose(whole(x), plain, atol=1e-2)
        beside.check_called()
        beside.use(None)
        assert same(whole(x), plain)
    torch._dynamo.reset()


@pytest.mark.parametrize("part", ["policy", "head"])
def test_the_policys_state_is_not_given_away_while_a_skill_is_active(part: str) -> None:
    beside = attached("transformer")
    base = {name: value.clone() for name, value in beside.policy.state_dict().items()}
    teach(beside)
    module = beside.policy if part == "policy" else beside.policy.get_submodule("model.action_head")
    with pytest.raises(AttachError, match=r"asked for while a skill is active, whose copy of model.action_head"):
        module.state_dict()
    beside.use(None)
    assert all(same(value, base[name]) for name, value in beside.policy.state_dict().items())


def test_nothing_is_loaded_over_a_base_with_skills() -> None:
    beside = attached("transformer")
    state = beside.policy.state_dict()
    with pytest.raises(AttachError, match="detach\\(\\) first"):
        beside.policy.load_state_dict(state)
    beside.detach().load_state_dict(state)


def test_queued_actions_of_another_skill_are_forgotten() -> None:
    beside = attached("transformer")
    first = teach(beside, 1)
    second = teach(beside, 2)
    seen = batch(5, seed=99)
    beside.use(second)
    own = beside.policy.select_action(seen)  # pyright: ignore
    beside.use(first)
    beside.policy.select_action(seen)  # pyright: ignore
    beside.use(second)
    assert same(beside.policy.select_action(seen), own)  # pyright: ignore


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x)).square().mean()


def test_batch_norms_keep_their_statistics() -> None:
    beside = attach(Normed(), ["trunk.0"], ["head"], share=0.9, rows=1)
    beside.use(beside.new())
    beside.train()
    assert beside.policy.trunk[2].training  # pyright: ignore
    beside.policy(torch.randn(16, 4)).backward()
    beside.policy.train()
    with pytest.raises(AttachError, match=r"trunk.1 is a BatchNorm1d in training mode .* call Attached.train\(\)"):
        beside.policy(torch.randn(16, 4))
    beside.check_base()


class Counting(nn.Module):
    """Changes its own numbers while it acts."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.map(x)
        self.mean.lerp_(y.detach().mean(0), 0.1)  # pyright: ignore
        return y - self.mean


def written(beside: Attached) -> None:
    with torch.no_grad():
        beside.policy.trunk[0].weight.data[0, 0] += 1e-7  # pyright: ignore


def test_a_base_that_changed_is_refused_by_the_name_of_the_tensor() -> None:
    beside = attach(Counting(), ["map"], share=0.9, rows=1)
    beside.policy(torch.randn(3, 4))
    with pytest.raises(AttachError, match=r"^mean of the base changed under its skills"):
        beside.check_base()
    other = attach(Normed().eval(), ["trunk.0"], ["head"], share=0.9, rows=1)
    other.use(other.new())
    other.check_base()
    written(other)
    with pytest.raises(AttachError, match=r"^trunk.0.weight of the base changed"):
        other.check_base()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_fused_path_of_a_transformer_encoder() -> None:
    """In eval mode nn.TransformerEncoderLayer reads its maps' weights in one kernel, which hooks switch off."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    x, mask = torch.randn(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        fused, padded = encoder(x), encoder(x, src_key_padding_mask=mask)
        beside = attach(encoder, ["layers.*.linear?"], share=0.9, rows=2)
        assert same(encoder(x), fused)
        skill = beside.new()
        beside.use(skill)
        assert torch.allclose(encoder(x), fused, atol=1e-5)
        beside.check_called()
        stir(skill)
        assert not torch.allclose(encoder(x), fused, atol=1e-2)
        with pytest.raises((AttachError, AssertionError), match=r"nested|NestedTensor"):
            encoder(x, src_key_padding_mask=mask)
        beside.use(None)
        assert not any(module._forward_hooks for module in encoder.modules())
        assert same(encoder(x), fused)
        assert same(encoder(x, src_key_padding_mask=mask), padded)


def test_own_copies_reach_recurrent_modules() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x)[0])

    plain, x = Recurrent().requires_grad_(False), torch.randn(2, 5, 4)
    before = plain(x)
    beside = attach(plain, ["head"], ["memory.bias_hh_l0"], share=0.9, rows=1)
    skill = beside.new()
    with torch.no_grad():
        skill.own["memory.bias_hh_l0"].add_(1)
    beside.use(skill)
    assert not torch.allclose(plain(x), before, atol=1e-2)
    beside.use(None)
    assert same(plain(x), before)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointed in (False, True):
        beside = attach(policy("unet", checkpointed=checkpointed), share=SHARE, rows=2)
        skill = beside.new()
        stir(skill)
        beside.use(skill)
        torch.manual_seed(0)
        beside.policy(batch()).backward()
        gradients.append([p.grad for p in skill.trained().values() if p.grad is not None])
        assert len(gradients[-1]) == len(skill.trained())
    assert all(same(one, other) for one, other in zip(*gradients, strict=True))


def test_mixed_precision() -> None:
    plain = policy("decoder", dtype=torch.bfloat16)
    before = acted(plain)
    beside = attach(plain, share=SHARE, rows=2)
    skill = beside.new()
    beside.use(skill)
    assert same(acted(plain), before)
    assert {p.dtype for part in skill.beside.values() for p in part.parameters()} == {torch.float32}
    assert not same((teach(beside), acted(plain))[1], before)
    whole = attached("decoder")
    with torch.autocast("cpu", torch.bfloat16):
        cast = acted(whole.policy)
        whole.use(whole.new())
        assert same(acted(whole.policy), cast)
    whole.use(None)
    whole.policy.to(torch.bfloat16)
    with pytest.raises(AttachError, match=r"mlp.gate_proj was torch.float32 when skills were attached"):
        whole.use(whole.new())


def test_copies_of_a_policy_act_alike_and_stand_alone() -> None:
    beside = attached("transformer")
    base = acted(beside.policy)
    skill = teach(beside)
    actions = acted(beside.policy)
    alone, both = copy.deepcopy(beside.policy), copy.deepcopy(beside)
    beside.use(None)
    assert same(acted(alone), actions)
    assert same(acted(both.policy), actions)
    both.use(None)
    assert same(acted(both.policy), base)
    assert same(acted(alone), actions)
    beside.use(skill)
    assert same(acted(beside.policy), actions)


@pytest.mark.parametrize("own", [["*"], []])
def test_a_policy_is_where_it_was_moved_also_where_a_skill_owns_all_of_it(own: list[str]) -> None:
    beside = attach(policy("transformer"), [] if own else None, own or None, share=1.0)
    beside.policy.to("meta")
    assert beside.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="moves a policy to a GPU and back")
def test_skills_follow_a_policy_to_its_device() -> None:
    beside = attached("transformer")
    base, skill = acted(beside.policy), teach(beside)
    actions = acted(beside.policy)
    beside.policy.cuda()
    seen = {name: value.cuda() for name, value in batch(5, seed=99).items()}
    beside.use(skill)
    with torch.no_grad():
        assert torch.allclose(beside.policy.predict_action_chunk(seen).cpu(), actions, atol=1e-3)  # pyright: ignore
        beside.use(None)
        assert torch.allclose(beside.policy.predict_action_chunk(seen).cpu(), base, atol=1e-3)  # pyright: ignore
    beside.policy.cpu()
    beside.use(None)
    assert same(acted(beside.policy), base)
    beside.check_base()


def test_a_skill_of_another_policy_is_refused() -> None:
    beside, other = attached("transformer"), attached("decoder")
    with pytest.raises(AttachError, match="the skill is of another policy"):
        beside.use(other.new())
    with pytest.raises(AttachError, match="skill to start from is of another kind, size or policy"):
        beside.new(start=other.new())
    tensors = beside.new().tensors()
    for spoil, match in SPOILT:
        with pytest.raises(ValueError, match=match):
            beside.skill_of(spoil(dict(tensors)), "rows")


HEAD = "own.model.action_head.weight"
KEY = "map.model.encoder.layers.0.linear1.key"


def _without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def _with(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {**tensors, name: change(tensors.get(name, torch.ones(2)))}


SPOILT = (
    (_without(HEAD), "do not both have 'model.action_head.weight'"),
    (_without(KEY), "do not both have 'model.encoder.layers.0.linear1.key'"),
    (_with(KEY, lambda x: x[:, :-1]), "of another size than that map"),
    (_with(KEY, lambda x: x[:0]), "of another size than that map"),
    (_with(KEY, lambda x: x.double()), "holds torch.float64"),
    (_with(HEAD, lambda x: x / 0), "where finite torch.float32 is needed"),
    (_with(HEAD, lambda x: x[:1]), "of another size than the policy's"),
    (_with("other.thing", lambda x: x), "is of no kind that a skill has"),
)


def test_statistics_are_part_of_a_skill() -> None:
    beside = attached("transformer")
    skill = beside.new()
    skill.statistics = {f"{STATE}.center": torch.arange(4.0)}
    again = beside.skill_of(skill.tensors(), "rows")
    assert same(again.statistics[f"{STATE}.center"], torch.arange(4.0))


def test_known_policies_have_patterns_that_fit_them() -> None:
    assert {"transformer": Transformer, "unet": Unet, "decoder": Decoder} == KINDS
    for kind in POLICIES:
        beside = attached(kind)
        assert beside.maps
        assert beside.slots
