/// How connections are made.
package struct PeerSettings: Sendable, Equatable {
  /// `stun://host:port`, to learn one's own address behind a NAT.
  package var stunServer: String?
  /// `turn://user:password@host:port` or `turns://…`, to be reached where nothing else gets through.
  package var turnServers: [String] = []
  /// Only this machine can connect.
  package var isLoopbackOnly = false
  /// UDP ports to use, such as those that a firewall lets through.
  package var ports: ClosedRange<Int>?
  /// What is sent, the favourite first; H.264 needs GStreamer's x264enc.
  package var codecs: [VideoCodec] = [.vp8, .h264]
  /// Seconds without any packet after which a peer counts as lost. A viewer sends a report every second at the most.
  package var silence = 2.0
  package var viewerSilence = 6.0
  /// Seconds that a peer may take to connect.
  package var connecting = 15.0
  /// Seconds between the heartbeats on the data channel.
  package var heartbeat = 0.5
  /// Seconds to wait for candidates before an answer goes out with those there are.
  package var gathering = 2.0

  package init() {}

  /// Those of `codecs` that this machine's GStreamer can encode.
  ///
  /// - Throws: `WebRTCError` that is `unavailable` without GStreamer.
  package func availableCodecs() throws -> [VideoCodec] {
    try Graph.load()
    return codecs.filter { $0 != .h264 || Graph.has(element: "x264enc") }
  }
}
