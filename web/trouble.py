"""What an operator can mend: shown as one clear line, never as a traceback."""

import click


class Trouble(click.ClickException):
    """The message says what is wrong and what can be done. The command line ends with 2 on it."""

    exit_code = 2

    def show(self, file: object = None) -> None:  # noqa: ARG002 - it is always for standard error
        click.echo(f"surplusflow: {self.message}", err=True)
