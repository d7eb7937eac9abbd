"""A generator that is none: the picture's own spectrum is optimised, and no weights but the teacher's are used."""

from functools import cache

import torch
from torch import Generator as Stream
from torch import Tensor

SOFTEST = 0.02  # pixels are kept this far from 0 and 1 when a picture is turned into a latent


class Pixels:
    """Latents are spectra, channel-last: (B, H, W // 2 + 1, 6), real and imaginary parts of three colours.

    Each frequency is weighted with its wavelength, as in natural images: a step moves broad shapes more than grain
    (Olah et al., Feature Visualization, 2017). A sigmoid keeps the picture in [0, 1].
    """

    uri, trained_on, image_size, factor = "pixels", "no images at all: it has no weights", None, 2
    hash = ""  # of no weights

    def to(self, _device: torch.device | str) -> "Pixels":
        """There are no weights to move."""
        return self

    def draw(self, size: int, stream: Stream) -> Tensor:
        """The latent of faint noise around grey: (H, W // 2 + 1, 6)."""
        return 0.3 * torch.randn(size, size // 2 + 1, 6, generator=stream)

    def decode(self, z: Tensor) -> Tensor:
        """Latents -> images (B, 3, H, W) in [0, 1]."""
        size = z.shape[1]
        spectrum = torch.complex(z[..., :3].float(), z[..., 3:].float()) * weights(size).to(z.device).unsqueeze(-1)
        return torch.fft.irfft2(spectrum, s=(size, size), dim=(1, 2), norm="ortho").permute(0, 3, 1, 2).sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> their latents; pixels near 0 and 1 are softened."""
        flat = images.clamp(SOFTEST, 1 - SOFTEST).logit().permute(0, 2, 3, 1)
        spectrum = torch.fft.rfft2(flat, dim=(1, 2), norm="ortho") / weights(len(flat[0])).to(images.device)[..., None]
        return torch.cat([spectrum.real, spectrum.imag], -1)

    def project(self, z: Tensor) -> Tensor:
        """Every latent is a picture."""
        return z


@cache
def weights(size: int) -> Tensor:
    """The wavelength of each frequency (H, W // 2 + 1), at most the image's side, with mean square one."""
    down, across = torch.fft.fftfreq(size), torch.fft.rfftfreq(size)
    length = torch.hypot(down[:, None], across[None]).clamp(min=1 / size).reciprocal()
    return length / length.square().mean().sqrt()
