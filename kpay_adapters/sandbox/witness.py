"""The network and the bank as one witness."""

import heapq
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

from kpay_core.domain.news import Testimony
from kpay_core.ports import Witness


class Witnesses:
    """
    Several witnesses as one. Implements the `Witness` port.

    No reference is known to two of them: charges are bare UUIDs, refunds begin with `re_`, payouts with `po_`.
    """

    def __init__(self, *witnesses: Witness) -> None:
        self._witnesses = witnesses

    async def testify(self, *, after: str, limit: int) -> Sequence[Testimony]:
        told = [await witness.testify(after=after, limit=limit) for witness in self._witnesses]
        return list(islice(heapq.merge(*told, key=attrgetter("reference")), limit))
