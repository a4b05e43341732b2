"""The command ``resolvent explore``: serves the explorer on this machine and opens it."""

from __future__ import annotations

import ipaddress
from typing import Any

import click

__all__ = ["explore_command", "make_server"]


@click.command("explore")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0 takes a free one."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Another address opens it to the network."
)
@click.option("--no-browser", is_flag=True, help="Only serve; open no browser.")
def explore_command(port: int, host: str, no_browser: bool) -> None:
    """Move the parameters of the models on a local page and watch theory and simulation answer.

    \b
    Examples:
      resolvent explore
      resolvent explore --port 0 --no-browser
    """
    server = make_server(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.server_port}/"
    if not _is_loopback(host):
        click.echo(
            f"Warning: {host} may be reached by other machines; the page has no password and computes for whoever opens it.",
            err=True,
        )
    click.echo(f"Explorer: {url} (Ctrl-C ends it)")
    if not no_browser:
        import webbrowser

        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("")
    finally:
        server.server_close()


def make_server(host: str = "127.0.0.1", port: int = 0) -> Any:
    """Return a threaded server of the page, bound and ready for ``serve_forever()``; its address is ``server_port``.

    Raises
    ------
    ValueError
        If the ``app`` extra is missing, or the address cannot be had.

    Examples
    --------
    >>> server = make_server(port=0)
    >>> server.server_port > 0
    True
    >>> server.server_close()
    """
    try:
        import dash  # noqa: F401
        from werkzeug.serving import WSGIRequestHandler
        from werkzeug.serving import make_server as make
    except ImportError as error:
        raise ValueError(
            f"the explorer needs the app extra: pip install 'resolvent[app]' ({error})"
        ) from None
    from resolvent.explorer.app import create_app

    class Quiet(WSGIRequestHandler):
        """Errors only: a line a request says nothing here."""

        def log_request(self, *rest: Any) -> None:
            pass

    try:
        return make(host, port, create_app().server, threaded=True, request_handler=Quiet)
    except (OSError, SystemExit) as error:  # werkzeug exits where the port is taken
        reason = getattr(error, "strerror", None) or "it is in use or cannot be bound"
        raise ValueError(f"--host {host} --port {port} cannot be served: {reason}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
