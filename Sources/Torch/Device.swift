import Basics
package import CTorch
import Foundation

/// Where a tensor lives and its operations run.
package enum Device: Hashable, Sendable, CustomStringConvertible {
  case cpu
  case cuda(Int)
  case mps
  /// Shapes without values: what is computed there takes no time and no memory, and cannot be read. No user names it.
  case meta

  package var description: String {
    switch self {
    case .cpu: "cpu"
    case .cuda(let index): "cuda:\(index)"
    case .mps: "mps"
    case .meta: "meta"
    }
  }

  /// Whether a text names a device, be it there or not.
  package static func isName(_ text: String) -> Bool {
    text.lowercased().wholeMatch(of: /auto|cpu|mps|cuda(:[0-9]{1,4})?/) != nil
  }

  /// Reads `cpu`, `cuda`, `cuda:N`, `mps` or `auto` (the first GPU if there is one, else the CPU).
  ///
  /// - Parameter key: the option or the setting that names it, for messages.
  /// - Throws: `TorchError` for another word, or a device that this machine or this libtorch lacks.
  package init(parsing text: String, of key: String = "the device") throws {
    let named = "\(key) is '\(shortened(text))'"
    switch text.lowercased() {
    case "cpu": self = .cpu
    case "auto": self = Device.cudaCount > 0 ? .cuda(0) : Device.hasMPS ? .mps : .cpu
    case "mps":
      guard Device.hasMPS else { throw TorchError("\(named), and this machine has no MPS device: use cpu or auto.") }
      self = .mps
    case let word where word == "cuda" || word.hasPrefix("cuda:"):
      guard let index = word == "cuda" ? 0 : Int(word.dropFirst(5)), index >= 0 else {
        throw TorchError("\(named), which is no device: use cpu, cuda, cuda:N, mps or auto.")
      }
      let count = Device.cudaCount
      guard index < count else {
        throw TorchError(
          count == 0
            ? "\(named), and there is no CUDA device: \(Device.cudaAbsence); use cpu or auto."
            : "\(named), and this machine has \(count) CUDA device\(count == 1 ? "" : "s"): the last is cuda:\(count - 1)."
        )
      }
      self = .cuda(index)
    default: throw TorchError("\(named), which is no device: use cpu, cuda, cuda:N, mps or auto.")
    }
  }

  init(_ device: ct_device) {
    switch Int(device.kind) {
    case CT_CUDA: self = .cuda(Int(device.index))
    case CT_MPS: self = .mps
    case CT_META: self = .meta
    default: self = .cpu
    }
  }

  package var c: ct_device {
    switch self {
    case .cpu: ct_device(kind: Int32(CT_CPU), index: 0)
    case .cuda(let index): ct_device(kind: Int32(CT_CUDA), index: Int32(index))
    case .mps: ct_device(kind: Int32(CT_MPS), index: 0)
    case .meta: ct_device(kind: Int32(CT_META), index: 0)
    }
  }

  package var isCPU: Bool { self == .cpu }

  /// Waits until all work queued on the device is done.
  package func synchronize() { check(ct_synchronize(c)) }

  /// The number of CUDA devices; the CUDA backend is loaded on first use where libtorch has one.
  package static var cudaCount: Int {
    guard cudaLoadError == nil else { return 0 }
    return count(of: Int32(CT_CUDA))
  }

  package static var hasMPS: Bool { count(of: Int32(CT_MPS)) > 0 }

  /// Why there is no CUDA device, as half a sentence.
  package static var cudaAbsence: String {
    cudaLoadError == nil ? "the CUDA backend finds no GPU" : "this libtorch has no CUDA backend that loads"
  }

  /// What kept the CUDA backend from loading, or nil.
  package static let cudaLoadError: String? = {
    do {
      try throwing(ct_load_cuda(nil))
      // cuDNN rounds the operands of fp32 convolutions to TF32 unless it is told not to; fp32 means fp32 here.
      ct_set_tf32(false)
      return nil
    } catch {
      return "\(error)"
    }
  }()

  private static func count(of kind: Int32) -> Int {
    var count: Int32 = 0
    return ct_device_count(kind, &count) == 0 ? Int(count) : 0
  }
}

/// Figures of the libtorch in use.
package enum Torch {
  package static var version: String { String(cString: ct_torch_version()) }

  /// Threads that one operation may use on the CPU.
  package static var threads: Int {
    get { Int(ct_threads()) }
    set { check(ct_set_threads(Int32(newValue))) }
  }

  /// Whether the fused bf16 kernels run on this processor; elsewhere their plain compositions do.
  package static var cpuHasBFloat16: Bool { ct_cpu_has_bf16() }

  /// Whether `cpuHasBFloat16` holds and nobody has switched the fused kernels off. Setting it switches those of all devices, for the
  /// whole process; for tests and benchmarks.
  package static var usesFusedKernels: Bool {
    get { ct_fused_kernels() }
    set { ct_set_fused_kernels(newValue) }
  }
}
