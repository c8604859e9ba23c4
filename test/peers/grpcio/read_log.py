"""The log over plain h2 by Python's grpcio: messages as reflection describes them, and nothing of ours."""

import hashlib
import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "enclaim.v1.Log"


def fields(message):
    """Fields of bytes that are delimited by their length, by number."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 != 2:
            varint()
            continue
        length = varint()
        found.setdefault(tag >> 3, []).append(message[at : at + length])
        at += length
    return found


def described(channel):
    """A pool with the files of the service, as reflection gives them."""
    reflect = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", bytes, bytes)
    question = b"\x22" + bytes([len(SERVICE)]) + SERVICE.encode()
    [answer] = list(reflect(iter([question])))
    pool = descriptor_pool.DescriptorPool()
    files = [descriptor_pb2.FileDescriptorProto.FromString(each) for each in fields(fields(answer)[4][0])[1]]
    for each in reversed(files):
        pool.Add(each)
    return pool


def main(address, trusted):
    with open(trusted, "rb") as file:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
    pool = described(channel)
    factory = message_factory.MessageFactory(pool)

    def call(name, **request):
        method = pool.FindServiceByName(SERVICE).FindMethodByName(name)
        kinds = [factory.GetPrototype(each) for each in (method.input_type, method.output_type)]
        stub = channel.unary_unary(f"/{SERVICE}/{name}", kinds[0].SerializeToString, kinds[1].FromString)
        return stub(kinds[0](**request), timeout=60)

    note = call("GetCheckpoint").checkpoint
    size = int(note.split("\n")[1])
    hashes = call("GetTile", level=0, index=0, width=size).hashes
    leaves = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    try:
        call("GetEntries", first=0, count=1)
        refused = None
    except grpc.RpcError as error:
        refused = error.code().name
    print(json.dumps({"note": note, "root": root(leaves).hex(), "entries": refused}))


def root(leaves):
    """RFC 6962, 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


main(*sys.argv[1:])
