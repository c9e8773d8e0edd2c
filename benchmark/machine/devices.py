"""Which device `auto` stands for, and how many GPUs torch can use; asked by plans, workers and `bench doctor`."""


def num_gpus() -> int:
    """GPUs that torch can compute on in this process.

    Neither CUDA_VISIBLE_DEVICES nor a file in /dev says so: either may name a GPU that is not there, or has no driver.
    """
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolved(name: str) -> str:
    """The device that a name stands for in this process: "auto" is "cuda" or "cpu"."""
    if name == "auto":
        return "cuda" if num_gpus() else "cpu"
    return name
