"""Operations of our own in C, for a CPU: small networks train within a core's caches."""

from maml_sweep.kernels.choice import Kernels, chosen
from maml_sweep.kernels.library import prepare

__all__ = ["Kernels", "chosen", "prepare"]
