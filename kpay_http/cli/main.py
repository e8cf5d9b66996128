"""`kpay`: every command, and the one way in which commands go wrong."""

import sys
from importlib.metadata import version

import click

from kpay_core.commit import CommitFailed
from kpay_core.domain.errors import Invalid, KpayError
from kpay_core.ports import CannotUnseal
from kpay_http.cli import audit, check, events, keys, listen, merchants, running, simulate
from kpay_http.compose import CannotCheck, NotMigrated, Unreachable
from kpay_http.settings import BadSetting


class NotDone(click.ClickException):
    """What could not be looked at. Its exit status is not 1, which says that something is wrong there."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands end with one clear line when something is wrong."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return self._invoke(ctx)
        except click.UsageError:
            raise
        except click.ClickException as failed:
            if ctx.invoked_subcommand in (audit.audit.name, check.check.name):
                raise NotDone(failed.message) from failed
            raise

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BadSetting as wrong:
            raise click.ClickException(str(wrong)) from wrong
        except Invalid as wrong:
            told = "; ".join(f"{name}: {', '.join(errors)}" for name, errors in wrong.fields.items())
            raise click.ClickException(told) from wrong
        except KpayError as wrong:
            raise click.ClickException(wrong.message) from wrong
        except (CannotCheck, NotMigrated, Unreachable) as wrong:
            raise click.ClickException(str(wrong)) from wrong
        except CannotUnseal as wrong:
            raise click.ClickException(f"A stored secret cannot be opened: {wrong}.") from wrong
        except CommitFailed as failed:
            raise click.ClickException(
                f"The database cannot be reached or is not migrated: {failed}"
            ) from failed


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("k-payments"), prog_name="kpay")
def commands() -> None:
    """
    K-Payments: a payments API that anyone can run.

    Settings come from the environment: KPAY_DATABASE_URL, KPAY_HOST, KPAY_PORT, KPAY_BROKER_URL, KPAY_SECRET_KEY,
    KPAY_SEALING_KEYS, KPAY_SANDBOX_URL, KPAY_ALLOW_LOCAL_WEBHOOKS, KPAY_TEST_CLOCK, KPAY_RATE_LIMIT,
    KPAY_LOG_FORMAT.
    """


for command in (
    *running.COMMANDS,
    merchants.merchants,
    keys.keys,
    events.events,
    listen.listen,
    audit.audit,
    check.check,
    simulate.simulate_command,
):
    commands.add_command(command)


def main() -> None:
    """Run the command line."""
    sys.exit(commands())
