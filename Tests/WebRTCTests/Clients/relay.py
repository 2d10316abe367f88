"""Carries the packets of one connection, in both directions, or keeps them back."""

import random
import re
import select
import socket
import threading


class Relay:
    """Stands between a client and the candidate of an answer."""

    def __init__(self, passes):
        """`passes` tells of each packet whether it is carried."""
        self.passes = passes

    def without_candidates(self, offer):
        """So that the other side knows no way but the one through the relay."""
        return "".join(line for line in offer.splitlines(True) if not line.startswith("a=candidate"))

    def stand_before(self, answer):
        """The answer with the relay's address for its own; as it is, if it has none."""
        pattern = r"(a=candidate:\S+ 1 UDP \d+) (\S+) (\d+) typ host"
        found = re.search(pattern, answer)
        if not found:
            return answer
        self.target = (found[2], int(found[3]))
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", 0))
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        threading.Thread(target=self.run, daemon=True).start()
        lines = [line for line in answer.splitlines(True) if not line.startswith("a=candidate")]
        at = next(i for i, line in enumerate(lines) if line.startswith("a=ice-pwd"))
        lines.insert(at + 1, f"{found[1]} 127.0.0.1 {self.near.getsockname()[1]} typ host\r\n")
        return "".join(lines)

    def run(self):
        client = None
        while True:
            for ready in select.select([self.near, self.far], [], [])[0]:
                try:
                    packet, sender = ready.recvfrom(65536)
                    if ready is self.near:
                        client = sender
                    if not self.passes():
                        continue
                    if ready is self.near:
                        self.far.sendto(packet, self.target)
                    elif client:
                        self.near.sendto(packet, client)
                except ConnectionRefusedError:
                    continue


class LossyRelay(Relay):
    """Loses some of the packets, and counts."""

    def __init__(self, percent):
        super().__init__(self.is_lucky)
        self.percent, self.dropped, self.carried = percent, 0, 0
        self.random = random.Random(1)

    def is_lucky(self):
        is_lost = self.random.random() * 100 < self.percent
        self.dropped += is_lost
        self.carried += not is_lost
        return not is_lost
