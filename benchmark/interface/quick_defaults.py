"""What `evaluate` measures where nothing else is said: the settings of suites/quick.yaml."""

from typing import Any

QUICK: dict[str, Any] = {
    "pools": {"auxiliary": 0.27},
    "replicas": 2,
    "evaluators": {
        "standard": {"architecture": "small_vgg", "regime": {"method": "standard", "epochs": 6}},
        "robust": {
            "architecture": "small_resnet",
            "regime": {"method": "pgd_at", "norm": "l2", "epsilon": 1.5, "steps": 2, "epochs": 8},
        },
    },
    "evasion": [
        {"method": "autoattack_quick", "norm": "l2", "epsilon": 1.5},
        {"method": "pgd", "norm": "l2", "epsilon": 1.5, "steps": 20},
        {"method": "fgsm", "norm": "l2", "epsilon": 1.5},
        {"method": "pgd", "norm": "linf", "epsilon": 0.5, "steps": 20},
    ],
    "inversion": [
        {
            "method": "gradient",
            "norm": "l2",
            "steps": 100,
            "step_size": 1.0,
            "start_mean": 0,
            "start_std": 0.3,
            "samples_per_class": 8,
        }
    ],
    "membership": ["loss_threshold"],
    "evaluation": {"num_images": 500, "num_members": 250, "neighbours": 50},
}
"""Keys of a suite file. The number of members of each control is the suite's default, half of the private images."""
