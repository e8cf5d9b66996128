"""Many runs on all cores: seeds are dealt out in chunks, and the first failure ends it."""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import msgspec

from kpay_adapters.simulation.faults import EVERY_FAULT, Fault
from kpay_adapters.simulation.runs import STEPS, Batch, Failure, Runner, run_seeds

# Seeds dealt out at a time: about a quarter of a second of work.
CHUNK = 100

OnProgress = Callable[[int], None]


def tell_nobody(runs: int) -> None:
    """Tell nobody how many more runs were made."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run: so many seeds from the first on, of so many steps, with some faults, by so many processes."""

    seeds: int
    first_seed: int = 0
    steps: int = STEPS
    faults: Collection[Fault] = EVERY_FAULT
    jobs: int = 1

    @property
    def chunks(self) -> Iterator[range]:
        end = self.first_seed + self.seeds
        for start in range(self.first_seed, end, CHUNK):
            yield range(start, min(start + CHUNK, end))


class Result(msgspec.Struct, kw_only=True):
    """
    What a campaign came to.

    `seconds` is how long it took, and `cpu_seconds` how long its processes worked; `failure` is that of the lowest
    seed among those that had failed when it was ended.
    """

    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    failure: Failure | None = None

    def add(self, batch: Batch) -> None:
        self.runs += batch.runs
        self.steps += batch.steps
        self.cpu_seconds += batch.seconds
        for failure in batch.failures:
            if self.failure is None or failure.seed < self.failure.seed:
                self.failure = failure


def simulate(campaign: Campaign, *, on_progress: OnProgress = tell_nobody) -> Result:
    """Run a campaign to its end, or to its first failure; `on_progress` is told how many more runs were made."""
    began = time.monotonic()
    result = Result()
    for batch in _batches(campaign):
        result.add(batch)
        on_progress(batch.runs)
    result.seconds = time.monotonic() - began
    return result


def _batches(campaign: Campaign) -> Iterator[Batch]:
    if campaign.jobs == 1:
        collects = gc.isenabled()
        _begin(campaign.steps, campaign.faults)
        try:
            for chunk in campaign.chunks:
                batch = _work(chunk)
                yield batch
                if batch.failures:
                    return
        finally:
            gc.unfreeze()
            if collects:
                gc.enable()
        return
    # Each process makes its own beginning once; it inherits nothing but what it is told.
    pool = ProcessPoolExecutor(
        campaign.jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(campaign.steps, campaign.faults),
    )
    with pool:
        yield from _deal_out(pool, campaign)


def _deal_out(pool: ProcessPoolExecutor, campaign: Campaign) -> Iterator[Batch]:
    """Keep every process busy, and begin nothing more once a run has failed."""
    chunks = campaign.chunks
    under_way: set[Future[Batch]] = set()
    failed = False
    while True:
        while not failed and len(under_way) < 2 * campaign.jobs and (chunk := next(chunks, None)):
            under_way.add(pool.submit(_work, chunk))
        if not under_way:
            return
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            batch = future.result()
            failed = failed or bool(batch.failures)
            yield batch


class _Process:
    """What a process keeps from one chunk to the next."""

    runner: Runner


def _begin(steps: int, faults: Collection[Fault]) -> None:
    _Process.runner = Runner(steps=steps, faults=faults)
    # Worlds end in cycles, all at once after a chunk: looking for them all the while costs a tenth of the time.
    gc.freeze()
    gc.disable()


def _work(seeds: range) -> Batch:
    began = time.process_time()
    batch = run_seeds(_Process.runner, seeds)
    gc.collect()
    batch.seconds = time.process_time() - began
    return batch


def cores() -> int:
    """Return how many processes can run at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
