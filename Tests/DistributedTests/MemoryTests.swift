import Generation
import Testing
import Torch

/// What work takes, counted beforehand and measured in a process of its own.
@Suite(.serialized) struct MemoryTests {
  /// The peaks of a process whose C library gives freed memory back at once, by the estimate's names.
  private func measured(_ preset: String, _ side: Int, _ what: String...) async throws -> [String: Int] {
    let give = ["MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"]
    let lines = try await Ranks(1, ["memory", preset, "\(side)", "\(side)"] + what, environment: give).succeed()[0]
    return Dictionary(
      uniqueKeysWithValues: lines.compactMap { line in
        let parts = line.split(separator: ":")
        return parts.count == 2 ? Int(parts[1].dropFirst()).map { (String(parts[0]), $0) } : nil
      })
  }

  private func compare(_ estimate: MemoryEstimate, _ measured: [String: Int]) throws {
    #expect(!measured.isEmpty)
    for (name, bytes) in measured {
      let counted = try #require(estimate.activations.first { $0.name == name }?.bytes)
      print("memory: \(name): \(counted) bytes counted, \(bytes) measured")
      #expect(abs(Double(counted) / Double(bytes) - 1) <= 0.1, "\(name): \(counted) of \(bytes)")
    }
  }

  @Test func `encoding the picture and decoding a block of Live Avatar take what is counted`() async throws {
    let measured = try await measured("liveavatar-tiny", 256, "picture", "blocks")
    #expect(measured.count == 3)
    let size = ReferencePicture.Size(height: 256, width: 256)
    // A step's figure is a lower bound: attention has buffers of its own, and at this size they are a tenth of it.
    try compare(
      MemoryEstimate(LiveAvatarPreset.liveAvatarTiny, size: size, dtype: .float32),
      measured.filter { $0.key != "denoising step" })
  }
}
