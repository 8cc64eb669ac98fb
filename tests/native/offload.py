"""``python -m tests.native.offload DEVICE...``: have the kernel finish its packets before a device takes them.

Between virtual devices packets travel without checksums and up to 64 KiB long; what is between them and is no kernel
(a wire) would pass on what nobody accepts.  What ethtool(8) does with ``-K DEVICE tx off tso off gso off``.
"""

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
SET_TX_CHECKSUM = 0x17
SET_SEGMENTATION = 0x1F
SET_GENERIC_SEGMENTATION = 0x24


def switch_off(device: str, command: int) -> None:
    value = array.array("I", [command, 0])
    request = struct.pack("16sQ", device.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def main(*devices: str) -> None:
    for device in devices:
        for command in (SET_TX_CHECKSUM, SET_SEGMENTATION, SET_GENERIC_SEGMENTATION):
            switch_off(device, command)


if __name__ == "__main__":
    main(*sys.argv[1:])
