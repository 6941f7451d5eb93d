"""Search over named settings of a configuration: which values give the best log p(x) of validation images."""
