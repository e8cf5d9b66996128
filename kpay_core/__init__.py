"""The core of K-Payments: what is decided about money, and nothing about where it is stored or who asks."""

from kpay_core.domain.scope import Scope
from kpay_core.kpay import Kpay

__all__ = ["Kpay", "Scope"]
