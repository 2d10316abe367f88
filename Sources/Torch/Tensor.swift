package import CTorch
import Foundation

/// An n-dimensional array of libtorch: a reference to storage that views and operations may share.
///
/// Operations never throw; see `withTorchErrors`. Shapes in comments use `B` batch, `F` latent frames, `T` tokens of a frame,
/// `L` tokens, `H` heads, `D` head width, `C` channels.
// Unchecked for the handle: libtorch counts references atomically, and reading from several threads is safe. As in PyTorch, whoever
// writes in place sees to it that nobody else uses the tensor or its views meanwhile.
package struct Tensor: @unchecked Sendable {
  /// Owns one C handle. libtorch counts the references to the storage itself.
  final class Handle {
    let pointer: ct_tensor
    init(_ pointer: ct_tensor) { self.pointer = pointer }
    deinit { ct_tensor_free(pointer) }
  }

  let handle: Handle
  @inline(__always) package var c: ct_tensor { handle.pointer }

  /// Takes ownership of a new handle.
  init(owning pointer: ct_tensor) { handle = Handle(pointer) }

  /// The result of one C call; after a recorded failure, an empty tensor.
  @inline(__always)
  init(_ call: (UnsafeMutablePointer<ct_tensor?>) -> ct_status) {
    var pointer: ct_tensor?
    check(call(&pointer))
    self.init(owning: pointer ?? Tensor.emptyPointer())
  }

  @inline(never)
  static func emptyPointer() -> ct_tensor {
    var pointer: ct_tensor?
    guard ct_from_data(nil, DType.float32.rawValue, [0], 1, &pointer) == 0, let pointer else {
      fatalError(String(cString: ct_last_error()))
    }
    return pointer
  }
}

// MARK: - What it is

extension Tensor {
  package var shape: [Int] {
    let rank = self.rank
    return [Int](unsafeUninitializedCapacity: rank) { buffer, count in
      if let base = buffer.baseAddress, rank > 0 { ct_sizes(c, base) }
      count = rank
    }
  }

  package var rank: Int { Int(ct_rank(c)) }
  /// The number of elements.
  package var count: Int { ct_count(c) }
  package var dtype: DType { DType(rawValue: ct_dtype(c)) ?? .float32 }
  package var device: Device { Device(ct_tensor_device(c)) }
  package var isContiguous: Bool { ct_is_contiguous(c) }
  /// Bytes of all elements.
  package var byteCount: Int { count * dtype.size }

  /// The length of one dimension; negative ones count from the end.
  package func size(_ dim: Int) -> Int {
    var size = 0
    check(ct_size(c, dim, &size))
    return size
  }

  package func stride(_ dim: Int) -> Int {
    var stride = 0
    check(ct_stride(c, dim, &stride))
    return stride
  }

  package func sharesStorage(with other: Tensor) -> Bool { ct_shares_storage(c, other.c) }
}

extension Tensor: CustomStringConvertible {
  package var description: String {
    var buffer = [CChar](repeating: 0, count: 1 << 16)
    check(ct_describe(c, &buffer, buffer.count))
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

// MARK: - Made

extension Tensor {
  /// Copies `values`, in row-major order.
  package init<Element: TensorElement>(_ values: [Element], _ shape: [Int]? = nil, device: Device = .cpu) {
    let stated = shape ?? [values.count]
    let fits = stated.reduce(1, *) == values.count
    require(fits, "\(values.count) values do not fill the shape \(stated)")
    let shape = fits ? stated : [values.count]
    let onHost = values.withUnsafeBytes { bytes in
      Tensor { ct_from_data(bytes.baseAddress, Element.dtype.rawValue, shape, Int32(shape.count), $0) }
    }
    self = device.isCPU ? onHost : onHost.to(device)
  }

  package init(_ value: Float, device: Device = .cpu) { self = Tensor([value], [], device: device) }

  package static func empty(_ shape: [Int], _ dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    Tensor { ct_empty(shape, Int32(shape.count), dtype.rawValue, device.c, $0) }
  }

  package static func full(_ shape: [Int], _ value: Double, _ dtype: DType = .float32, device: Device = .cpu) -> Tensor
  {
    Tensor { ct_full(shape, Int32(shape.count), value, dtype.rawValue, device.c, $0) }
  }

  package static func zeros(_ shape: [Int], _ dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    full(shape, 0, dtype, device: device)
  }

  package static func ones(_ shape: [Int], _ dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    full(shape, 1, dtype, device: device)
  }

  /// `start`, `start + step`, … below `end`.
  package static func range(
    _ start: Double, _ end: Double, step: Double = 1, _ dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Tensor { ct_arange(start, end, step, dtype.rawValue, device.c, $0) }
  }

  /// 0, 1, … below `end`.
  package static func range(_ end: Double, _ dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    range(0, end, dtype, device: device)
  }

  /// `count` values from `start` to `end`, both included.
  package static func linspace(
    _ start: Double, _ end: Double, count: Int, _ dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Tensor { ct_linspace(start, end, Int64(count), dtype.rawValue, device.c, $0) }
  }
}

// MARK: - Moved and converted

extension Tensor {
  package func to(_ dtype: DType) -> Tensor { dtype == self.dtype ? self : to(device, dtype) }
  package func to(_ device: Device) -> Tensor { to(device, dtype) }
  package func to(_ device: Device, _ dtype: DType) -> Tensor {
    Tensor { ct_to(c, dtype.rawValue, device.c, false, $0) }
  }
  /// The same values in storage of their own, whatever the device and type are now.
  package func copied(to device: Device, _ dtype: DType) -> Tensor {
    Tensor { ct_to(c, dtype.rawValue, device.c, true, $0) }
  }
  package func clone() -> Tensor { Tensor { ct_clone(c, $0) } }
  /// A copy in host memory that stays in place, which a GPU reads by itself while other work goes on (pinned memory).
  package func pinned() -> Tensor { Tensor { ct_pin_memory(c, $0) } }
  package func contiguous() -> Tensor { Tensor { ct_contiguous(c, $0) } }
  /// The layout `[B, T, H, W, C]` in memory under the shape `[B, C, T, H, W]`.
  package func channelsLast3D() -> Tensor { Tensor { ct_channels_last_3d(c, $0) } }
}

// MARK: - Read

extension Tensor {
  /// All elements in row-major order, converted to `Element`. Waits for the device.
  package func array<Element: TensorElement>(_ type: Element.Type = Float.self) -> [Element] {
    let converted = to(Element.dtype)
    let count = converted.count
    return [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let base = buffer.baseAddress, count > 0 {
        check(ct_to_host(converted.c, base, count * Element.dtype.size))
      }
      initialized = count
    }
  }

  /// The bytes of all elements in row-major order.
  package func bytes() -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, initialized in
      if let base = buffer.baseAddress, byteCount > 0 { check(ct_to_host(c, base, byteCount)) }
      initialized = byteCount
    }
  }

  /// Gives `body` the bytes of all elements in row-major order; copied only where they are not so on the CPU already.
  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    let host = to(.cpu).contiguous()
    var start: UnsafeRawPointer?
    try throwing(ct_data(host.c, &start))
    return try withExtendedLifetime(host) {
      try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : host.byteCount))
    }
  }

  /// The single element as a number. Waits for the device.
  package var item: Double {
    var value = 0.0
    check(ct_item(c, &value))
    return value
  }

  /// The single element of an integer tensor.
  package var intItem: Int {
    var value: Int64 = 0
    check(ct_item_int(c, &value))
    return Int(value)
  }

  /// Whether both have the same shape and the same values.
  package func equals(_ other: Tensor) -> Bool {
    guard shape == other.shape else { return false }
    let other = other.to(dtype)
    var result = false
    withExtendedLifetime(other) { check(ct_all_equal(c, other.c, &result)) }
    return result
  }

  /// The largest absolute difference, compared in fp64; infinite where the shapes differ or a value is not a number.
  package func maxAbsDifference(_ other: Tensor) -> Double {
    guard shape == other.shape else { return .infinity }
    guard count > 0 else { return 0 }
    let largest = (to(.cpu, .float64) - other.to(.cpu, .float64)).abs().max().item
    return largest.isNaN ? .infinity : largest
  }
}
