import Basics

/// A format with lengths or checksums around its parts. Without repair nearly every mutation would end at these.
enum Container {
  case none
  /// A length and a header of JSON.
  case safetensors
  /// Stored files, each with a checksum.
  case zip
  /// Chunks, each with a length and a checksum.
  case png

  /// A part of the file, and where it stands.
  func inner(_ file: [UInt8], _ random: inout SeededRandom) -> (place: Range<Int>, bytes: [UInt8])? {
    let parts: [Range<Int>] =
      switch self {
      case .none: []
      case .safetensors: header(file).map { [$0] } ?? []
      // The pickle is a small part and the one that is parsed.
      case .zip: records(file).filter { $0.name.hasSuffix("data.pkl") || random.chance(0.2) }.map(\.content)
      case .png: chunks(file)
      }
    guard !parts.isEmpty else { return nil }
    let part = random.pick(parts)
    return (part, Array(file[part]))
  }

  /// The file with another part, and what stands around it made right.
  func rebuilt(_ file: [UInt8], _ place: Range<Int>, _ part: [UInt8]) -> [UInt8] {
    switch self {
    case .none: file
    case .safetensors: little(part.count, 8) + part + file[place.upperBound...]
    case .zip: rebuiltZip(file, place, part)
    case .png:
      file[..<(place.lowerBound - 4)] + big(max(0, part.count - 4)) + part + big(Int(checksum(part)))
        + file[(place.upperBound + 4)...]
    }
  }

  private func header(_ file: [UInt8]) -> Range<Int>? {
    guard file.count > 8 else { return nil }
    let length = file[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    return length > 0 && length <= file.count - 8 ? 8..<8 + length : nil
  }

  /// Type and content of every chunk.
  private func chunks(_ file: [UInt8]) -> [Range<Int>] {
    var (place, found): (Int, [Range<Int>]) = (8, [])
    while place + 12 <= file.count {
      let length = file[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
      guard place + 12 + length <= file.count else { break }
      found.append(place + 4..<place + 8 + length)
      place += 12 + length
    }
    return found
  }

  private func records(_ file: [UInt8]) -> [(name: String, content: Range<Int>)] {
    func number(_ place: Int, _ count: Int) -> Int {
      file[place..<place + count].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    var (place, found): (Int, [(String, Range<Int>)]) = (0, [])
    while place + 30 <= file.count, file[place..<place + 4].elementsEqual([0x50, 0x4B, 3, 4]) {
      let (size, name, extra) = (number(place + 18, 4), number(place + 26, 2), number(place + 28, 2))
      let start = place + 30 + name + extra
      guard size < 1 << 31, start + size <= file.count else { break }
      found.append((String(decoding: file[place + 30..<place + 30 + name], as: UTF8.self), start..<start + size))
      place = start + size
      // With flag 3 the sizes stand again behind the content.
      if place + 16 <= file.count, file[place..<place + 4].elementsEqual([0x50, 0x4B, 7, 8]) { place += 16 }
    }
    return found
  }

  private func rebuiltZip(_ file: [UInt8], _ place: Range<Int>, _ part: [UInt8]) -> [UInt8] {
    var (archive, directory, count): ([UInt8], [UInt8], Int) = ([], [], 0)
    for record in records(file) {
      let content = record.content == place ? part : Array(file[record.content])
      let name = Array(record.name.utf8)
      let sizes = little(Int(checksum(content)), 4) + little(content.count, 4) + little(content.count, 4)
      let common = little(0, 2) + little(0, 2) + little(0, 4) + sizes + little(name.count, 2) + little(0, 2)
      directory +=
        [0x50, 0x4B, 1, 2] + little(20, 2) + little(20, 2) + common + [UInt8](repeating: 0, count: 10)
        + little(archive.count, 4) + name
      archive += [0x50, 0x4B, 3, 4] + little(20, 2) + common + name + content
      count += 1
    }
    return archive + directory + [0x50, 0x4B, 5, 6] + little(0, 4) + little(count, 2) + little(count, 2)
      + little(directory.count, 4) + little(archive.count, 4) + little(0, 2)
  }
}

private func little(_ value: Int, _ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

private func big(_ value: Int) -> [UInt8] { little(value, 4).reversed() }

/// CRC-32 as zip and PNG have it.
private func checksum(_ bytes: [UInt8]) -> UInt32 {
  ~bytes.reduce(0xFFFF_FFFF as UInt32) { checksumTable[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
}

private let checksumTable: [UInt32] = (0..<256).map { index in
  (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
}
