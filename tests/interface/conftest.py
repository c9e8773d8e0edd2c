"""These networks are too small to share among threads, and sums depend on their number."""

import torch

torch.set_num_threads(1)
