"""
Where a merchant's requests go: a `Kpay` in this process, or a server somewhere.

Both are asked in the same words and answer in the same words, so whatever is proved of the one can be proved of the
other.
"""

from kpay_adapters.testing.targets.asking import Ask, CannotAsk, Reply, Said, Target, Verb
from kpay_adapters.testing.targets.in_process import InProcess
from kpay_adapters.testing.targets.over_http import OverHttp

__all__ = ["Ask", "CannotAsk", "InProcess", "OverHttp", "Reply", "Said", "Target", "Verb"]
