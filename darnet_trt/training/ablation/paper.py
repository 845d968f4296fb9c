"""The numbers of arXiv 2105.06779, for comparison: its Tables 2 and 3."""

from __future__ import annotations

from typing import Final

from darnet_trt.training.model import Attention

VARIANTS: Final[dict[Attention, str]] = {
    "none": "ResNet18",
    "channel": "CA-ResNet18",
    "depth": "DA-ResNet18",
    "both": "Ours",
}
"""What the paper calls the networks."""

MEASURES: Final = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1-score",
}
"""Names of `evaluation.metrics.evaluate`, and what the paper calls them."""

Row = dict[str, tuple[float, float]]

TABLE_3: Final[dict[Attention, Row]] = {
    "none": {
        "auc": (0.9890, 0.0045),
        "accuracy": (0.9250, 0.0219),
        "sensitivity": (0.9124, 0.0597),
        "specificity": (0.9881, 0.0098),
        "f1": (0.9429, 0.0288),
    },
    "channel": {
        "auc": (0.9930, 0.0014),
        "accuracy": (0.9385, 0.0113),
        "sensitivity": (0.9373, 0.0123),
        "specificity": (0.9908, 0.0118),
        "f1": (0.9648, 0.0126),
    },
    "depth": {
        "auc": (0.9892, 0.0027),
        "accuracy": (0.9407, 0.0095),
        "sensitivity": (0.9243, 0.0164),
        "specificity": (0.9901, 0.0040),
        "f1": (0.9518, 0.0074),
    },
    "both": {
        "auc": (0.9900, 0.0016),
        "accuracy": (0.9470, 0.0054),
        "sensitivity": (0.9373, 0.0090),
        "specificity": (0.9828, 0.0137),
        "f1": (0.9526, 0.0072),
    },
}
"""Mean and standard deviation of five networks on the 472 test scans."""

PARAMETERS_M: Final[dict[Attention, float]] = {
    "none": 33.15,
    "channel": 33.24,
    "depth": 35.15,
    "both": 35.24,
}
"""In millions. The paper prints those of "depth" and "both" in each other's column: its text says
that both modules add 6.3 %, which is 35.24."""

TEST_SCANS: Final = 472

OTHERS: Final[dict[str, tuple[int, dict[str, float]]]] = {
    "[25]": (
        389,
        {"auc": 0.9797, "accuracy": 0.9249, "sensitivity": 0.9493, "specificity": 0.9113},
    ),
    "[12]": (3784, {"auc": 0.9212, "sensitivity": 0.7799, "specificity": 0.9355}),
    "[10]": (
        798,
        {
            "auc": 0.9400,
            "accuracy": 0.8863,
            "sensitivity": 0.8609,
            "specificity": 0.9435,
            "f1": 0.8814,
        },
    ),
}
"""The other methods of Table 2: their test scans and their scores."""
