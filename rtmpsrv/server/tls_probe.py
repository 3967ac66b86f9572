"""Whether a TLS context has a certificate to show: the first half of a handshake, in memory. No I/O."""

from __future__ import annotations

import contextlib

from gevent import ssl


def can_serve(context: ssl.SSLContext) -> bool:
    """Tell whether a server with this context answers a client's hello. Never blocks."""
    if context.sni_callback is not None:
        return True  # it may change to another context when it hears the name
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    client = asking.wrap_bio(to_client, to_server)
    with contextlib.suppress(ssl.SSLWantReadError):  # its hello is written then
        client.do_handshake()
    try:
        server = context.wrap_bio(to_server, to_client, server_side=True)
        server.do_handshake()
    except ssl.SSLWantReadError:
        return True  # it has answered, with the certificate
    except ssl.SSLError:
        return False  # nothing that any client would take, or a context for clients
    return True
