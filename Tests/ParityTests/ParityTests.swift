import Basics
import Foundation
import Generation
import Media
import Parity
import Testing
import Torch

/// Walks the goldens in LIVETALK_GOLDENS (directories separated by colons; by default Tests/Goldens).
@Suite(.serialized) struct ParityTests {
  static let roots: [URL] = {
    let given = ProcessInfo.processInfo.environment["LIVETALK_GOLDENS"] ?? ""
    let paths = given.split(separator: ":").map(String.init)
    guard paths.isEmpty else { return paths.map { URL(fileURLWithPath: $0) } }
    return [
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Goldens").standardized
    ]
  }()

  static let media = MediaReader(
    picture: { try Picture(contentsOf: $0.path, applyOrientation: false) },
    sound: { url, rate in try Sound(contentsOf: url.path, sampleRate: rate).samples })

  @Test(arguments: ParitySuite.directories(under: roots))
  func `a golden of the reference is met`(directory: URL) {
    let result = ParitySuite.run(directory, device: .cpu, media: Self.media)
    print(result.line)
    #expect(result.passed, "\(result.line)")
  }

  @Test func `there are goldens to walk`() {
    #expect(!ParitySuite.directories(under: Self.roots).isEmpty)
  }
}
