"""The cells of the stream matrix (test/support/stream-cells.ts) by Python's grpcio, which is gRPC's core in C++."""

import json
import sys
import time

import grpc


def encoded(text):
    """A message with one field of text, number 1."""
    return b"\x0a" + bytes([len(text)]) + text.encode()


def decoded(message):
    return message[2:].decode()


def call(channel, cell):
    kind, pause = cell["kind"], cell["pauseMs"] / 1000
    kinds = {
        "unary": channel.unary_unary,
        "server": channel.unary_stream,
        "client": channel.stream_unary,
        "bidi": channel.stream_stream,
    }
    method = kinds[kind]("/streams.v1.Streams/" + cell["method"], encoded, decoded)

    def requests():
        for text in cell["sent"]:
            time.sleep(pause)
            yield text

    sent = requests() if kind in ("client", "bidi") else next(requests())
    messages, timeout = [], cell["deadlineMs"] / 1000
    try:
        if kind in ("server", "bidi"):
            for message in method(sent, timeout=timeout):
                messages.append(message)
        else:
            messages.append(method(sent, timeout=timeout))
    except grpc.RpcError as error:
        return {"code": error.code().value[0], "text": error.details(), "messages": messages}
    return {"code": 0, "messages": messages}


def main(address, trusted=None):
    if trusted is None:
        channel = grpc.insecure_channel(address)
    else:
        with open(trusted, "rb") as file:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
    for cell in json.load(sys.stdin):
        print(json.dumps(call(channel, cell)), flush=True)


main(*sys.argv[1:])
