"""
Making a failing history shorter: what can be left out is left out, and every choice is as plain as it can be.

A shorter history must break the same law. It need not break it in the same way: any way will do that is easier to read.
"""

from collections.abc import Iterator

from kpay_adapters.simulation.draws import History
from kpay_adapters.simulation.runs import Failure, Runner

# Runs spent on one failure: a few seconds.
MAX_RUNS = 2_000


def shorten(runner: Runner, failure: Failure, *, max_runs: int = MAX_RUNS) -> Failure:
    """Return a failure of the same law with a history that is as short as could be found, in so many runs."""
    shrinking = Shrinking(runner, failure, max_runs)
    while shrinking.leave_out_steps() or shrinking.make_plain():
        pass
    return shrinking.best


class Shrinking:
    """One failure on its way to a shorter history."""

    def __init__(self, runner: Runner, failure: Failure, max_runs: int) -> None:
        self._runner = runner
        self._left = max_runs
        self.best = failure

    def leave_out_steps(self) -> bool:
        """Leave out runs of steps, long ones first; True where that made it shorter."""
        before = len(self.best.history)
        size = before
        while size:
            start = len(self.best.history) - size
            while start >= 0:
                history = self.best.history
                self._try([*history[:start], *history[start + size :]])
                start = min(start, len(self.best.history)) - size
            size //= 2
        return len(self.best.history) < before

    def make_plain(self) -> bool:
        """Make choices smaller, one by one; True where any could be."""
        made = False
        for step in range(len(self.best.history)):
            for shorter in self._plainer(step):
                if self._try(shorter):
                    made = True
                    break
        return made

    def _plainer(self, step: int) -> Iterator[History]:
        """Give out histories in which one choice of a step is 0, or half of what it was."""
        history = self.best.history
        choices = history[step] if step < len(history) else []
        for at, choice in enumerate(choices):
            for plainer in dict.fromkeys((0, choice // 2)):
                if plainer < choice:
                    changed = [*choices[:at], plainer, *choices[at + 1 :]]
                    yield [*history[:step], changed, *history[step + 1 :]]

    def _try(self, history: History) -> bool:
        """Keep a history if it fails in the same way."""
        if self._left <= 0:
            return False
        self._left -= 1
        failure = self._runner.repeat(self.best.seed, history)
        if failure is None or failure.law != self.best.law or len(failure.history) > len(self.best.history):
            return False
        self.best = failure
        return True
