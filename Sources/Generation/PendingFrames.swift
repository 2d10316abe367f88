import Basics
import Distributed
import Models
import Torch

/// Frames that a device may still be computing, or another process.
package struct PendingFrames {
  private let pixels: Tensor  // [T, H, W, 3], bytes
  private let facts: Tensor  // [3]: the least and the largest latent, the sum of the decoded values
  private let source: Source

  private enum Source {
    case stream(Stream)
    case processes([ProcessGroup.Transfer], seconds: [Tensor])
  }

  /// Decodes latents of the current stream on another one.
  init(of latents: Tensor, on stream: Stream, decode: (Tensor) -> Tensor) {
    stream.wait(for: .current(latents.device))
    stream.keep(latents)
    (pixels, facts) = stream.run {
      let video = decode(latents)
      let facts = Tensor.stack([latents.min(), latents.max()].map { $0.to(.float32) } + [video.sum().to(.float32)], 0)
      return (WanVAE.pixels(video), facts)
    }
    source = .stream(stream)
  }

  package var count: Int { pixels.size(0) }

  /// Waits for the frames and copies them to the host: packed RGB, one array per frame.
  ///
  /// - Throws: `LiveTalkError` for latents or frames that are not finite, or that have one value or colour everywhere; `TorchError` when
  ///   another process does not send them.
  package func read() throws -> [[UInt8]] {
    let (pixels, facts) = try onHost()
    let bytes = pixels.bytes()
    try GeneratedValues.check(facts.narrow(0, 0, 2), "latents of the video")
    try GeneratedValues.checkFrames(facts.narrow(0, 2, 1))
    let frame = bytes.count / max(count, 1)
    return try (0..<count).map {
      let picture = Array(bytes[$0 * frame..<($0 + 1) * frame])
      if haveOneColour(picture) { try GeneratedValues.refuseFlat("pixels of a frame") }
      return picture
    }
  }

  private func onHost() throws -> (pixels: Tensor, facts: Tensor) {
    switch source {
    case .stream(let stream): return stream.run { (pixels.to(.cpu).contiguous(), facts.to(.cpu)) }
    case .processes(let transfers, _):
      for transfer in transfers { try transfer.wait() }
      return (pixels, facts)
    }
  }
}

// MARK: From one process of a pipeline to another

extension PendingFrames {
  /// A block that other processes go on with, under this number.
  init(
    _ count: Int, _ size: ReferencePicture.Size, decodedBy decoder: Int, of group: ProcessGroup, number: Int
  ) throws {
    let pixels = Tensor.zeros([count, size.height, size.width, 3], .uint8)
    let facts = Tensor.zeros([3])
    (self.pixels, self.facts) = (pixels, facts)
    let seconds = (1..<group.size).map { _ in Tensor.zeros([1], .float64) }
    let tag = PipelineTag.pictures(number)
    source = .processes(
      try [
        group.startReceive(into: pixels, from: decoder, tag: tag),
        group.startReceive(into: facts, from: decoder, tag: tag + 1),
      ]
        + seconds.enumerated().map {
          try group.startReceive(into: $0.element, from: $0.offset + 1, tag: PipelineTag.seconds(number))
        }, seconds: seconds)
  }

  /// Waits for the frames of a block and sends them to the first process.
  func send(_ group: ProcessGroup, number: Int) throws -> [ProcessGroup.Transfer] {
    let (pixels, facts) = try onHost()
    let tag = PipelineTag.pictures(number)
    return [try group.startSend(pixels, to: 0, tag: tag), try group.startSend(facts, to: 0, tag: tag + 1)]
  }

  /// What comes from other processes.
  var transfers: [ProcessGroup.Transfer] {
    guard case .processes(let transfers, _) = source else { return [] }
    return transfers
  }

  /// For how many seconds each other process worked on them, once they have been read.
  package var seconds: [Double] {
    guard case .processes(_, let seconds) = source else { return [] }
    return seconds.map(\.item)
  }
}
