"""Raw connections to an HTTP server, for what a well-behaved client does not do."""

import socket
from http.client import HTTPResponse


def read(client: socket.socket) -> str:
    """All that the server sends until it closes the connection."""
    received = b""
    while part := client.recv(65_536):
        received += part
    return received.decode()


def cut_off(client: socket.socket) -> bool:
    """Whether the server closes the connection without a response."""
    try:
        return not read(client)
    except ConnectionResetError:
        return True


def answer(client: socket.socket) -> tuple[HTTPResponse, bytes]:
    """The next response on a connection, and its body. Reads nothing that follows it."""
    response = HTTPResponse(client)
    response.begin()
    return response, response.read()


def accepts(host: str, port: int) -> bool:
    """Whether a connection is accepted."""
    try:
        socket.create_connection((host, port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True
