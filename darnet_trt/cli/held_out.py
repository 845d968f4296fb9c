"""The metrics of held-out scans in words, for `train` and `bundle show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def measures(found: Mapping[str, float]) -> Iterator[str]:
    """List accuracy and the measures of COVID-19, one line each.

    Args:
        found: What `evaluation.metrics.evaluate` returns.
    """
    if "accuracy" in found:
        yield f"accuracy over all classes  {found['accuracy']:.3f}"
    if "covid_auc" in found:
        yield (
            f"covid-19 against the rest  AUC {found['covid_auc']:.3f}, "
            f"sensitivity {found['covid_sensitivity']:.3f}, "
            f"specificity {found['covid_specificity']:.3f}, F1 {found['covid_f1']:.3f}"
        )
