"""The metrics of held-out scans in words, for `train` and `bundle show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def measures(found: Mapping[str, float], classes: Sequence[str]) -> Iterator[str]:
    """List accuracy and the measures of the positive class, one line each.

    Args:
        found: What `evaluation.metrics.evaluate` returns, or did in older versions.
        classes: Names of the logits; the first is the positive one.
    """
    found = {name.removeprefix("covid_"): value for name, value in found.items()}
    if "accuracy" in found:
        yield f"accuracy over all classes  {found['accuracy']:.3f}"
    if "auc" in found:
        yield (
            f"{classes[0]} against the rest  AUC {found['auc']:.3f}, "
            f"sensitivity {found['sensitivity']:.3f}, "
            f"specificity {found['specificity']:.3f}, F1 {found['f1']:.3f}"
        )
    elif (scans := found.get(f"scans_{classes[0]}")) is not None:
        from darnet_trt.evaluation.metrics import not_measured  # imports numpy

        yield f"{classes[0]} against the rest  {not_measured(classes[0], int(scans))}"
