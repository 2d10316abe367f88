import CTorch

/// The type of a tensor's elements.
package enum DType: Int32, Sendable, CaseIterable, Codable {
  // In the order of the codes in `ctorch.h`.
  case float32, float16, bfloat16, float64, int64, int32, int16, int8, uint8, bool, float8E4M3, float8E5M2, complex64

  /// Bytes of one element.
  package var size: Int {
    switch self {
    case .float64, .int64, .complex64: 8
    case .float32, .int32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool, .float8E4M3, .float8E5M2: 1
    }
  }

  package var isFloatingPoint: Bool {
    switch self {
    case .float32, .float16, .bfloat16, .float64, .float8E4M3, .float8E5M2: true
    default: false
    }
  }
}

/// A Swift number type that a tensor can be made from and read as.
package protocol TensorElement: Sendable {
  static var dtype: DType { get }
  static var zero: Self { get }
}

extension Float: TensorElement { package static var dtype: DType { .float32 } }
extension Double: TensorElement { package static var dtype: DType { .float64 } }
extension Int64: TensorElement { package static var dtype: DType { .int64 } }
extension Int: TensorElement { package static var dtype: DType { .int64 } }
extension Int32: TensorElement { package static var dtype: DType { .int32 } }
extension Int16: TensorElement { package static var dtype: DType { .int16 } }
extension UInt8: TensorElement { package static var dtype: DType { .uint8 } }
