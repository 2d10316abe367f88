import Basics
import CTorch
import Foundation

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

  /// Bytes of a GPU that nobody uses; nil for other devices, and where the CUDA runtime does not say.
  package var freeMemory: Int? {
    #if os(Linux)
      guard case .cuda(let index) = self, Device.cudaCount > index,
        // Loaded already, by libtorch's backend.
        let runtime = dlopen("libcudart.so.13", RTLD_LAZY | RTLD_NOLOAD)
          ?? dlopen("libcudart.so.12", RTLD_LAZY | RTLD_NOLOAD)
      else { return nil }
      defer { dlclose(runtime) }
      typealias Get = @convention(c) (UnsafeMutablePointer<Int32>) -> Int32
      typealias Set = @convention(c) (Int32) -> Int32
      typealias Information = @convention(c) (UnsafeMutablePointer<Int>, UnsafeMutablePointer<Int>) -> Int32
      guard let get = dlsym(runtime, "cudaGetDevice"), let set = dlsym(runtime, "cudaSetDevice"),
        let information = dlsym(runtime, "cudaMemGetInfo")
      else { return nil }
      var (before, free, total): (Int32, Int, Int) = (0, 0, 0)
      let select = unsafeBitCast(set, to: Set.self)
      guard unsafeBitCast(get, to: Get.self)(&before) == 0, select(Int32(index)) == 0 else { return nil }
      defer { _ = select(before) }
      return unsafeBitCast(information, to: Information.self)(&free, &total) == 0 ? free : nil
    #else
      return nil
    #endif
  }

  /// Starts a new peak. Without effect on the CPU, where the system keeps one peak for the life of the process.
  package func resetPeakMemory() {
    if !isCPU { check(ct_reset_peak_memory(c)) }
  }

  /// Gives memory that the allocator keeps for reuse back to the device; on the CPU to the system.
  package func releaseCachedMemory() {
    check(ct_release_cached_memory(c))
  }
}
