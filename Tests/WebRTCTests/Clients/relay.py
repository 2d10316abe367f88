"""Carries the packets of one connection, in both directions, or keeps them back."""

import random
import re
import select
import socket
import threading


class Relay:
    """Stands between a client and the candidate of an answer."""

    def __init__(self, passes):
        """`passes` tells of each packet, and of whether the client sent it, whether it is carried."""
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
                    if not self.passes(packet, ready is self.near):
                        continue
                    if ready is self.near:
                        self.far.sendto(packet, self.target)
                    elif client:
                        self.near.sendto(packet, client)
                except ConnectionRefusedError:
                    continue


class LossyRelay(Relay):
    """Loses one packet in twenty, and counts: of sound, which has fifty packets a second, in bursts of one to five, as radio links do.

    The same ones in every run: the n-th of every stream of packets, either way. aiortc throws away up to four further packets of sound
    before each burst, since its buffer waits for what is lost and gives out nothing without the next four; so the seed is one with which
    of events of two packets, once a second for 16 s, at most two are lost to it, whatever their phase.
    """

    SEED = 5898

    def __init__(self):
        super().__init__(self.is_lucky)
        self.dropped, self.carried, self.streams, self.sound = 0, 0, {}, None

    def stand_before(self, answer):
        self.sound = int(re.search(r"m=audio \S+ \S+ (\d+)", answer)[1])
        return super().stand_before(answer)

    def losses(self, longest):
        """Of each packet of a stream whether it is lost: a burst in each stretch that is twenty times as long, somewhere in it."""
        chance = random.Random(self.SEED)
        while True:
            burst = chance.randint(1, longest)
            start = chance.randrange(19 * burst)
            for place in range(20 * burst):
                yield start <= place < start + burst

    def is_lucky(self, packet, is_from_client):
        # What the first bytes tell apart (RFC 7983, RFC 5761): of RTP the source, of the rest the kind.
        is_media = 128 <= packet[0] < 192
        is_rtp = is_media and not 192 <= packet[1] < 224
        stream = (is_from_client, packet[8:12] if is_rtp else is_media)
        if stream not in self.streams:
            self.streams[stream] = self.losses(longest=5 if is_rtp and packet[1] & 127 == self.sound else 1)
        is_lost = next(self.streams[stream])
        self.dropped += is_lost
        self.carried += not is_lost
        return not is_lost
