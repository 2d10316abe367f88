import Foundation
import Testing

@testable import Torch

@Suite struct ChecksumTests {
  private func sum(_ bytes: [UInt8], after before: UInt32 = 0) -> UInt32 {
    bytes.withUnsafeBytes { Checksum.crc32c($0, after: before) }
  }

  @Test func `the sums are those of RFC 3720`() {
    #expect(sum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(sum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(sum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(sum((0..<32).map { UInt8($0) }) == 0x46dd_794e)
    #expect(sum([]) == 0)
  }

  @Test func `parts give the sum of the whole`() {
    let bytes = (0..<100).map { UInt8(truncatingIfNeeded: $0 * 37) }
    for cut in 0...100 { #expect(sum(Array(bytes[cut...]), after: sum(Array(bytes[..<cut]))) == sum(bytes)) }
  }
}
