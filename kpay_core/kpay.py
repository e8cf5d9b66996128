"""The front door: everything K-Payments does, as methods of one object made of ports."""

from kpay_core.flows import (
    audit,
    booking,
    charges,
    deliveries,
    delivering,
    disputes,
    due,
    endpoints,
    events,
    merchants,
    notices,
    payouts,
    refunds,
    sweep,
)
from kpay_core.ports import Ports


class Kpay(Ports):
    """
    A payments API in your own process.

        kpay = Kpay(store=…, processors={"test": …}, clock=…, ids=…, keyring=…)
        answer = await kpay.create_charge(scope, {"amount": 4999, …}, idempotency_key="order-1024")

    Each method is documented where it is written, in `kpay_core.flows`.
    """

    apply = merchants.apply
    approve = merchants.approve
    authenticate = merchants.authenticate
    ensure_demo_merchant = merchants.ensure_demo_merchant
    get_merchant = merchants.get_merchant
    list_merchants = merchants.list_merchants
    update_merchant = merchants.update_merchant
    list_keys = merchants.list_keys
    rotate_key = merchants.rotate_key
    revoke_key = merchants.revoke_key

    create_charge = charges.create_charge
    get_charge = charges.get_charge
    list_charges = charges.list_charges

    create_refund = refunds.create_refund
    get_refund = refunds.get_refund
    list_refunds = refunds.list_refunds

    update_dispute = disputes.update_dispute
    get_dispute = disputes.get_dispute
    list_disputes = disputes.list_disputes

    collect_news = notices.collect
    take_news = notices.take

    audit = audit.audit
    get_balance = booking.get_balance
    get_payout = payouts.get_payout
    list_payouts = payouts.list_payouts

    create_endpoint = endpoints.create_endpoint
    get_endpoint = endpoints.get_endpoint
    list_endpoints = endpoints.list_endpoints
    update_endpoint = endpoints.update_endpoint
    delete_endpoint = endpoints.delete_endpoint
    rotate_endpoint_secret = endpoints.rotate_endpoint_secret
    reseal_endpoints = endpoints.reseal_endpoints
    list_deliveries = deliveries.list_deliveries

    get_event = events.get_event
    list_events = events.list_events
    resend_event = events.resend_event

    sweep = sweep.sweep
    mature = payouts.mature
    settle = payouts.settle
    run_due = due.run_due
    next_due = due.next_due
    pass_time = due.pass_time
    endpoints_due = delivering.endpoints_due
    deliver_to = delivering.deliver_to
