"""Common corruptions of images at five severities (Hendrycks and Dietterich 2019, arXiv 1903.12261).

The thirteen that need no photographs, with the strengths of the authors' sets for small images (CIFAR-10-C), written
from the paper's descriptions; `frost`, `snow`, `spatter` and others are left out, so that a mean over all is not the
published mean corruption error. Lengths are for sides of 32 pixels and grow with the image.
Images are float (N, C, H, W) in [0, 1] on the CPU, of any number of channels and any size. What is drawn comes from the
given generator; no global generator is touched.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[[Tensor, int, Generator], Tensor]


def corrupted(images: Tensor, name: str, severity: int, generator: Generator) -> Tensor:
    """The images under one corruption, in [0, 1]. severity: 1 to 5; 0 gives the images themselves.

    Raises ValueError for a name or severity that there is not.
    """
    if name not in CORRUPTIONS or severity not in (0, *SEVERITIES):
        raise ValueError(f"{name!r} at severity {severity} is not allowed; allowed: {', '.join(CORRUPTIONS)}; 0 to 5")
    return CORRUPTIONS[name](images, severity - 1, generator).clamp(0, 1) if severity else images


def _gaussian_noise(x: Tensor, at: int, generator: Generator) -> Tensor:
    return x + (0.04, 0.06, 0.08, 0.09, 0.10)[at] * torch.randn(x.shape, generator=generator)


def _shot_noise(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Photons counted: Poisson."""
    photons = (500, 250, 100, 75, 50)[at]
    return torch.poisson(x * photons, generator=generator) / photons


def _impulse_noise(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Salt and pepper."""
    share, draw = (0.01, 0.02, 0.03, 0.05, 0.07)[at], torch.rand(x.shape, generator=generator)
    return x.masked_fill(draw < share / 2, 0.0).masked_fill(draw > 1 - share / 2, 1.0)


def _defocus_blur(x: Tensor, at: int, generator: Generator) -> Tensor:
    """A disk, as wide as the authors' sum of a disk of whole pixels and a Gaussian, by its second moment."""
    radius, fine = (0.8, 1.0, 1.2, 1.33, 1.65)[at] * _scale(x), 16
    reach = math.ceil(radius)
    ticks = (torch.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    disk = (ticks.square()[:, None] + ticks.square() <= max(radius, 1 / fine) ** 2).float()
    return _filtered(x, functional.avg_pool2d(disk[None], fine)[0] * (fine**2 / disk.sum()))


def _glass_blur(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Blurred, neighbouring pixels exchanged at random, blurred again."""
    sigma, most, times = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[at]
    x, (height, width) = _gaussian(x, sigma * _scale(x)), x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(times):
        moves = torch.randint(-most, most + 1, (2, len(x), height, width), generator=generator)
        from_row, from_column = (rows + moves[0]).clamp(0, height - 1), (columns + moves[1]).clamp(0, width - 1)
        place = (from_row * width + from_column).flatten(1)[:, None].expand(-1, x.shape[1], -1)
        x = x.flatten(2).gather(2, place).view_as(x)
    return _gaussian(x, sigma * _scale(x))


def _motion_blur(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Along a line at an angle of up to 45 degrees, an angle an image."""
    radius, sigma = ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5))[at]
    radius, sigma = radius * _scale(x), sigma * _scale(x)
    angles = (torch.rand(len(x), generator=generator) - 0.5) * math.pi / 2
    found, total = torch.zeros_like(x), 0.0
    for distance in range(math.ceil(radius) + 1):  # it trails off behind, as from a moving hand
        weight = math.exp(-((distance / sigma) ** 2) / 2)
        shift = distance * torch.stack([angles.cos(), angles.sin()], 1)
        found, total = found + weight * _resampled(x, shift, 1.0), total + weight
    return found / total


def _zoom_blur(x: Tensor, at: int, generator: Generator) -> Tensor:
    """The mean over the image and itself, zoomed in by a little and a little more."""
    steps = (6, 11, 16, 21, 26)[at]
    still = torch.zeros(len(x), 2)
    zoomed = [_resampled(x, still, 1 + 0.01 * step) for step in range(steps)]
    return (x + torch.stack(zoomed).sum(0)) / (steps + 1)


def _fog(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Clouds by the diamond-square rule's spectrum: octaves of noise, each finer and fainter."""
    thick, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[at]
    cloud, size, height = torch.zeros(len(x), 1, *x.shape[2:]), 2, 1.0
    while size < max(x.shape[2:]):
        octave = torch.rand(len(x), 1, size + 1, size + 1, generator=generator)
        cloud += height * functional.interpolate(octave, x.shape[2:], mode="bilinear", align_corners=True)
        size, height = 2 * size, height / decay
    flat = cloud.flatten(1)
    low, high = (end.view(-1, 1, 1, 1) for end in (flat.amin(1), flat.amax(1)))
    brightest = x.flatten(1).amax(1).view(-1, 1, 1, 1)
    return (x + thick * (cloud - low) / (high - low).clamp_min(1e-6)) * brightest / (brightest + thick)


def _brightness(x: Tensor, at: int, generator: Generator) -> Tensor:
    """More of the brightest channel, in which hue and saturation stay."""
    more, value = (0.05, 0.1, 0.15, 0.2, 0.3)[at], x.amax(1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp_min(1e-6), brighter)


def _contrast(x: Tensor, at: int, generator: Generator) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[at] + mean


def _elastic_transform(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Pixels displaced along a smooth random field."""
    reach, sigma = ((0.0, 0.08), (0.05, 0.07), (0.08, 0.06), (0.1, 0.04), (0.1, 0.03))[at]
    side = min(x.shape[2:])
    field = 2 * torch.rand(len(x), 2, *x.shape[2:], generator=generator) - 1
    smooth = _gaussian(field, sigma * side)
    smooth = smooth / smooth.flatten(1).abs().amax(1).view(-1, 1, 1, 1).clamp_min(1e-6)
    return _sampled(x, (0.02 + reach) * side * smooth / 2)


def _pixelate(x: Tensor, at: int, generator: Generator) -> Tensor:
    share, size = (0.95, 0.9, 0.85, 0.75, 0.65)[at], x.shape[2:]
    small = functional.interpolate(x, [max(1, int(side * share)) for side in size], mode="area")
    return functional.interpolate(small, size, mode="area")


def _jpeg_compression(x: Tensor, at: int, generator: Generator) -> Tensor:
    """Of grey and colour images as such; of any other number of channels each as a grey image."""
    quality, channels = (80, 65, 58, 50, 40)[at], x.shape[1]
    pixels = (x * 255).round().byte()
    planes = pixels.permute(0, 2, 3, 1) if channels == 3 else pixels.flatten(0, 1)
    found = torch.stack([_through_jpeg(plane.contiguous().numpy(), quality) for plane in planes])
    return (found.permute(0, 3, 1, 2) if channels == 3 else found.view(x.shape)).float() / 255


def _through_jpeg(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file)))


def _scale(x: Tensor) -> float:
    return min(x.shape[2:]) / 32


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel under a kernel (K, K), K odd; the border is repeated."""
    reach, channels = len(kernel) // 2, x.shape[1]
    padded = functional.pad(x, (reach,) * 4, mode="replicate")
    return functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(4 * sigma)
    line = torch.exp(-((torch.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    line = line / line.sum()
    return _filtered(x, line[:, None] * line)


def _resampled(x: Tensor, shift: Tensor, zoom: float) -> Tensor:
    """Each image moved by its shift (N, 2), right and down in pixels, and zoomed in about its middle."""
    height, width = x.shape[2:]
    affine = torch.zeros(len(x), 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = 1 / zoom
    affine[:, :, 2] = -2 * shift / torch.tensor([width, height])
    grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _sampled(x: Tensor, moves: Tensor) -> Tensor:
    """Each pixel from where its move (N, 2, H, W), right and down in pixels, points to."""
    height, width = x.shape[2:]
    still = functional.affine_grid(torch.eye(2, 3).expand(len(x), -1, -1), list(x.shape), align_corners=False)
    grid = still + moves.permute(0, 2, 3, 1) * 2 / torch.tensor([width, height])
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
"""In the order of the paper: noise, blur, weather, digital."""
