"""The question that the suite asks over and over."""

from typing import Any

from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store
from kpay_core.query import Condition, Query


async def charges_of(store: Store, merchant: Merchant, *where: Condition, **options: Any) -> list[Charge]:
    options = {"limit": 100, **options}
    return list(
        await store.find(Query(kind=Charge, where=(("merchant", "=", merchant.id), *where), **options))
    )
