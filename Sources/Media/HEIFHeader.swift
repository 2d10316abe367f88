/// What an AVIF or HEIC file says about its picture: the kind of its coding, and the turns and mirrors that are to be applied.
///
/// Source: ISO/IEC 23008-12. EXIF in such a file does not count: the turns are properties of the picture.
struct HEIFHeader {
  /// Whether the picture is coded as HEVC: HEIC, what phones write.
  let isHEVC: Bool
  let orientation: Orientation

  /// nil for a file of another kind.
  init?(_ file: [UInt8]) {
    let whole = Boxes(file, 0..<file.count)
    guard let type = whole.first("ftyp"), let meta = whole.first("meta"), meta.count >= 4 else { return nil }
    let brands = stride(from: type.lowerBound, to: type.upperBound - 3, by: 4).compactMap { Boxes.name(file, $0) }
    let isKnown = { (brand: String) in ["avif", "avis", "mif1", "msf1"].contains(brand) || Self.hevc.contains(brand) }
    guard brands.contains(where: isKnown) else { return nil }
    isHEVC = brands.contains(where: Self.hevc.contains) && !brands.contains("avif")
    orientation = Self.orientation(file, Boxes(file, meta.dropFirst(4)))
  }

  private static let hevc: Set<String> = ["heic", "heix", "hevc", "hevx", "heim", "heis"]

  private static func orientation(_ file: [UInt8], _ meta: Boxes) -> Orientation {
    guard let properties = meta.first("iprp").map({ Boxes(file, $0) }), let list = properties.first("ipco"),
      let associations = properties.first("ipma"), let primary = meta.first("pitm")
    else { return .upright }
    var reader = Bytes(file, primary)
    guard let version = reader.next(1), reader.next(3) != nil, let wanted = reader.next(version == 0 ? 2 : 4) else {
      return .upright
    }
    let boxes = Array(Boxes(file, list))
    var orientation = Orientation.upright
    for index in indices(of: wanted, Bytes(file, associations)) where (1...max(1, boxes.count)).contains(index) {
      guard index <= boxes.count else { break }
      let (name, content) = boxes[index - 1]
      guard let value = content.first.map({ Int(file[$0]) }) else { continue }
      switch name {
      // Quarters of a turn, counter-clockwise.
      case "irot": orientation = orientation.then([.upright, .leftBottom, .upsideDown, .rightTop][value & 3])
      // 0: top and bottom change places; 1: left and right.
      case "imir": orientation = orientation.then(value & 1 == 0 ? .flipped : .mirrored)
      default: break
      }
    }
    return orientation
  }

  /// The numbers, from 1, of an item's properties, in the order in which they are applied.
  private static func indices(of wanted: Int, _ bytes: Bytes) -> [Int] {
    var bytes = bytes
    guard let version = bytes.next(1), let flags = bytes.next(3), let entries = bytes.next(4) else { return [] }
    for _ in 0..<entries {
      guard let item = bytes.next(version == 0 ? 2 : 4), let count = bytes.next(1) else { return [] }
      var found: [Int] = []
      for _ in 0..<count {
        guard let index = bytes.next(flags & 1 == 0 ? 1 : 2) else { return [] }
        found.append(index & (flags & 1 == 0 ? 0x7F : 0x7FFF))
      }
      if item == wanted { return found }
    }
    return []
  }
}

/// Boxes of an ISO base media file, one after the other: names and the places of their contents.
private struct Boxes: Sequence, IteratorProtocol {
  private let file: [UInt8]
  private var rest: Range<Int>

  init(_ file: [UInt8], _ range: Range<Int>) { (self.file, rest) = (file, range) }
  init(_ file: [UInt8], _ slice: Slice<Range<Int>>) { self.init(file, slice.startIndex..<slice.endIndex) }

  func first(_ name: String) -> Range<Int>? { first { $0.name == name }?.content }

  mutating func next() -> (name: String, content: Range<Int>)? {
    var header = Bytes(file, rest)
    guard var size = header.next(4), let name = Boxes.name(file, rest.lowerBound + 4) else { return nil }
    var start = rest.lowerBound + 8
    if size == 1 {
      guard header.next(4) != nil, header.next(4) == 0, let large = header.next(4) else { return nil }
      (size, start) = (large, start + 8)
    }
    let end = size == 0 ? rest.upperBound : rest.lowerBound + size
    guard end >= start, end <= rest.upperBound else { return nil }
    rest = end..<rest.upperBound
    return (name, start..<end)
  }

  static func name(_ file: [UInt8], _ place: Int) -> String? {
    place + 4 <= file.count ? String(decoding: file[place..<place + 4], as: UTF8.self) : nil
  }
}

/// Big-endian numbers, one after the other.
private struct Bytes {
  private let file: [UInt8]
  private var rest: Range<Int>

  init(_ file: [UInt8], _ range: Range<Int>) { (self.file, rest) = (file, range) }

  /// The next number of so many bytes, at most 4; nil past the end.
  mutating func next(_ count: Int) -> Int? {
    guard rest.count >= count else { return nil }
    defer { rest = rest.lowerBound + count..<rest.upperBound }
    return file[rest.prefix(count)].reduce(0) { $0 << 8 | Int($1) }
  }
}
