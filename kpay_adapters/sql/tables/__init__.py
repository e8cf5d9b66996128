"""
The tables of the records. What must never be false is a CHECK here, besides being guarded where the value is made.

Every constraint has a name, so that a refusal can say which one it was, and a migration can change it.
"""

from collections.abc import Mapping

from sqlalchemy import Table

from kpay_adapters.sql.tables.ledger import BOOKS, PAYOUTS, SETTLEMENTS, SHEETS, TRANSFERS
from kpay_adapters.sql.tables.merchants import API_KEYS, MERCHANTS
from kpay_adapters.sql.tables.payments import CHARGES, DISPUTES, IDEMPOTENCY_KEYS, NOTICES, REFUNDS
from kpay_adapters.sql.tables.schema import METADATA
from kpay_adapters.sql.tables.webhooks import ATTEMPTS, DELIVERIES, ENDPOINTS, EVENTS, LANES, SUBSCRIPTIONS
from kpay_core.commit import Record
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint, Subscriptions
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.keys import ApiKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.ledger import Book, Sheet, Transfer
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund

__all__ = ["CHARGES", "MERCHANTS", "METADATA", "RECORDS"]

# In the order in which every process writes: parents first, so that foreign keys hold and nobody waits in a circle.
RECORDS: Mapping[type[Record], Table] = {
    Merchant: MERCHANTS,
    ApiKey: API_KEYS,
    Book: BOOKS,
    Charge: CHARGES,
    Refund: REFUNDS,
    Dispute: DISPUTES,
    Notice: NOTICES,
    Settlement: SETTLEMENTS,
    Payout: PAYOUTS,
    Sheet: SHEETS,
    Transfer: TRANSFERS,
    IdempotencyKey: IDEMPOTENCY_KEYS,
    Event: EVENTS,
    Subscriptions: SUBSCRIPTIONS,
    Endpoint: ENDPOINTS,
    Lane: LANES,
    Delivery: DELIVERIES,
    Attempt: ATTEMPTS,
}
