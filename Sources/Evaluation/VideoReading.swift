package import Models
package import Torch

/// What is measured of the frames of one video: the face in them as a reader sees it, and plain figures of the pictures.
///
/// Frames are given one after the other and not kept.
// Unchecked for the reader, whose weights are only read.
package struct VideoReading: @unchecked Sendable {
  package let width: Int
  package let height: Int
  package let reader: FaceReader
  /// Of each frame, in the units of `FaceColumn`.
  package private(set) var columns: [[Float]] = []
  /// Of each frame, of length 1.
  package private(set) var identities: [[Float]] = []
  /// The reader's last map, averaged; what Fréchet distances compare.
  package private(set) var features: [[Float]] = []
  /// Mean red, green and blue of each frame, 0…255.
  package private(set) var colours: [[Float]] = []
  /// The largest of the standard deviations of the three colours, 0…255.
  package private(set) var deviations: [Float] = []
  /// Luminance of the backdrop, 0…255: the outer eighths of the upper half, where a speaker's head does not come, on a grid of
  /// 64 × 64 pixels for the whole picture.
  package private(set) var backdrops: [[Float]] = []

  private var waiting: [UInt8] = []
  private var waitingCount = 0
  private let device: Device
  private static let batch = 16
  private static let grid = 64

  package init(width: Int, height: Int, reader: FaceReader, device: Device = .cpu) {
    (self.width, self.height, self.reader, self.device) = (width, height, reader, device)
  }

  package var frames: Int { columns.count + waitingCount }

  /// - Parameter frame: packed RGB8.
  package mutating func append(_ frame: [UInt8]) {
    precondition(frame.count == width * height * 3, "a frame is width × height × 3 bytes")
    waiting.append(contentsOf: frame)
    waitingCount += 1
    if waitingCount == Self.batch { finish() }
  }

  /// Reads what waits for its batch to be full. After the last frame.
  package mutating func finish() {
    guard waitingCount > 0 else { return }
    withInferenceMode {
      let pixels = Tensor(waiting, [waitingCount, height, width, 3]).to(device).permute(0, 3, 1, 2).to(.float32)
      let reading = reader(FaceReader.pictures(pixels / 127.5 - 1))
      columns += rows(reading.columns)
      identities += rows(reading.identity)
      features += rows(reading.features)
      colours += rows(pixels.mean(2, 3))
      deviations += pixels.variance(2, 3, unbiased: false).sqrt().max(1).array(Float.self)
      let weights = Tensor([Float(0.299), 0.587, 0.114], [1, 3, 1, 1], device: device)
      let luminance = (pixels * weights).sum(1, keep: true)
        .interpolateBilinear(Self.grid, Self.grid, antialias: true).narrow(2, 0, Self.grid / 2)
      let edge = Self.grid / 8
      backdrops += rows(
        Tensor.cat([luminance.narrow(3, 0, edge), luminance.narrow(3, Self.grid - edge, edge)], 3).flatten(1))
    }
    waiting = []
    waitingCount = 0
  }

  /// The values of a column, one a frame.
  package func series(_ column: FaceColumn) -> [Double] { columns.map { Double($0[column.rawValue]) } }

  package var mouth: MouthSeries { MouthSeries(open: series(.mouthOpen), width: series(.mouthWidth)) }

  private func rows(_ tensor: Tensor) -> [[Float]] {
    let (count, width) = (tensor.size(0), tensor.size(1))
    let values = tensor.array(Float.self)
    return (0..<count).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }
}
