"""Small policies of three kinds, as LeRobot has them: a transformer with nn.MultiheadAttention that predicts chunks
(ACT), a convolutional U-Net that removes noise (Diffusion Policy), and a decoder with q/k/v projections that follows a
flow (SmolVLA). Each has forward(batch) -> loss or (loss, figures), predict_action_chunk, select_action and reset."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
CHUNK, ACTIONS = 6, 3
Sizes = Mapping[str, int]
SIZES: Sizes = {STATE: 4, ENVIRONMENT: 7}


def batch(number: int = 8, seed: int = 0) -> dict[str, Tensor]:
    """Observations and chunks of actions that depend on them."""
    draw = torch.Generator().manual_seed(seed)
    seen = {name: torch.randn(number, size, generator=draw) for name, size in SIZES.items()}
    way = torch.tanh(seen[ENVIRONMENT][:, None, :ACTIONS] * torch.linspace(0.2, 1, CHUNK)[None, :, None])
    return {**seen, ACTION: way}


class Queued(nn.Module):
    """What all policies do alike: actions of a chunk are queued."""

    model: Any
    diffusion: Any
    config: Any
    name = ""

    def __init__(self) -> None:
        super().__init__()
        self.queue: deque[Tensor] = deque()

    def reset(self) -> None:
        self.queue.clear()

    def predict_action_chunk(self, seen: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def select_action(self, seen: dict[str, Tensor]) -> Tensor:
        if not self.queue:
            self.queue.extend(self.predict_action_chunk(seen).transpose(0, 1))
        return self.queue.popleft()


class Layer(nn.Module):
    """A transformer's layer with the names of ACT's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1, self.norm2, self.dropout = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.self_attn(x, x, x, need_weights=False)[0]))
        return self.norm2(x + self.dropout(self.linear2(F.relu(self.linear1(x)))))


class Transformer(Queued):
    """Like ACT without pictures: known to `attach` by its name."""

    name = "act"

    def __init__(self, width: int = 32, sizes: Sizes = SIZES, actions: int = ACTIONS) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.encoder, self.model.decoder = nn.Module(), nn.Module()
        self.model.encoder.layers = nn.ModuleList([Layer(width), Layer(width)])
        self.model.decoder.layers = nn.ModuleList([Layer(width)])
        self.model.encoder_state_input_proj = nn.Linear(sizes[STATE], width)
        self.model.encoder_env_input_proj = nn.Linear(sizes[ENVIRONMENT], width)
        self.model.places = nn.Embedding(CHUNK, width)
        self.model.action_head = nn.Linear(width, actions)

    def chunk(self, seen: dict[str, Tensor]) -> Tensor:
        model = self.model
        tokens = torch.stack(
            [model.encoder_state_input_proj(seen[STATE]), model.encoder_env_input_proj(seen[ENVIRONMENT])], 1
        )
        for layer in model.encoder.layers:
            tokens = layer(tokens)
        x = torch.cat([model.places.weight.expand(len(tokens), -1, -1), tokens], 1)
        for layer in model.decoder.layers:
            x = layer(x)
        return model.action_head(x[:, :CHUNK])

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        loss = F.l1_loss(self.chunk(batch), batch[ACTION])
        return loss, {"l1": float(loss.detach())}

    def predict_action_chunk(self, seen: dict[str, Tensor]) -> Tensor:
        return self.chunk(seen)


class Block(nn.Module):
    """A convolutional block whose condition comes in by a linear map, with the names of LeRobot's."""

    def __init__(self, width_in: int, width_out: int, condition: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(width_in, width_out, 3, padding=1), nn.GroupNorm(4, width_out), nn.Mish())
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, width_out))
        self.conv2 = nn.Sequential(nn.Conv1d(width_out, width_out, 3, padding=1), nn.GroupNorm(4, width_out), nn.Mish())
        self.residual_conv = nn.Conv1d(width_in, width_out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out = self.conv1(x) + self.cond_encoder(condition).unsqueeze(-1)
        return self.conv2(out) + self.residual_conv(x)


class Unet(Queued):
    """Like Diffusion Policy on states; its forward pass draws noise, and may checkpoint its gradients."""

    name = "diffusion"

    def __init__(
        self, width: int = 16, checkpointed: bool = False, sizes: Sizes = SIZES, actions: int = ACTIONS
    ) -> None:
        super().__init__()
        self.checkpointed, self.actions, condition = checkpointed, actions, sum(sizes.values()) + 8
        self.diffusion = nn.Module()
        unet: Any = nn.Module()
        self.diffusion.unet = unet
        unet.step_encoder = nn.Linear(1, 8)
        unet.down_modules = nn.ModuleList([Block(actions, width, condition), Block(width, 2 * width, condition)])
        unet.up_modules = nn.ModuleList([Block(2 * width, width, condition)])
        unet.final_conv = nn.Sequential(Block(width, width, condition).conv1, nn.Conv1d(width, actions, 1))

    def noise(self, noisy: Tensor, time: Tensor, seen: dict[str, Tensor]) -> Tensor:
        unet = self.diffusion.unet
        condition = torch.cat([seen[STATE], seen[ENVIRONMENT], unet.step_encoder(time[:, None])], -1)
        x = noisy.transpose(1, 2)
        for block in (*unet.down_modules, *unet.up_modules):
            x = checkpoint(block, x, condition, use_reentrant=False) if self.checkpointed else block(x, condition)
        return unet.final_conv(x).transpose(1, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        noise, time = torch.randn_like(batch[ACTION]), torch.rand(len(batch[ACTION]))
        noisy = batch[ACTION] * (1 - time)[:, None, None] + noise * time[:, None, None]
        return F.mse_loss(self.noise(noisy, time, batch), noise)

    def predict_action_chunk(self, seen: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
        number = len(seen[STATE])
        x = torch.randn(number, CHUNK, self.actions) if noise is None else noise
        for step in range(3, 0, -1):
            time = torch.full((number,), step / 3)
            x = x - self.noise(x, time, seen) / 3
        return x


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width // 2, bias=False)
        self.v_proj, self.o_proj = nn.Linear(width, width // 2, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.q_proj.weight.dtype)  # as SmolVLA and pi0 ask
        q, k, v = (
            part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        k, v = (part.repeat_interleave(2, 1) for part in (k, v))
        return self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down_proj = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class ExpertLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(width), Mlp(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm(x))
        return x + self.mlp(x)


class Decoder(Queued):
    """Like SmolVLA's expert, which may compute in bfloat16."""

    name = "smolvla"

    def __init__(
        self,
        width: int = 32,
        dtype: torch.dtype = torch.float32,
        sizes: Sizes = SIZES,
        actions: int = ACTIONS,
    ) -> None:
        super().__init__()
        self.model, self.actions = nn.Module(), actions
        self.model.lm_expert = nn.Module()
        self.model.lm_expert.layers = nn.ModuleList([ExpertLayer(width), ExpertLayer(width)]).to(dtype)
        self.model.embed = nn.Linear(sizes[ENVIRONMENT], width)
        self.model.state_proj = nn.Linear(sizes[STATE], width)
        self.model.action_in_proj, self.model.action_out_proj = nn.Linear(actions, width), nn.Linear(width, actions)
        self.model.action_time_mlp_in = nn.Linear(1, width)

    def flow(self, x: Tensor, time: Tensor, seen: dict[str, Tensor]) -> Tensor:
        model = self.model
        prefix = torch.stack([model.embed(seen[ENVIRONMENT]), model.state_proj(seen[STATE])], 1)
        suffix = model.action_in_proj(x) + model.action_time_mlp_in(time[:, None])[:, None]
        hidden = torch.cat([prefix, suffix], 1).to(model.lm_expert.layers[0].norm.weight.dtype)
        for layer in model.lm_expert.layers:
            hidden = layer(hidden)
        return model.action_out_proj(hidden[:, 2:].float())

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        noise, time = torch.randn_like(batch[ACTION]), torch.rand(len(batch[ACTION]))
        x = batch[ACTION] * (1 - time)[:, None, None] + noise * time[:, None, None]
        loss = F.mse_loss(self.flow(x, time, batch), noise - batch[ACTION])
        return loss, {"flow": float(loss.detach())}

    def predict_action_chunk(self, seen: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
        number = len(seen[STATE])
        x = torch.randn(number, CHUNK, self.actions) if noise is None else noise
        for step in range(4, 0, -1):
            x = x - self.flow(x, torch.full((number,), step / 4), seen) / 4
        return x


KINDS: dict[str, type[Queued]] = {"transformer": Transformer, "unet": Unet, "decoder": Decoder}


def policy(kind: str, seed: int = 0, **sizes: object) -> Queued:
    """A policy of one of `KINDS`, drawn by a seed, ready to act."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return KINDS[kind](**sizes).eval()  # pyright: ignore[reportArgumentType]


def acted(policy: nn.Module, seed: int = 1) -> Tensor:
    """The chunk that a policy predicts on fixed observations and, where it draws, from fixed noise."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return policy.predict_action_chunk(batch(5, seed=99)).clone()  # pyright: ignore[reportCallIssue]
