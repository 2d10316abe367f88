import Basics
import CTorch

/// Memory in use, in bytes.
package struct MemoryUse: Sendable, Codable {
  /// In use now: by tensors on a GPU; by the whole process on the CPU.
  package var current: Int
  /// The most that `current` has been, since the start or `resetPeak`.
  package var peak: Int
}

extension Torch {
  /// Asks the C library to keep freed memory for the next tensor in place of returning it to the system.
  ///
  /// Every large tensor is otherwise mapped and unmapped anew, and touching fresh pages costs more than many an operation on
  /// them. Resident memory then stays at its peak. For programs to call before their first tensor.
  package static func keepFreedMemory() { _ = ct_keep_freed_memory() }
}

extension Device {
  /// The memory in use on this device. For the CPU: the resident memory of the process, pages of mapped files included.
  package var memory: MemoryUse {
    guard !isCPU else { return MemoryUse(current: residentBytes(), peak: peakResidentBytes()) }
    var current: Int64 = 0
    var peak: Int64 = 0
    var reserved: Int64 = 0
    check(ct_device_memory(c, &current, &peak, &reserved))
    return MemoryUse(current: Int(current), peak: Int(peak))
  }

  /// Starts a new peak. Without effect on the CPU, where the system keeps one peak for the life of the process.
  package func resetPeakMemory() {
    if !isCPU { check(ct_reset_peak_memory(c)) }
  }

  /// Gives memory that the allocator keeps for reuse back to the device.
  package func releaseCachedMemory() {
    if !isCPU { check(ct_release_cached_memory(c)) }
  }
}
