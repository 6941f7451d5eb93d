"""Bodies of encoders and decoders: features in, features out, no probability.

An encoder maps images [B, H, W, C] to features [B, F]; a decoder maps latents [N, D] to features [N, F] or [N, H, W, F]. The last,
linear map to the parameters of a distribution belongs to the posterior and the likelihood. With a condition the image has one more
channel and the latent more coordinates: a body learns C and D from its first input.
"""

from vae_tf.networks.conv import ConvDecoder, ConvEncoder
from vae_tf.networks.mlp import MLPDecoder, MLPEncoder
from vae_tf.networks.residual import ResidualDecoder, ResidualEncoder

__all__ = ["DECODERS", "ENCODERS", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder", "ResidualDecoder", "ResidualEncoder"]

ENCODERS = {"mlp": MLPEncoder, "conv": ConvEncoder, "residual": ResidualEncoder}
DECODERS = {"mlp": MLPDecoder, "conv": ConvDecoder, "residual": ResidualDecoder}
