"""What lies between the files of scans and their results, put together and kept open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from darnet_trt.bundle.reading import Bundle
from darnet_trt.machine.pool import Pool
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.pipeline.batches import batches, largest_batch
from darnet_trt.runtime.prediction.pipeline.classify import Classifier
from darnet_trt.runtime.prediction.pipeline.finding import Finder
from darnet_trt.runtime.prediction.pipeline.loading import Loads, Ready
from darnet_trt.runtime.prediction.pipeline.making import Earlier, Making
from darnet_trt.runtime.prediction.pipeline.memory import Plan
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan.isolated import MODULE


class Pipeline:
    """Finds, loads and classifies studies, and makes their DICOM objects.

    Whoever has studies finds them with `finder` and puts them into `loads`, from a thread of its
    own; `results` gives what comes of them until `loads` has ended.

    Args:
        bundle: What classifies.
        plan: How much may run and wait.
        dicom: Kinds of DICOM objects to make of each result.
        earlier: Returns the result that stands for a study's key.
        evidence: Whether results keep their evidence.
        mixed: Whether a folder may hold several patients of one study.
        eager: Whether all processes of the plan may start at once. Otherwise, and without objects
            to make, one reads until the engine has to wait: the start of others slows the engine,
            and a network that takes seconds needs none.

    Attributes:
        pool: The processes that read.
        spool: What keeps the headers that wait.
        loads: Takes the studies.
        finder: Finds them.
    """

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        dicom: Sequence[str],
        earlier: Earlier,
        *,
        evidence: bool,
        mixed: bool = False,
        eager: bool = False,
    ) -> None:
        manifest = bundle.manifest
        self._bundle, self._shown = bundle, evidence or bool(dicom)
        eager = eager or bool(dicom)
        self.pool, self.spool = Pool(MODULE, plan.workers if eager else 1), Spool()
        self.loads = Loads(
            self.pool,
            self.spool,
            manifest.preprocessing,
            plan,
            sources=bool(dicom),
            grows=not eager,
        )
        self._making = Making(self.pool, dicom, manifest, plan, earlier, evidence=evidence)
        self.finder = Finder(self.pool, self.spool, plan.workers, plan.share, mixed=mixed)

    def results(
        self,
        engine: Engine,
        classified: Callable[[Ready, Result], None] = lambda ready, result: None,
    ) -> Iterator[Result]:
        """Yield the results as they are ready, until `loads` has ended.

        Args:
            engine: What classifies.
            classified: Called with each study and its result, before the objects are made.
        """
        largest = largest_batch(engine.runner)
        classifier = Classifier(engine, self._bundle, largest, self._shown)
        for batch in batches(self.loads, largest, self._making.waits):
            yield from self._making.whole()
            for ready, result in classifier.results(batch, self.loads):
                classified(ready, result)
                yield from self._making.add(result, ready.read.source)
        yield from self._making.rest()

    def close(self, *, keep_one: bool = False) -> None:
        """End all that runs.

        Args:
            keep_one: As of `Pool.close`.
        """
        self.loads.close()
        self.pool.close(keep_one=keep_one)
        self.spool.close()
