import Torch

// The framing of TensorBoard's event files: length, its checksum, the record, its checksum, all little-endian.

/// CRC-32C as the framing has it, turned and moved so that a checksum of checksums tells something.
private func maskedCRC(_ bytes: [UInt8]) -> UInt32 {
  let sum = bytes.withUnsafeBytes { Checksum.crc32c($0) }
  return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
}

func tfRecord(_ data: [UInt8]) -> [UInt8] {
  let length = littleEndian(UInt64(data.count))
  return length + littleEndian(maskedCRC(length)) + data + littleEndian(maskedCRC(data))
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The fields of one protocol buffer message.
struct ProtobufMessage {
  private(set) var bytes: [UInt8] = []

  mutating func double(_ field: UInt64, _ value: Double) {
    varint(field << 3 | 1)
    bytes += littleEndian(value.bitPattern)
  }

  mutating func float(_ field: UInt64, _ value: Float) {
    varint(field << 3 | 5)
    bytes += littleEndian(value.bitPattern)
  }

  mutating func integer(_ field: UInt64, _ value: Int) {
    varint(field << 3)
    varint(UInt64(bitPattern: Int64(value)))
  }

  mutating func data(_ field: UInt64, _ value: some Collection<UInt8>) {
    varint(field << 3 | 2)
    varint(UInt64(value.count))
    bytes += value
  }

  mutating func message(_ field: UInt64, _ fill: (inout ProtobufMessage) -> Void) {
    var inner = ProtobufMessage()
    fill(&inner)
    data(field, inner.bytes)
  }

  /// Seven bits a byte, lowest first; the highest bit says that there are more.
  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest > 0x7F {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
