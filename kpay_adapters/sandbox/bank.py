"""The sandbox as a bank: payouts that arrive after a day, or come back."""

from collections.abc import Sequence
from datetime import timedelta

from kpay_adapters.sandbox.journal import Journal, Payment, verdict_on
from kpay_core.commit import Conflict
from kpay_core.domain.banking import BankOutcome, BankVerdict
from kpay_core.domain.news import Testimony
from kpay_core.ports import Clock, Store
from kpay_core.query import Query

# Accounts to which no payout gets; every other one is good, as is the usual 000123456789.
FAILING = {"000111111116": "account_closed"}

# A working day, as it takes between banks.
IN_TRANSIT_FOR = timedelta(hours=24)


class SandboxBank:
    """
    A bank that moves no money, and pays out to any account, but for the magic one.

    Implements the `BankRail` port, and is a `Witness`. Many processes may run one each on the same journal.
    """

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        self._journal = Journal(journal)
        self._clock = clock

    async def send(
        self,
        *,
        reference: str,
        amount: int,
        currency: str,  # noqa: ARG002 - there is one
        account: str,
    ) -> BankVerdict:
        payment = await self._journal.get(Payment, reference)
        if payment is None:
            payment = await self._take(reference, amount, account)
        return verdict_on(payment, now=self._clock.now())

    async def testify(self, *, after: str, limit: int) -> Sequence[Testimony]:
        query = Query(kind=Payment, where=(("id", ">", after),), limit=limit)
        return [
            Testimony(
                reference=payment.id,
                # Also while it is in transit: it was decided when the payment was taken on, whatever clocks show.
                moved=payment.outcome is BankOutcome.PAID,
                amount=payment.amount,
            )
            for payment in await self._journal.find(query)
        ]

    async def _take(self, reference: str, amount: int, account: str) -> Payment:
        """Take a payment on, or return the one that somebody else brought under its reference."""
        code = FAILING.get(account)
        payment = Payment(
            id=reference,
            amount=amount,
            outcome=BankOutcome.FAILED if code else BankOutcome.PAID,
            code=code,
            due_at=self._clock.now() + IN_TRANSIT_FOR,
        )
        try:
            await self._journal.commit(payment)
            return payment
        except Conflict:
            return await self._journal.get(Payment, reference) or payment
