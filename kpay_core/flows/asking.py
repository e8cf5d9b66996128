"""Asking a processor or a bank, which may not answer."""

from collections.abc import Awaitable
from typing import TypeVar

from kpay_core.domain.errors import NoProcessor
from kpay_core.domain.scope import Scope
from kpay_core.ports import NoAnswer, Ports, Processor

A = TypeVar("A")


def processor_of(ports: Ports, scope: Scope) -> Processor:
    """Return who takes the charges of a mode, or raise `NoProcessor`."""
    try:
        return ports.processors[scope.mode]
    except KeyError:
        raise NoProcessor(scope.mode) from None


def takes_test_cards(processor: Processor) -> bool:
    """Tell whether a processor is a sandbox, for which test cards are made."""
    return getattr(processor, "takes_test_cards", False)


async def ask(question: Awaitable[A]) -> A | None:
    """Return the answer of a network or a bank, or None when none came and nothing is known."""
    try:
        return await question
    except NoAnswer:
        return None
