"""A dispatch policy for flowgate: requests whose prompt a pod has cached go first, and nobody starves."""

from prefix_first._policy import PrefixFirst

__all__ = ["PrefixFirst"]
