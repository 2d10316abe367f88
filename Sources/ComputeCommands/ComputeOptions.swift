package import ArgumentParser
import Foundation
package import Torch

/// Where a command computes.
package struct ComputeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where to compute: auto, cpu, cuda, cuda:N or mps.",
      discussion: "'auto' takes the first NVIDIA GPU that libtorch can use, else Apple's, else the processor.",
      valueName: "device"))
  package var device = "auto"

  @Option(
    help: ArgumentHelp(
      "Threads of one operation on the processor.", discussion: "By default one for every core.", valueName: "n"))
  package var threads: Int?

  package init() {}

  package func validate() throws {
    try Self.check(threads: threads)
  }

  /// The device, with the number of threads set.
  ///
  /// - Throws: `TorchError` for a device that is not there.
  package func resolve() throws -> Device {
    if let threads { Torch.threads = threads }
    return try Device(parsing: device, of: "--device")
  }

  /// - Throws: `ValidationError` for more threads than processors, which would wait for each other.
  package static func check(threads: Int?) throws {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    guard let threads, !(1...processors).contains(threads) else { return }
    throw ValidationError(
      "--threads is a number from 1 to \(processors), the processors of this machine, not \(threads)")
  }
}

/// The type that a model computes in, as people name it.
package enum ComputeType: String, ExpressibleByArgument, CaseIterable, Sendable {
  case auto, fp32, bf16, fp16

  /// bf16 where the device is fast in it, fp32 elsewhere.
  package func resolve(on device: Device) -> DType {
    switch self {
    case .fp32: .float32
    case .bf16: .bfloat16
    case .fp16: .float16
    case .auto:
      switch device {
      case .cpu: Torch.cpuHasBFloat16 ? .bfloat16 : .float32
      case .cuda: .bfloat16
      case .mps, .meta: .float32
      }
    }
  }
}

extension DType {
  /// The short name of the type: "bf16".
  package var shortName: String {
    switch self {
    case .float32: "fp32"
    case .float16: "fp16"
    case .bfloat16: "bf16"
    case .float64: "fp64"
    case .float8E4M3: "fp8 (e4m3)"
    case .float8E5M2: "fp8 (e5m2)"
    default: "\(self)"
    }
  }
}
