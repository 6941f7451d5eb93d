"""The models in PyTorch, written plainly.

What a variant does not say is the same in all: fused Adam, weights and images of the layout that the variant names, noise drawn outside of
what is compiled (where it is drawn more slowly), and denormal numbers taken as zero, as TensorFlow and JAX take them.
"""

import torch
from peers.harness import Clock, task
from torch import Tensor, nn
from torch.nn import functional as F

VARIANTS = ("eager", "channels-last", "compile", "compile-channels-last", "bfloat16", "compile-bfloat16")


def main() -> None:
    """Train and print."""
    given = task(VARIANTS)
    x, batch, latent_dim = given.load(), given.work.batch, given.work.latent_dim
    bfloat16, compiled = given.variant.endswith("bfloat16"), given.variant.startswith("compile")
    channels_last = given.model != "mlp" and given.variant not in ("eager", "compile")
    torch.manual_seed(given.seed)
    torch.set_flush_denormal(True)
    torch.compiler.config.force_disable_caches = True  # the first step is that of a first time

    clock, losses = Clock(), list[float]()
    encoder, decoder = NETWORKS[given.model]()
    model = nn.ModuleList([encoder, decoder])
    model.apply(_start)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def loss_of(x: Tensor, eps: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loc, raw = encoder(x).float().chunk(2, -1)
            scale = F.softplus(raw) + 1e-5
            z = loc + scale * eps
            decoded = decoder(z).float()
        if given.binary:
            reconstruction = F.binary_cross_entropy_with_logits(decoded, x, reduction="sum")
        else:
            reconstruction = 50 * (decoded - x).square().sum() + _NORMAL * x.numel()
        # The parameters of log q are held: the path gradient of Roeder et al. (2017), which `vae_tf` takes too.
        standard = (z - loc.detach()) / scale.detach()
        kl = 0.5 * (z.square() - standard.square()).sum() - scale.detach().log().sum()
        return (reconstruction + kl) / batch

    loss_of = torch.compile(loss_of) if compiled else loss_of
    images = torch.from_numpy(x)
    images = images if channels_last else images.permute(0, 3, 1, 2).contiguous()
    for _ in range(given.epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(images)).view(-1, batch):
            seen = images[rows].float().div_(255)
            if given.binary:
                seen = torch.rand_like(seen).lt(seen).float()
            loss = loss_of(seen.permute(0, 3, 1, 2) if channels_last else seen, torch.randn(batch, latent_dim))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
            clock.reached(steps=1)
        losses.append(total.item() / (len(images) // batch))
        clock.epoch()
    clock.report(
        losses=losses,
        parameters=sum(weight.numel() for weight in model.parameters()),
        precision="bfloat16" if bfloat16 else "float32",
        version=f"torch {torch.__version__}",
    )


_NORMAL = -1.3836465597893728  # log(0.1 sqrt(2 pi)), minus the log density of a normal with scale 0.1 at its mean


def _mlp() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 100)),
        nn.Sequential(*(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784), nn.Unflatten(1, (1, 28, 28)))),
    )


def _conv() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(
            *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(inplace=True), nn.Flatten()),
            *(nn.Linear(3136, 256), nn.ReLU(inplace=True), nn.Linear(256, 80)),
        ),
        nn.Sequential(
            *(nn.Linear(40, 256), nn.ReLU(inplace=True), nn.Linear(256, 3136), nn.ReLU(inplace=True), nn.Unflatten(1, (64, 7, 7))),
            *(Doubling(64, 64), nn.ReLU(inplace=True), Doubling(64, 32), nn.ReLU(inplace=True), nn.Conv2d(32, 1, 1)),
        ),
    )


def _residual() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(
            *(nn.Conv2d(3, 32, 3, 2, 1), Block(32), nn.Conv2d(32, 64, 3, 2, 1), Block(64), nn.Conv2d(64, 64, 3, 2, 1), Block(64)),
            *(nn.GroupNorm(8, 64), nn.SiLU(inplace=True), nn.Flatten()),
            *(nn.Linear(1024, 256), nn.SiLU(inplace=True), nn.Linear(256, 128)),
        ),
        nn.Sequential(
            *(nn.Linear(64, 256), nn.SiLU(inplace=True), nn.Linear(256, 1024), nn.Unflatten(1, (64, 4, 4))),
            *(Block(64), Doubling(64, 64), Block(64), Doubling(64, 64), Block(64), Doubling(64, 32)),
            *(nn.GroupNorm(8, 32), nn.SiLU(inplace=True), nn.Conv2d(32, 3, 1)),
        ),
    )


NETWORKS = {"mlp": _mlp, "conv": _conv, "residual": _residual}


class Doubling(nn.Conv2d):
    """A 3x3 convolution of the map in which each pixel is repeated 2 x 2, as one transposed convolution: see `vae_tf`'s `DoublingConv`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return [N, outputs, 2 H, 2 W] of maps [N, inputs, H, W]."""
        flipped = self.weight.flip(2, 3).transpose(0, 1)
        kernel = sum(F.pad(flipped, (i, 1 - i, j, 1 - j)) for i in (0, 1) for j in (0, 1))
        return F.conv_transpose2d(h, kernel, self.bias, stride=2, padding=1)


class Block(nn.Module):
    """h + f(h), f twice: group normalization, swish, 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.first_norm, self.second_norm = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.first, self.second = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.second.small = True

    def forward(self, h: Tensor) -> Tensor:
        """Return maps of the shape of h [N, channels, H, W]."""
        return h + self.second(F.silu(self.second_norm(self.first(F.silu(self.first_norm(h))))))


def _start(layer: nn.Module) -> None:
    """Set the initial weights as Keras and `vae_tf` do."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.zeros_(layer.bias)
        if getattr(layer, "small", False):
            nn.init.normal_(layer.weight, std=0.1 / layer.weight[0].numel() ** 0.5)
        else:
            nn.init.xavier_uniform_(layer.weight)


if __name__ == "__main__":
    main()
