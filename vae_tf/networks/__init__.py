"""Bodies of encoders and decoders: features in, features out, no probability.

An encoder maps images [B, H, W, C] to features [B, F]; a decoder maps latents [N, D] to features [N, F] or [N, H, W, F]. The last,
linear map to the parameters of a distribution belongs to the posterior and the likelihood.
"""

from vae_tf.networks.conv import ConvDecoder, ConvEncoder
from vae_tf.networks.mlp import MLPDecoder, MLPEncoder

__all__ = ["DECODERS", "ENCODERS", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]

ENCODERS = {"mlp": MLPEncoder, "conv": ConvEncoder}
DECODERS = {"mlp": MLPDecoder, "conv": ConvDecoder}
