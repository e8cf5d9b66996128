"""Asking a processor, which may not answer."""

from collections.abc import Awaitable

from kpay_core.domain.errors import NoProcessor
from kpay_core.domain.processing import Verdict
from kpay_core.domain.scope import Scope
from kpay_core.ports import NoAnswer, Ports, Processor


def processor_of(ports: Ports, scope: Scope) -> Processor:
    """Return who takes the charges of a mode, or raise `NoProcessor`."""
    try:
        return ports.processors[scope.mode]
    except KeyError:
        raise NoProcessor(scope.mode) from None


async def ask(question: Awaitable[Verdict]) -> Verdict | None:
    """Return the verdict, or None when no answer came and nothing is known."""
    try:
        return await question
    except NoAnswer:
        return None
