"""The cells of the stream matrix (test/support/stream-cells.ts) by grpclib, a client of its own over h2 and asyncio."""

import asyncio
import json
import ssl
import sys

from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

KINDS = {
    "unary": Cardinality.UNARY_UNARY,
    "server": Cardinality.UNARY_STREAM,
    "client": Cardinality.STREAM_UNARY,
    "bidi": Cardinality.STREAM_STREAM,
}


class Codec(CodecBase):
    """Messages with one field of text, number 1."""

    __content_subtype__ = "proto"

    def encode(self, message, message_type):
        return b"\x0a" + bytes([len(message)]) + message.encode()

    def decode(self, data, message_type):
        return data[2:].decode()


async def call(channel, cell):
    messages = []
    kind = KINDS[cell["kind"]]
    path = "/streams.v1.Streams/" + cell["method"]

    async def send(stream):
        for text in cell["sent"]:
            await asyncio.sleep(cell["pauseMs"] / 1000)
            await stream.send_message(text)
        await stream.end()

    try:
        async with channel.request(path, kind, str, str, timeout=cell["deadlineMs"] / 1000) as stream:
            await stream.send_request()
            sending = asyncio.create_task(send(stream))
            while (message := await stream.recv_message()) is not None:
                messages.append(message)
            # It takes no status before all is sent, though a call may be over by then.
            await sending
            await stream.recv_trailing_metadata()
        return {"code": 0, "messages": messages}
    except GRPCError as error:
        return {"code": error.status.value, "text": error.message, "messages": messages}


async def main(address, trusted=None):
    host, port = address.split(":")
    tls = None
    if trusted is not None:
        tls = ssl.create_default_context(cafile=trusted)
        tls.set_alpn_protocols(["h2"])
    async with Channel(host, int(port), ssl=tls, codec=Codec()) as channel:
        for cell in json.load(sys.stdin):
            print(json.dumps(await call(channel, cell)), flush=True)


asyncio.run(main(*sys.argv[1:]))
