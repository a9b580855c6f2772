"""The web server of the page, and who may reach it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from streamprn.errors import InputError

if TYPE_CHECKING:
    import viser

__all__ = ["check_host", "open_server"]


def check_host(host: str, port: int, *, token: str | None, insecure: bool) -> None:
    """Refuse what cannot be listened on, or would show faces to other machines unasked.

    Raises:
        InputError: other machines reach it and no token is asked for, it is no address of this
            machine, or it is in use.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(
            f"--host {host}: {error.strerror or error}", hint="name an address of this machine"
        ) from error
    local = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    if not (insecure or local or token is not None):
        raise InputError(
            f"--host {host}: other machines reach it, and whoever does sees the pictures",
            hint="give --token FILE; or leave it at 127.0.0.1 and use `ssh -L`; or say --insecure",
        )
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise InputError(
                f"{host}:{port}: {error.strerror or error}", hint="choose another --port"
            ) from error


def open_server(
    host: str, port: int, token: str | None = None, *, insecure: bool = False
) -> viser.ViserServer:
    """Start the server; port 0 takes a free one.

    Args:
        host: to listen on.
        port: to listen on.
        token: that browsers must bring, or None.
        insecure: whether it may be reached by any name.

    Raises:
        InputError: viser is not installed, or one that cannot be guarded.
    """
    try:
        import viser
    except ImportError as error:
        raise InputError(
            "the page needs the package viser, which is not installed",
            hint="pip install 'streamprn[view]'",
        ) from error
    from streamprn.view.admission import Admission

    admission = Admission(token, any_name=insecure)

    class Server(viser.ViserServer):  # type: ignore[misc]
        def anyone_looks(self) -> bool:
            """Whether a browser is connected that shows the page, as far as is known."""
            return admission.onlookers.look(len(self.get_clients()))

        def request_share_url(self, *_: Any, **__: Any) -> None:
            """A page that a client asks to be shown to the world stays where it is."""

    with admission.guarding():
        server = Server(host=host, port=port, verbose=False)
    if not admission.installed:
        server.stop()
        raise InputError(
            f"viser {viser.__version__} serves in a way that cannot be guarded",
            hint="pip install 'viser>=1.1,<1.2'",
        )
    return server
