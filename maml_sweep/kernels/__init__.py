"""Operations of our own in C: small networks train lane by lane, each within a core's caches."""

from maml_sweep.kernels.mlp import fused

__all__ = ["fused"]
