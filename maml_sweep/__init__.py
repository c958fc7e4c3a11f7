"""maml_sweep: which inner rate, meta rate, inner steps and meta-batch size suit your tasks?"""

__version__ = "0.1.0"
