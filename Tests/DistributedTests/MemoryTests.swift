import Generation
import Testing
import Torch

/// What work takes, counted beforehand and measured in a process of its own.
@Suite(.serialized) struct MemoryTests {
  /// The peaks of a process whose C library gives freed memory back at once, by the estimate's names.
  private func measured(_ preset: String, _ side: Int, _ dtype: String, _ what: String...) async throws
    -> [String: Int]
  {
    let give = ["MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"]
    let arguments = ["memory", preset, "\(side)", "\(side)", dtype] + what
    let lines = try await Ranks(1, arguments, environment: give).succeed()[0]
    return Dictionary(
      uniqueKeysWithValues: lines.compactMap { line in
        let parts = line.split(separator: ":")
        return parts.count == 2 ? Int(parts[1].dropFirst()).map { (String(parts[0]), $0) } : nil
      })
  }

  private func compare(_ estimate: MemoryEstimate, _ measured: [String: Int], count: Int) throws {
    #expect(measured.count == count)
    for (name, bytes) in measured {
      let counted = try #require(estimate.activations.first { $0.name == name }?.bytes)
      print("memory: \(name): \(counted) bytes counted, \(bytes) measured")
      #expect(abs(Double(counted) / Double(bytes) - 1) <= 0.1, "\(name): \(counted) of \(bytes)")
    }
  }

  /// The processes' number of threads, which attention's buffers depend on.
  private func withOneThread<Result>(_ body: () throws -> Result) rethrows -> Result {
    let threads = Torch.threads
    Torch.threads = 1
    defer { Torch.threads = threads }
    return try body()
  }

  @Test func `encoding the picture and decoding a block of Live Avatar take what is counted`() async throws {
    let measured = try await measured("liveavatar-tiny", 256, "fp32", "picture", "frames")
    let size = ReferencePicture.Size(height: 256, width: 256)
    let preset = LiveAvatarPreset.liveAvatarTiny
    try compare(MemoryEstimate(preset, size: size, dtype: .float32, onProcessor: true), measured, count: 2)
  }

  /// At two sizes, since attention's buffers do not grow with it; in bf16 those are a kernel's of our own where the processor has it.
  @Test(arguments: [
    (LiveAvatarPreset.liveAvatarTiny, 256, DType.float32), (.liveAvatarTiny, 384, .float32),
    (.liveAvatarLaptop, 256, .bfloat16),
  ])
  func `a step of Live Avatar takes what is counted`(preset: LiveAvatarPreset, side: Int, dtype: DType) async throws {
    let measured = try await measured(preset.name, side, dtype == .float32 ? "fp32" : "bf16", "step")
    let size = ReferencePicture.Size(height: side, width: side)
    try withOneThread {
      try compare(MemoryEstimate(preset, size: size, dtype: dtype, onProcessor: true), measured, count: 1)
    }
  }

  @Test(arguments: [(ModelPreset.tiny, 256), (.tiny, 384), (.laptop, 256)])
  func `a step of LiveTalk takes what is counted`(preset: ModelPreset, side: Int) async throws {
    let measured = try await measured(preset.name, side, "fp32", "step")
    let size = ReferencePicture.Size(height: side, width: side)
    try withOneThread {
      try compare(MemoryEstimate(preset, size: size, dtype: .float32, onProcessor: true), measured, count: 1)
    }
  }
}
