"""The launch digest of an SEV-SNP guest of QEMU, computed a second time: AMD 56860 (8.17.2), AMD 24593 (table B-4), edk2's
OvmfSevMetadata, QEMU's sev.c. Shares no line with attestation/src/measure, and hashes the files themselves.

usage: snp_launch.py FIRMWARE KERNEL INITRD COMMANDLINE CPUSIG VCPUS
"""
import hashlib
import struct
import sys
import uuid

sha384 = lambda data: hashlib.sha384(data).digest()
guid = lambda text: uuid.UUID(text).bytes_le
page = 4096
firmware, kernel, initrd = (open(path, "rb").read() for path in sys.argv[1:4])
command_line, signature, vcpus = sys.argv[4], int(sys.argv[5], 0), int(sys.argv[6])

launch = bytes(48)


def update(kind, address, contents):
    global launch
    launch = sha384(launch + contents + struct.pack("<HBBBBBBQ", 0x70, kind, 0, 0, 0, 0, 0, address))


def structure(name):
    at = firmware.rindex(guid(name))  # the GUID comes last, its length before it, its data before that
    (length,) = struct.unpack_from("<H", firmware, at - 2)
    return firmware[at + 16 - length : at - 2]


start = (1 << 32) - len(firmware)
for at in range(0, len(firmware), page):
    update(1, start + at, sha384(firmware[at : at + page]))

(table_address,) = struct.unpack_from("<I", structure("7255371f-3a3b-4b04-927b-1da6efa8d454"))
(reset,) = struct.unpack_from("<I", structure("00f771de-1a7e-4fcb-890e-68c77e2fb44e"))
(offset,) = struct.unpack_from("<I", structure("dc886566-984a-4798-a75e-5585a7bf67cc"))
metadata = firmware[len(firmware) - offset :]
magic, _, version, count = struct.unpack_from("<4sIII", metadata)
assert (magic, version) == (b"ASEV", 1)

entries = b"".join(
    guid(name) + struct.pack("<H", 50) + hashlib.sha256(data).digest()
    for name, data in (
        ("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", command_line.encode() + b"\0"),
        ("44baf731-3a2f-4bd7-9af1-41e29169781d", initrd),
        ("4de79437-abd2-427f-b835-d5b172d2045b", kernel),
    )
)
table = guid("9438d606-4f22-4cc9-b479-a793d411fd21") + struct.pack("<H", 18 + len(entries)) + entries
hashes = (bytes(table_address % page) + table).ljust(page, b"\0")

for index in range(count):
    address, size, kind = struct.unpack_from("<III", metadata, 16 + 12 * index)
    if kind == 0x10:
        assert address == table_address - table_address % page and size == page
        update(1, address, sha384(hashes))
    elif kind in (2, 3):
        update({2: 5, 3: 6}[kind], address, bytes(48))
    else:
        assert kind in (1, 4)
        for at in range(0, size, page):
            update(3, address + at, bytes(48))

for cpu in range(vcpus):
    entry = reset if cpu else 0xFFFFFFF0
    vmsa = bytearray(page)
    segment = lambda at, selector, flags, base=0: struct.pack_into("<HHIQ", vmsa, at, selector, flags, 0xFFFF, base)
    for at in (0x00, 0x20, 0x30, 0x40, 0x50):  # es ss ds fs gs
        segment(at, 0, 0x93)
    segment(0x10, 0xF000, 0x9B, entry & 0xFFFF0000)  # cs
    segment(0x60, 0, 0)  # gdtr
    segment(0x70, 0, 0x82)  # ldtr
    segment(0x80, 0, 0)  # idtr
    segment(0x90, 0, 0x8B)  # tr
    for at, value in (
        (0xD0, 0x1000),  # efer
        (0x148, 0x40),  # cr4
        (0x158, 0x10),  # cr0
        (0x160, 0x400),  # dr7
        (0x168, 0xFFFF0FF0),  # dr6
        (0x170, 2),  # rflags
        (0x178, entry & 0xFFFF),  # rip
        (0x268, 0x0007040600070406),  # pat
        (0x310, signature),  # rdx
        (0x3B0, 1),  # sev_features
        (0x3E8, 1),  # xcr0
    ):
        struct.pack_into("<Q", vmsa, at, value)
    struct.pack_into("<I", vmsa, 0x408, 0x1F80)  # mxcsr
    struct.pack_into("<H", vmsa, 0x410, 0x37F)  # x87 control word
    update(2, 0xFFFFFFFFF000, sha384(bytes(vmsa)))

print(launch.hex())
