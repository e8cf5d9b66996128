"""
Posts webhooks to servers of merchants, which may be slow, broken or hostile.

`posting` sends, `guard` knows what may be dialled, `answers` reads what comes back. Nothing is logged in here, and no
exception leaves: a URL's query and the headers may hold a merchant's secrets.
"""

from kpay_adapters.sender.posting import AiohttpCourier, Sender

__all__ = ["AiohttpCourier", "Sender"]
